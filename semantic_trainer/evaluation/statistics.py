"""Means with 95 % intervals: Wilson where a fact gives one row, a cluster bootstrap over facts otherwise."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

RESAMPLES = 10_000


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion; at n = 0 a `ValueError`.

    Example:
        >>> [round(bound, 4) for bound in wilson_interval(5, 10)]
        [0.2366, 0.7634]
    """
    if n < 1:
        raise ValueError(f"`n` must be at least 1, but {n} was passed")
    interval = stats.binomtest(int(successes), int(n)).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_interval(
    values: Sequence[float] | np.ndarray, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of (N,) values, one a fact, from 10,000 seeded resamples."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2 or np.ptp(values) == 0:
        # scipy refuses one value; equal values have a point for an interval
        return float(values.mean()), float(values.mean())
    result = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=500,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def score(rows: Sequence[Sequence[float]], protocol: str, seed: int = 0) -> dict[str, object]:
    """Mean per fact, then over facts, with its 95 % interval.

    Args:
        rows: one sequence of scores a fact; facts without any (no paraphrases) do not count.
        protocol: name of what was measured and how, kept beside the number.

    Returns:
        `{"value", "ci95", "n", "protocol"}`; n counts facts; value and ci95 are `None` where n is 0.

    Example:
        >>> score([[1], [0]], "strict")["value"]
        0.5
    """
    facts = [np.asarray(row, dtype=float) for row in rows if len(row)]
    if not facts:
        return undefined(protocol)
    means = np.array([row.mean() for row in facts])
    single = all(len(row) == 1 for row in facts) and bool(np.isin(means, (0.0, 1.0)).all())
    flat = np.ptp(means) == 0  # a bootstrap of equal values would claim to be certain
    interval = (
        wilson_interval(round(means.sum()), len(means)) if single or flat else bootstrap_interval(means, seed=seed)
    )
    return {"value": float(means.mean()), "ci95": list(interval), "n": len(means), "protocol": protocol}


def mean_score(values: Sequence[float] | np.ndarray, protocol: str, seed: int = 0) -> dict[str, object]:
    """Mean of (N,) real values with its bootstrap interval, in the shape of `score`."""
    values = np.asarray(values, dtype=float)
    if not len(values):
        return undefined(protocol)
    interval = list(bootstrap_interval(values, seed=seed)) if len(values) > 1 else None
    return {"value": float(values.mean()), "ci95": interval, "n": len(values), "protocol": protocol}


def undefined(protocol: str) -> dict[str, object]:
    """A score without a value: every key present, `value` and `ci95` null."""
    return {"value": None, "ci95": None, "n": 0, "protocol": protocol}
