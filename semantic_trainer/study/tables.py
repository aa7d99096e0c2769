"""The paper's tables from a study's results: ours with intervals, its own numbers beside them, notes below."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..distance.weighting import CONTROLS
from ..facts.messages import suggest
from ..files import write_atomically
from . import paper
from .arms import FILTERS
from .averages import EMPTY, differences, groups_of, in_points, over_runs, run_of
from .bands_table import bands_table
from .comparison_table import comparison_table
from .controls_table import controls_table
from .curves import facts_of
from .features_table import features_table
from .interference_table import interference_table
from .notes import PAIRED, floors, paper_notes
from .predictors_table import predictors_table
from .replacement_table import replacement_table
from .results import Study, read_settings
from .settings import Setting
from .shifts_table import shifts_table
from .spectra_table import table_2
from .table import Table, heads

SHOWN = ("knowledge_accuracy", "generality", "locality", "deviation")


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
            known = paper.deviation(results[0]["config"])
            cases = [result["rows"]["bad_case"][i] for result in results for i in facts_of(result)]
            shares = [in_points(over_runs(results, metric)) for metric in ("deviation_in_bad", "deviation")]
            beside = EMPTY if known is None else f"{known:.2f}"
            rows.append((setting, arm, str(len(results)), f"{sum(map(bool, cases))} of {len(cases)}", *shares, beside))
    notes = (
        "Per cent with 95 % intervals (Wilson's where a run is one fact, else Student's t over runs). Both shares "
        "have one numerator: every deviating case is a bad case. A bad case is not strictly right, or its new "
        "distance is above 1e-6.",
        *paper_notes(study, "table1"),
    )
    return Table("Table 1: deviation", columns, tuple(rows), notes)


def table_3(study: Study) -> Table:
    """Re-weighting against the plain loss and the controls."""
    columns = ["setting", "arm", "runs", *heads(SHOWN)]
    columns += [f"{head}, less the first arm" for head in heads(SHOWN)]
    columns += [f"paper: {head}" for head in heads(paper.METRICS)]
    rows = []
    for setting, arms in study.items():
        reference = next(iter(arms))
        compared = differences(arms, reference, SHOWN)
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
        PAIRED,
        *floors(study),
        *paper_notes(study, "table3"),
    )
    return Table("Table 3: re-weighting", tuple(columns), tuple(rows), notes)


def table_4(study: Study) -> Table:
    """Plain tuning alone: the reference of Table 3."""
    columns = ("setting", "arm", "runs", *heads(SHOWN), *(f"paper: {head}" for head in heads(paper.METRICS)))
    rows = tuple(
        (
            *(setting, arm, str(len(results))),
            *(in_points(over_runs(results, metric)) for metric in SHOWN),
            *_reported(results[0]["config"], arm),
        )
        for setting, arms in study.items()
        for arm, results in arms.items()
        if paper.is_plain(results[0]["config"])
    )
    notes = (
        "Per cent, mean over runs with its 95 % t interval; the run is the unit. Before tuning, locality is 100.",
        *paper_notes(study, "table4"),
    )
    return Table("Table 4: plain tuning", columns, rows, notes)


def _reported(config: Mapping[str, object], arm: str) -> list[str]:
    """The paper's numbers of an arm that it has."""
    found = [paper.reported(config, metric) if arm in ("plain", "paper") else None for metric in paper.METRICS]
    return [EMPTY if value is None else f"{value:.2f}" for value in found]


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
    order = groups_of(study)
    rows.sort(key=lambda row: (order.index(row[0]), row[-2:]))
    notes = ("The first facts of each run, not chosen by what came out.", *paper_notes(study, "table5"))
    return Table("Table 5: answers", columns, tuple(rows), notes)


TABLES: dict[str, Callable[..., Table]] = {
    "table1": table_1,
    "table2": table_2,
    "table3": table_3,
    "table4": table_4,
    "table5": table_5,
    "comparison": comparison_table,
    "controls": controls_table,
    "bands": bands_table,
    "shifts": shifts_table,
    "interference": interference_table,
    "replacement": replacement_table,
    "predictors": predictors_table,
    "features": features_table,
}
FROM_FILES = ("features",)  # made of what lies beside the results, and so of their folder too


def check_tables(names: Sequence[str], settings: Sequence[Setting] = ()) -> None:
    """Raise a `ValueError` where a table is unknown, or needs what the settings do not measure or run."""
    for name in names:
        if name not in TABLES:
            raise ValueError(f"`tables` {name!r} is unknown.{suggest(name, TABLES)} Use {', '.join(TABLES)}.")
    bare = [setting.name for setting in settings if "spectra" not in setting.measures]
    if "table2" in names and bare:
        raise ValueError(f"`tables` table2 needs spectra, which {bare[0]} has not. Add measures: [spectra].")
    bare = [setting.name for setting in settings if "features" not in setting.measures]
    if "features" in names and bare:
        raise ValueError(f"`tables` features needs them, which {bare[0]} has not. Add measures: [features].")
    if "controls" in names and settings and not any(_has_controls(setting) for setting in settings):
        raise ValueError(
            f"`tables` controls needs the paper's weights and a control of them. Add to `arms`: paper, and of "
            f"{', '.join(CONTROLS)} at least one."
        )
    if "replacement" in names and settings and not any(_replaces_in_pairs(setting) for setting in settings):
        raise ValueError(
            "`tables` replacement needs Eq. 4 and random replacement of one share. Add to `arms`, for example, "
            '"eq4: filter replace_share=0.6" and "random: random_filter replace_share=0.6".'
        )
    if "interference" in names and settings and len({setting.per_run for setting in settings}) < 2:
        raise ValueError("`tables` interference needs settings whose runs differ in `facts_per_run`.")
    for setting in settings if "replacement" in names else ():
        shares = [(arm.base, arm.replace_share) for arm in setting.arms if arm.filters]
        twice = [f"{kind} replace_share={share:g}" for kind, share in shares if shares.count((kind, share)) > 1]
        if twice:
            raise ValueError(
                f"`tables` replacement compares one arm of each kind and share, but {setting.name} has more with "
                f"{twice[0]}. Give them settings of their own."
            )
    if "table4" in names and settings and not any(arm.is_plain for s in settings for arm in s.arms):
        raise ValueError("`tables` table4 needs an arm with the plain loss. Add plain to `arms`.")
    if "table5" in names and settings and not any(setting.examples for setting in settings):
        raise ValueError("`tables` table5 needs texts, which results leave out. Add examples: 3.")


def _has_controls(setting: Setting) -> bool:
    bases = {arm.base for arm in setting.arms}
    return "paper" in bases and not bases.isdisjoint(CONTROLS)


def _replaces_in_pairs(setting: Setting) -> bool:
    shares = [{arm.replace_share for arm in setting.arms if arm.base == kind} for kind in FILTERS]
    return bool(set.intersection(*shares))


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
        table = TABLES[name](study, *([folder] if name in FROM_FILES else []))
        text = table.to_markdown().rstrip("\n") + f"\n- Command: `{command}`\n"
        path = folder / "tables" / f"{name}.md"
        write_atomically(path, text.encode())
        write_atomically(path.with_suffix(".csv"), table.to_csv().encode())
        paths.append(path)
    return paths
