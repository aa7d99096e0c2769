"""Results of many runs as numbers with intervals: means over runs, and paired differences of arms."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from ..evaluation.comparison import Difference, adjust, paired_runs
from ..evaluation.significance import sign_flip
from ..evaluation.statistics import average, score, wilson_interval
from .results import Results, Study

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


def pooled_share(successes: Sequence[int], counts: Sequence[int]) -> dict[str, object]:
    """A share of the facts of several runs; its interval knows that facts of one run are no independent draws.

    Wilson's 95 % interval at the effective sample size `n / deff`. The design effect `deff` is the variance of the
    ratio `sum(successes) / sum(counts)` between runs (Cochran, 1977, section 6) over that of `n` independent facts; it
    counts as 1 where it is less (Korn and Graubard, 1998), and so for one run, or runs of one fact.

    Args:
        successes, counts: of each run; runs without facts do not count.

    Returns:
        `{"value", "ci95", "n", "runs"}`, n counting facts; value and ci95 are `None` where there are none.

    Example:
        >>> found = pooled_share([5, 5], [10, 10])
        >>> found["value"], [round(bound, 3) for bound in found["ci95"]]
        (0.5, [0.299, 0.701])
    """
    c = np.array([count for count in counts if count], dtype=float)
    s = np.array([s for s, count in zip(successes, counts, strict=True) if count], dtype=float)
    n, runs = int(c.sum()), len(c)
    if not n:
        return {"value": None, "ci95": None, "n": 0, "runs": 0}
    p = float(s.sum() / n)
    independent = p * (1 - p) / n
    between = _ratio_variance(s, c) if runs > 1 and c.max() > 1 else 0.0
    effective = n / max(1.0, between / independent) if independent else n
    return {"value": p, "ci95": list(wilson_interval(p * effective, effective)), "n": n, "runs": runs}


def pooled_mean(values: Sequence[Sequence[float]]) -> dict[str, object]:
    """The mean of all facts of several runs, with a t interval from the ratio's variance between runs.

    Args:
        values: one sequence of numbers a run.

    Returns:
        As of `pooled_share`; `ci95` is `None` with less than two runs.
    """
    found = [np.asarray(run, dtype=float) for run in values if len(run)]
    sums, counts = np.array([run.sum() for run in found]), np.array([len(run) for run in found], dtype=float)
    if not found:
        return {"value": None, "ci95": None, "n": 0, "runs": 0}
    mean, interval = float(sums.sum() / counts.sum()), None
    if len(found) > 1:
        half = stats.t.ppf(0.975, len(found) - 1) * np.sqrt(_ratio_variance(sums, counts))
        interval = [mean - float(half), mean + float(half)]
    return {"value": mean, "ci95": interval, "n": int(counts.sum()), "runs": len(found)}


def pooled_difference(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> Difference | None:
    """Mean of all facts in `b` less that in `a`, of two kinds of facts that the same runs were taught.

    A t interval and test from the linearised difference of two ratios, with the run as the unit. As in `pooled_share`,
    the standard error counts as that of independent facts where it is less. Where all runs move the difference alike
    there is no interval, and the p-value is the sign-flip test's.

    Args:
        a, b: one sequence of numbers a run, of the same runs; a run may have none on one side.

    Returns:
        `None` where a side is empty, or there is one run. With few facts on a side the interval is too short.

    Example:
        >>> print(pooled_difference([[1, 0], [0, 0]], [[1, 1], [1, 0]]).value)
        0.5
    """
    taught = [k for k in range(len(a)) if len(a[k]) or len(b[k])]
    a, b, parts, n = [a[k] for k in taught], [b[k] for k in taught], [], len(taught)
    for side in (a, b):
        sums, counts = np.array([sum(run) for run in side]), np.array([len(run) for run in side], dtype=float)
        if n < 2 or not counts.sum():
            return None
        parts.append((sums.sum() / counts.sum(), _off(sums, counts)))
    (mean_a, off_a), (mean_b, off_b) = parts
    value, off = float(mean_b - mean_a), off_b - off_a
    independent = np.sqrt(sum(np.var(facts) / len(facts) for facts in map(np.concatenate, (a, b))))
    error = float(max(np.sqrt(n / (n - 1) * (off**2).sum()), independent))
    if np.allclose(off, 0, rtol=0, atol=1e-12):
        p = sign_flip(np.full(n, 0.0 if abs(value) < 1e-12 else value))
        return Difference(value, None, p, n, "sign-flip test over runs", "")
    half = stats.t.ppf(0.975, n - 1) * error
    p = 2 * stats.t.sf(abs(value) / error, n - 1)
    return Difference(value, (value - half, value + half), float(p), n, "Student's t over runs", "")


def pooled_gain(before: Sequence[Sequence[float]], after: Sequence[Sequence[float]]) -> Difference | None:
    """By how much the same facts of the same runs score higher `after`: `pooled_difference` of their gains from 0.

    Example:
        >>> print(pooled_gain([[1, 0], [0, 0]], [[1, 1], [1, 0]]).value)
        0.5
    """
    found = [gains(*runs) for runs in zip(before, after, strict=True)]
    return pooled_difference([[0.0] * len(run) for run in found], found)


def gains(before: Sequence[float], after: Sequence[float]) -> list[float]:
    """Of one run's facts, by how much each scores higher."""
    return [b - a for a, b in zip(before, after, strict=True)]


