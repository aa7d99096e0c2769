"""The table of what an arm moves: at which distances it teaches more than another one of the same facts, and less."""

from collections.abc import Mapping, Sequence

from ..distance.weighting import CONTROLS
from ..evaluation.comparison import Difference
from .averages import EMPTY, adjusted, first_weighings, gains, pair, pooled_difference, pooled_gain, run_of
from .bands_table import FEWEST, bands_of
from .curves import facts_of
from .notes import provenance
from .results import Results, Study
from .table import Table

SHOWN = ("short", "medium", "long")
ENDS = ("short", "long")


def shifts_table(study: Study) -> Table:
    """Accuracy of each arm less that of the first one by distance, and whether the ends gain more than the middle.

    Where there are the paper's weights and controls of them, the paper's less each control, too.
    """
    columns = ("setting", "arm", "less", "runs", *SHOWN, "short and long, less medium")
    rows = []
    for setting, arms in study.items():
        found = {key: _shifts(*pair(arms[key[1]], arms[key[0]])) for key in _pairs(arms)}
        told = adjusted({(key, name): d for key, shifts in found.items() for name, d in shifts.items()})
        for (arm, other), shifts in found.items():
            runs = str(len(pair(arms[other], arms[arm])[0]))
            rows.append((setting, arm, other, runs, *(told.get(((arm, other), name), EMPTY) for name in shifts)))
    notes = (
        "Knowledge accuracy in points, of the same facts in the same runs: means over all facts of a band, with a t "
        "interval over runs, no shorter than of independent facts; p-values are corrected for all differences of a "
        "setting (Holm). Distances before training: short below 0.4, long from 0.7 on. Bands of fewer than "
        f"{FEWEST} facts are left out, and arms that share fewer than two runs.",
        *provenance(study),
    )
    return Table("What an arm teaches more of, by distance", columns, tuple(rows), notes)


def _pairs(arms: Results) -> list[tuple[str, str]]:
    """Every further arm with the first one; then the first arm with the paper's weights with each control."""
    first, *others = arms
    weighed = first_weighings(arms)
    controls = [weighed[name] for name in CONTROLS if name in weighed] if "paper" in weighed else []
    further = [(weighed["paper"], arm) for arm in controls]
    return [*((arm, first) for arm in others), *(pair for pair in further if first not in pair)]


def _shifts(before: Sequence[Mapping], after: Sequence[Mapping]) -> dict[str, Difference | None]:
    """`after` less `before` by band, and of short and long together less that of medium; `None` of too few facts."""
    for runs in zip(before, after, strict=True):
        ids = [[result["rows"]["fact_id"][i] for i in facts_of(result)] for result in runs]
        if ids[0] != ids[1]:
            arms = " and ".join(str(result.get("arm")) for result in runs)
            raise ValueError(f"run {run_of(runs[0])} of {arms} holds other facts, and cannot be compared by fact")
    a, b = (bands_of(results, "knowledge_accuracy") for results in (before, after))
    enough = {band for band in SHOWN if sum(map(len, a[band])) >= FEWEST}
    found = {band: pooled_gain(a[band], b[band]) if band in enough else None for band in SHOWN}
    moved = {band: [gains(*runs) for runs in zip(a[band], b[band], strict=True)] for band in SHOWN}
    ends = [[*short, *long] for short, long in zip(*(moved[band] for band in ENDS), strict=True)]
    both = "medium" in enough and sum(map(len, ends)) >= FEWEST
    return {**found, "ends": pooled_difference(moved["medium"], ends) if both else None}
