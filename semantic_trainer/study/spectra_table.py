"""Table 2 from a study's results: norms of a projection and of its change, by group of distances."""

from collections.abc import Sequence

from ..evaluation.statistics import average, undefined
from . import paper
from .averages import EMPTY, groups_of, number
from .notes import paper_notes
from .results import Study
from .table import Table

NORMS = {
    "weight_norm": "norm of W",
    "delta_norm": "norm of ΔW",
    "proj_delta": "W on the top r of ΔW",
    "proj_weight": "W on the top r of W",
    "proj_random": "W on r random directions",
    "amplification": "amplification",
}


def table_2(study: Study) -> Table:
    """Norms of a projection and of its change, by group of distances."""
    groups = groups_of(study)
    known = [group for group in groups if group in paper.SPECTRA["amplification"]]
    columns = ["setting", "arm", "norm", *groups, *(f"paper: {group}" for group in known)]
    rows = []
    for setting, arms in study.items():
        for arm, results in arms.items():
            if not all("spectrum" in result for result in results):
                raise ValueError(f"`tables` table2: {setting}, {arm} holds no spectra. Add measures: [spectra].")
            by_group = {g: [r["spectrum"] for r in results if r["draw"]["group"] == g] for g in groups}
            for norm, words in NORMS.items():
                means = [_mean([s[norm] for s in by_group[g]]) for g in groups]
                beside = [paper.norm(results[0]["config"], norm, group) for group in known]
                texts = [EMPTY if value is None else f"{value:g}" for value in beside]
                rows.append((setting, arm, words, *map(number, means), *texts))
    notes = (
        "Frobenius norms, mean over runs with its 95 % t interval; amplification is the norm of ΔW over that of W on "
        "the top r singular directions of ΔW.",
        *_measured(study),
        *paper_notes(study, "table2"),
    )
    return Table("Table 2: ΔW against W", tuple(columns), tuple(rows), notes)


def _mean(values: Sequence[float | None]) -> dict[str, object]:
    return average([{"value": value, "protocol": ""} for value in values]) if values else undefined("")


def _measured(study: Study) -> list[str]:
    """Of which projection spectra were measured, and r."""
    notes = []
    for setting, arms in study.items():
        for arm, results in arms.items():
            spectra = [result["spectrum"] for result in results]
            ranks = sorted({s["rank"] for s in spectra})
            r = f"{ranks[0]}" if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}, as it was pruned"
            places = sorted({f"{s['projection']} of layer {s['layer']}" for s in spectra})
            notes.append(f"{setting}, {arm}: {', '.join(places)} (the first layer is 0), r = {r}.")
    return notes