def _ratio_variance(sums: np.ndarray, counts: np.ndarray) -> float:
    """Variance of `sum(sums) / sum(counts)` over (R,) runs, linearised."""
    return float(len(sums) / (len(sums) - 1) * (_off(sums, counts) ** 2).sum())


def _off(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """By how much each of (R,) runs moves the ratio, linearised."""
    return (sums - sums.sum() / counts.sum() * counts) / counts.sum()


def in_points(value: Mapping[str, object]) -> str:
    """`19.5 [17.0, 22.1]` in per cent."""
    if value["value"] is None:
        return EMPTY
    bounds = [100 * min(max(bound, 0.0), 1.0) for bound in value["ci95"] or ()]  # a t interval may leave [0, 1]
    interval = " [{:.1f}, {:.1f}]".format(*bounds) if bounds else ""
    return f"{100 * value['value']:.1f}{interval}"


def number(value: Mapping[str, object]) -> str:
    """`0.6139 [0.5504, 0.6774]` of a number that is never below 0."""
    if value["value"] is None:
        return EMPTY
    interval = (
        "" if value["ci95"] is None else " [{:.4g}, {:.4g}]".format(*(max(bound, 0.0) for bound in value["ci95"]))
    )
    return f"{value['value']:.4g}{interval}"


def pair(a: Sequence[Mapping[str, object]], b: Sequence[Mapping[str, object]]) -> tuple[list, list]:
    """The results of two arms of the runs that both have, in one order."""
    theirs = {run_of(result): result for result in b}
    both = [result for result in a if run_of(result) in theirs]
    return both, [theirs[run_of(result)] for result in both]


def run_of(result: Mapping[str, object]) -> tuple[object, object]:
    return result["draw"]["group"], result["draw"]["run"]


def differences(arms: Results, reference: str, metrics: Sequence[str]) -> dict[tuple[str, str], str]:
    """(arm, metric) -> its difference from the reference arm, in points, with interval and p-value.

    P-values are corrected for all differences of the setting (Holm). A metric that a run of either arm has not is left
    out.
    """
    found = {}
    for arm, results in arms.items():
        if arm == reference:
            continue
        ours = pair(arms[reference], results)
        for metric in metrics:
            sides = [[result["scores"].get(metric) for result in side] for side in ours]
            if len(sides[0]) > 1 and all(s is not None and s["value"] is not None for side in sides for s in side):
                found[arm, metric] = paired_runs(*sides)
    return adjusted(found)


def adjusted(found: Mapping[object, Difference | None]) -> dict[object, str]:
    """Differences in points, p-values corrected for the number of those that there are (Holm); others left out."""
    known = {key: difference for key, difference in found.items() if difference is not None}
    if not known:
        return {}
    return {key: without_words(d) for key, d in zip(known, adjust(list(known.values())), strict=True)}


def first_weighings(arms: Results) -> dict[str, str]:
    """Weighting -> the first arm that has it, of those that replace no facts."""
    found: dict[str, str] = {}
    for arm, results in arms.items():
        if not results[0]["config"].get("filter"):
            found.setdefault(results[0]["config"]["weighting"], arm)
    return found


def without_words(difference: Difference) -> str:
    """Points and p-value alone."""
    return str(difference).removeprefix("no evidence of a difference (").removesuffix(")")


def by_distance(results: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """Results with the group of the shortest distances first, each in the order of its runs."""

    def key(result: Mapping) -> tuple[list[float], object]:
        return list(result["config"].get("distances") or ()), run_of(result)[1]

    return sorted(results, key=key)


def groups_of(study: Study) -> list[str]:
    """Names of all groups, the one of the shortest distances first."""
    results = [result for arms in study.values() for found in arms.values() for result in found]
    return list(dict.fromkeys(run_of(result)[0] for result in by_distance(results)))
