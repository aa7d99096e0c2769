"""Whether scores that were published are those that are measured again: pure functions of two tables."""

from collections.abc import Mapping
from dataclasses import dataclass

from .table import METRICS

TOLERANCE = 0.01
# Of an interval's ends: another version of scipy may draw other resamples.
SLACK = 0.02
EQUAL = 1e-9
Score = Mapping[str, object]


@dataclass(frozen=True)
class Replicated:
    """One score, as published and as measured again.

    Attributes:
        run: `before` or an arm.
        difference: measured minus published, in the metric's own unit; `None` where either is undefined.
        trouble: why the published score does not hold, in words; empty where it does.
    """

    run: str
    metric: str
    published: Score
    measured: Score
    difference: float | None
    trouble: str


def replicate(
    published: Mapping[str, Mapping[str, Score]],
    measured: Mapping[str, Mapping[str, Score]],
    tolerance: float = TOLERANCE,
) -> list[Replicated]:
    """Every metric of every run that was measured again, beside what was published of it.

    Args:
        published, measured: run -> metric -> `{value, ci95, n, protocol}`.
        tolerance: largest difference that holds, in the metric's own unit: 0.01 is one point of a share.

    Example:
        >>> score = {"value": 0.5, "ci95": [0.3, 0.7], "n": 20, "protocol": "strict"}
        >>> runs = {"weighted": dict.fromkeys(METRICS, score)}
        >>> {row.trouble for row in replicate(runs, runs)}
        {''}
    """
    return [
        compare_scores(run, metric, published[run][metric], measured[run][metric], tolerance)
        for run in measured
        for metric in METRICS
    ]


def compare_scores(run: str, metric: str, published: Score, measured: Score, tolerance: float) -> Replicated:
    """One score, as published and as measured again."""
    values = (published["value"], measured["value"])
    difference = None if None in values else values[1] - values[0]
    return Replicated(run, metric, published, measured, difference, trouble(published, measured, tolerance))


def trouble(published: Score, measured: Score, tolerance: float) -> str:
    """Why a published score does not hold, the gravest reason; empty where it does."""
    if published["protocol"] != measured["protocol"]:
        return f"another protocol: published under {published['protocol'][:80]!r}"
    if published["n"] != measured["n"]:
        return f"of {measured['n']} facts, published of {published['n']}"
    values = (published["value"], measured["value"])
    if None in values:
        return "" if values == (None, None) else "undefined in one of both"
    if abs(values[1] - values[0]) > tolerance + EQUAL:
        return "differs"
    ends = (published["ci95"], measured["ci95"])
    if None in ends:
        return "" if ends == (None, None) else "an interval in one of both"
    if any(abs(b - a) > max(tolerance, SLACK) + EQUAL for a, b in zip(*ends, strict=True)):
        return "another interval"
    return ""
