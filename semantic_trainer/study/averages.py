"""Results of many runs as numbers with intervals: means over runs, and paired differences of arms."""

from collections.abc import Mapping, Sequence

from ..evaluation.comparison import Difference, adjust, paired_runs
from ..evaluation.statistics import average, score

Results = Mapping[str, Sequence[Mapping[str, object]]]  # arm -> results in the order of their runs
EMPTY = "–"


def over_runs(results: Sequence[Mapping[str, object]], metric: str) -> dict[str, object]:
    """A metric over runs, the run being the unit: a t interval, or Wilson's where a run is one fact.

    Runs without a value, such as deviation among bad cases where there is none, do not count.
    """
    scores = [result["scores"][metric] for result in results]
    if all(result["config"]["protocol"] == "single" for result in results):
        values = [[s["value"]] for s in scores if s["value"] is not None]
        return score(values, scores[0]["protocol"])
    return average(scores)


def in_points(value: Mapping[str, object]) -> str:
    """`19.5 [17.0, 22.1]` in per cent."""
    if value["value"] is None:
        return EMPTY
    bounds = [100 * min(max(bound, 0.0), 1.0) for bound in value["ci95"] or ()]  # a t interval may leave [0, 1]
    interval = " [{:.1f}, {:.1f}]".format(*bounds) if bounds else ""
    return f"{100 * value['value']:.1f}{interval}"


def pair(a: Sequence[Mapping[str, object]], b: Sequence[Mapping[str, object]]) -> tuple[list, list]:
    """The results of two arms of the runs that both have, in one order."""
    theirs = {run_of(result): result for result in b}
    both = [result for result in a if run_of(result) in theirs]
    return both, [theirs[run_of(result)] for result in both]


def run_of(result: Mapping[str, object]) -> tuple[object, object]:
    return result["draw"]["group"], result["draw"]["run"]


def differences(arms: Results, reference: str, metrics: Sequence[str]) -> dict[tuple[str, str], str]:
    """(arm, metric) -> its difference from the reference arm, in points, with interval and p-value.

    P-values are corrected for all differences of the setting (Holm).
    """
    found = {}
    for arm, results in arms.items():
        if arm == reference:
            continue
        ours = pair(arms[reference], results)
        for metric in metrics:
            sides = [[result["scores"][metric] for result in side] for side in ours]
            if len(sides[0]) > 1 and all(s["value"] is not None for side in sides for s in side):
                found[arm, metric] = paired_runs(*sides)
    if not found:
        return {}
    return {key: _plain(d) for key, d in zip(found, adjust(list(found.values())), strict=True)}


def _plain(difference: Difference) -> str:
    return str(difference).removeprefix("no evidence of a difference (").removesuffix(")")
