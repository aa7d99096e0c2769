"""The paper's tables from a study's results: ours with intervals, its own numbers beside them, notes below."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..evaluation.statistics import average, undefined
from ..facts.messages import suggest
from ..files import write_atomically
from . import paper
from .averages import EMPTY, differences, in_points, over_runs, run_of
from .results import Results, Study, read_settings

SHOWN = {
    "knowledge_accuracy": "knowledge accuracy",
    "generality": "generality",
    "locality": "locality",
    "deviation": "deviation",
}
NORMS = {
    "weight_norm": "norm of W",
    "delta_norm": "norm of ΔW",
    "proj_delta": "W on the top r of ΔW",
    "proj_weight": "W on the top r of W",
    "proj_random": "W on r random directions",
    "amplification": "amplification",
}


@dataclass(frozen=True)
class Table:
    """A table of texts, with notes.

    Attributes:
        title: what it shows.
        columns: heads.
        rows: one text a column.
        notes: how its numbers came about, and what is wrong with the paper's.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def to_markdown(self) -> str:
        """Title, table, notes as a list."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        body = "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)
        notes = "\n".join(f"- {note}" for note in self.notes)
        return f"# {self.title}\n\n{body}\n\n{notes}\n"

    def to_csv(self) -> str:
        """Heads and rows; the notes are in the Markdown."""
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([self.columns, *self.rows])
        return buffer.getvalue()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def table_3(study: Study) -> Table:
    """Re-weighting against the plain loss and the controls."""
    columns = ["setting", "arm", "runs", *SHOWN.values()]
    columns += [f"{SHOWN[metric]}, less the first arm" for metric in SHOWN]
    columns += [f"paper: {SHOWN[metric]}" for metric in paper.METRICS]
    rows = []
    for setting, arms in study.items():
        reference = next(iter(arms))
        compared = differences(arms, reference, tuple(SHOWN))
        for arm, results in arms.items():
            config = results[0]["config"]
            rows.append(
                (
                    *(setting, arm, str(len(results))),
                    *(in_points(over_runs(results, metric)) for metric in SHOWN),
                    *(compared.get((arm, metric), EMPTY) for metric in SHOWN),
                    *_reported(config, arm),
                )
            )
    notes = (
        "Per cent, mean over runs with its 95 % t interval; the run is the unit. Differences are paired by run "
        "(Student's t), their p-values corrected for all differences of a setting (Holm).",
        *_floors(study),
        *_paper_notes(study, "table3"),
    )
    return Table("Table 3: re-weighting", tuple(columns), tuple(rows), notes)


def _reported(config: Mapping[str, object], arm: str) -> list[str]:
    """The paper's numbers of an arm that it has."""
    weighting = config["weighting"] if arm in ("plain", "paper") else ""
    found = [paper.reported(config, str(weighting), metric) for metric in paper.METRICS]
    return [EMPTY if value is None else f"{value:.2f}" for value in found]


def _floors(study: Study) -> list[str]:
    """What locality can be at most, where it was measured."""
    notes = []
    for setting, arms in study.items():
        floor = average([r["scores"]["locality_noise_floor"] for r in next(iter(arms.values()))])
        if floor["value"] is not None:
            notes.append(f"{setting}: the base agrees with itself in reshuffled batches on {in_points(floor)} %.")
    return notes


def table_4(study: Study) -> Table:
    """Plain tuning alone: the reference of Table 3."""
    columns = ("setting", "arm", "runs", *SHOWN.values(), *(f"paper: {SHOWN[metric]}" for metric in paper.METRICS))
    rows = tuple(
        (
            *(setting, arm, str(len(results))),
            *(in_points(over_runs(results, metric)) for metric in SHOWN),
            *_reported(results[0]["config"], arm),
        )
        for setting, arms in study.items()
        for arm, results in arms.items()
        if results[0]["config"]["weighting"] == "none"
    )
    notes = (
        "Per cent, mean over runs with its 95 % t interval; the run is the unit. Before tuning, locality is 100.",
        *_paper_notes(study, "table4"),
    )
    return Table("Table 4: plain tuning", columns, rows, notes)


def table_1(study: Study) -> Table:
    """How often a tuned answer lies farther from its target than the old one, among bad cases and among all."""
    columns = (
        "setting",
        "arm",
        "runs",
        "bad cases",
        "deviation, bad cases",
        "deviation, all",
        "paper: bad cases",
    )
    rows = []
    for setting, arms in study.items():
        for arm, results in arms.items():
            config = results[0]["config"]
            known = paper.DEVIATION[paper.paper_model(str(config["model"]))].get(str(config["method"]))
            bad = sum(sum(map(bool, result["rows"]["bad_case"])) for result in results)
            facts = sum(len(result["rows"]["bad_case"]) for result in results)
            shares = [in_points(over_runs(results, metric)) for metric in ("deviation_in_bad", "deviation")]
            beside = f"{known:.2f}" if known is not None and config["weighting"] == "none" else EMPTY
            rows.append((setting, arm, str(len(results)), f"{bad} of {facts}", *shares, beside))
    notes = (
        "Per cent with 95 % intervals (Wilson's where a run is one fact, else Student's t over runs). Both shares "
        "have one numerator: every deviating case is a bad case. A bad case is not strictly right, or its new "
        "distance is above 1e-6.",
        *_paper_notes(study, "table1"),
    )
    return Table("Table 1: deviation", columns, tuple(rows), notes)


