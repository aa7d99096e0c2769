"""Means with 95 % intervals: Wilson where a fact gives one row, a cluster bootstrap over facts otherwise."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

RESAMPLES = 10_000


def wilson_interval(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion, of which neither number need be whole; at n = 0 a `ValueError`.

    Example:
        >>> [round(bound, 4) for bound in wilson_interval(5, 10)]
        [0.2366, 0.7634]
    """
    if n <= 0:
        raise ValueError(f"`n` must be above 0, but {n} was passed")
    p, z = successes / n, stats.norm.ppf(0.5 + confidence / 2)
    centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)
    return (0.0 if p == 0 else float(low)), (1.0 if p == 1 else float(high))


def bootstrap_interval(
    values: Sequence[float] | np.ndarray, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval (BCa) of the mean of (N,) values, one a fact, from 10,000 seeded resamples.

    BCa (Efron, 1987) and not the percentile method: near 0 and 1 it covers better, docs/comparing.md has the figures.

    Raises:
        ValueError: there is no value, or one that is not finite.
    """
    values = as_finite(values, "values")
    if len(values) < 2 or np.ptp(values) == 0:
        # scipy refuses one value; equal values have a point for an interval
        return float(values.mean()), float(values.mean())
    result = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=500,
        confidence_level=confidence,
        method="BCa",
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
    if single or (flat and 0 <= means[0] <= 1):
        interval = list(wilson_interval(means.sum(), len(means)))
    else:
        interval = None if flat else list(bootstrap_interval(means, seed=seed))
    return {"value": float(means.mean()), "ci95": interval, "n": len(means), "protocol": protocol}


def mean_score(values: Sequence[float] | np.ndarray, protocol: str, seed: int = 0) -> dict[str, object]:
    """Mean of (N,) real values with its bootstrap interval, in the shape of `score`; of equal values without one."""
    values = np.asarray(values, dtype=float)
    if not len(values):
        return undefined(protocol)
    interval = list(bootstrap_interval(values, seed=seed)) if np.ptp(values) > 0 else None
    return {"value": float(values.mean()), "ci95": interval, "n": len(values), "protocol": protocol}


def average(scores: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Mean over runs, the run being the unit, with a t interval over runs (Student, 1908).

    Args:
        scores: one score a run, of one protocol; undefined ones do not count.

    Returns:
        A score whose n counts runs; `ci95` is `None` for one run alone and where all runs agree.

    Raises:
        ValueError: there is none, or two of them follow different protocols.

    Example:
        >>> average([undefined("strict") | {"value": 0.5, "n": 9}, undefined("strict") | {"value": 0.7, "n": 9}])["n"]
        2
    """
    if not scores:
        raise ValueError("`scores` is empty. Pass one score a run.")
    protocol = same_protocol(*(score["protocol"] for score in scores))
    values = [score["value"] for score in scores if score["value"] is not None]
    if not values:
        return undefined(protocol)
    values = as_finite(values, "scores")
    interval = None
    if np.ptp(values) > 0:
        interval = [float(bound) for bound in stats.ttest_1samp(values, 0.0).confidence_interval(0.95)]
    return {"value": float(values.mean()), "ci95": interval, "n": len(values), "protocol": protocol}


def same_protocol(*protocols: str) -> str:
    """The one protocol of several scores.

    Raises:
        ValueError: there are two; the message names both.
    """
    for other in protocols[1:]:
        if other != protocols[0]:
            raise ValueError(
                f"scores of two protocols cannot be averaged or compared: {protocols[0]!r} and {other!r}. "
                "Evaluate both alike."
            )
    return protocols[0]


def as_finite(values: Sequence[float] | np.ndarray, argument: str) -> np.ndarray:
    """(N,) values as float64; a `ValueError` that names the argument where there is none or one is not finite."""
    out = np.asarray(values, dtype=float)
    if out.ndim != 1 or not out.size:
        raise ValueError(f"`{argument}` must be a list of at least one number, but has shape {out.shape}")
    if not np.isfinite(out).all():
        where = int(np.flatnonzero(~np.isfinite(out))[0])
        raise ValueError(f"`{argument}` holds {out[where]} at {where}. Leave undefined values out, of both sides.")
    return out


def undefined(protocol: str) -> dict[str, object]:
    """A score without a value: every key present, `value` and `ci95` null."""
    return {"value": None, "ci95": None, "n": 0, "protocol": protocol}