def table_2(study: Study) -> Table:
    """Norms of a projection and of its change, by group of distances."""
    groups = sorted({r["draw"]["group"] for a in study.values() for rs in a.values() for r in rs}, key=_group_order)
    columns = ["setting", "arm", "norm", *(f"{group}" for group in groups), *(f"paper: {group}" for group in groups)]
    rows = []
    for setting, arms in study.items():
        for arm, results in arms.items():
            if not all("spectrum" in result for result in results):
                raise ValueError(f"`tables` table2: {setting}, {arm} holds no spectra. Add measures: [spectra].")
            by_group = {g: [r["spectrum"] for r in results if r["draw"]["group"] == g] for g in groups}
            for norm, words in NORMS.items():
                means = [_mean([s[norm] for s in by_group[g]]) for g in groups]
                beside = [paper.SPECTRA[norm].get(group) for group in groups]
                texts = [EMPTY if value is None else f"{value:g}" for value in beside]
                rows.append((setting, arm, words, *map(_number, means), *texts))
    notes = (
        "Frobenius norms, mean over runs with its 95 % t interval; amplification is the norm of ΔW over that of W on "
        "the top r singular directions of ΔW.",
        *_measured(study),
        *_paper_notes(study, "table2"),
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


def _group_order(group: str) -> tuple[int, str]:
    known = ("short", "medium", "long")
    return (known.index(group) if group in known else len(known), group)


def _number(value: Mapping[str, object]) -> str:
    """A norm, and its interval without what is below 0."""
    if value["value"] is None:
        return EMPTY
    interval = (
        "" if value["ci95"] is None else " [{:.4g}, {:.4g}]".format(*(max(bound, 0.0) for bound in value["ci95"]))
    )
    return f"{value['value']:.4g}{interval}"


def table_5(study: Study) -> Table:
    """What the base and the tuned model say, by group of distances."""
    columns = ("group", "distance", "prompt", "target", "base", "tuned", "new distance", "setting", "arm")
    rows = [
        (
            run_of(result)[0],
            f"{example['distance']:.2f}",
            *(example[name] for name in ("prompt", "target", "old_answer", "new_answer")),
            f"{example['new_distance']:.2f}",
            setting,
            arm,
        )
        for setting, arms in study.items()
        for arm, results in arms.items()
        for result in results
        for example in result.get("examples", ())
    ]
    rows.sort(key=lambda row: (_group_order(row[0]), row[-2:]))
    notes = ("The first facts of each run, not chosen by what came out.", *_paper_notes(study, "table5"))
    return Table("Table 5: answers", columns, tuple(rows), notes)


def _paper_notes(study: Study, table: str) -> list[str]:
    """How each setting was run, at which commit, and what is wrong with the paper's numbers."""
    return [*provenance(study), *paper.INCONSISTENT[table]]


def provenance(study: Study) -> list[str]:
    """How each setting was run, and at which commit."""
    return [*map(regime, study.keys(), study.values()), _commits(study)]


def regime(setting: str, arms: Results) -> str:
    """One sentence a setting: facts, half, protocol, training, and how answers were compared."""
    results = next(iter(arms.values()))
    groups = {r["draw"]["group"]: r["config"]["distances"] for r in results if r["config"]["distances"]}
    drawn = "".join(f", {name} from {low:g} to {high:g}" for name, (low, high) in groups.items())
    config, protocol = results[0]["config"], results[0]["scores"]["knowledge_accuracy"]["protocol"]
    length = (
        f"{config['num_train_epochs']:g} epochs"
        if config.get("max_steps", -1) <= 0
        else f"{config['max_steps']} steps"
    )
    return (
        f"{setting}: {', '.join(config['facts'])}, {config['split'] or 'both'} half; {config['model']}, "
        f"{config['method']}; protocol {config['protocol']}, {config['facts_per_run']} facts a run{drawn}, "
        f"{length} in batches of {config['per_device_train_batch_size']}, learning rate {config['learning_rate']:g}; "
        f"{protocol}."
    )


def _commits(study: Study) -> str:
    found = {r["environment"]["commit"] or "none" for a in study.values() for rs in a.values() for r in rs}
    return f"Commit {', '.join(sorted(commit[:12] for commit in found))}."


TABLES: dict[str, Callable[[Study], Table]] = {
    "table1": table_1,
    "table2": table_2,
    "table3": table_3,
    "table4": table_4,
    "table5": table_5,
}


def check_tables(names: Sequence[str]) -> None:
    """Raise a `ValueError` where a table is unknown."""
    for name in names:
        if name not in TABLES:
            raise ValueError(f"`tables` {name!r} is unknown.{suggest(name, TABLES)} Use {', '.join(TABLES)}.")


def write_tables(
    folder: Path, settings: Mapping[str, Sequence[str]], names: Sequence[str], command: str
) -> list[Path]:
    """Write tables as Markdown and CSV, from nothing but the results in `folder`.

    Args:
        settings: name -> its arms, in their order; see `read_settings`.
        command: what made the results, for the notes.

    Returns:
        The paths of the Markdown files, in `folder/tables`.

    Raises:
        FileNotFoundError: there are no results.
    """
    study = read_settings(folder, settings)
    paths = []
    for name in names:
        table = TABLES[name](study)
        text = table.to_markdown().rstrip("\n") + f"\n- Command: `{command}`\n"
        path = folder / "tables" / f"{name}.md"
        write_atomically(path, text.encode())
        write_atomically(path.with_suffix(".csv"), table.to_csv().encode())
        paths.append(path)
    return paths
