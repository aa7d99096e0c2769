"""Exact and permutation tests of paired scores, the interval beside them, and Holm's correction."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from . import statistics
from .statistics import as_finite


def mcnemar(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """McNemar's exact test on (N,) paired scores of 0 or 1: the two-sided p-value.

    Of the discordant pairs, `(0, 1)` and `(1, 0)`, half are expected to be of either kind (McNemar, 1947); without
    one the p-value is 1.

    Example:
        >>> mcnemar([0, 0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1, 1])
        0.03125
    """
    a, b = as_finite(a, "a"), as_finite(b, "b")
    if len(a) != len(b) or not np.isin([a, b], (0.0, 1.0)).all():
        raise ValueError("`a` and `b` must hold one 0 or 1 a fact, of the same facts. Use sign_flip for means.")
    gained, lost = int((b > a).sum()), int((a > b).sum())
    return float(stats.binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def sign_flip(differences: Sequence[float] | np.ndarray, seed: int = 0) -> float:
    """Paired permutation test of a mean difference of 0: the two-sided p-value for (N,) differences, one a unit.

    Were both sides alike, every difference could as well have the other sign (Fisher, 1935). All 2^N signs are tried
    where there are no more than 10,000, else as many seeded ones; differences of 0 have no sign and are left out.

    Example:
        >>> sign_flip([0.5, 0.25, 0.5, 0.0, 0.75, 0.25])
        0.0625
    """
    moved = as_finite(differences, "differences")
    moved = moved[moved != 0]
    if len(moved) < 2:  # both signs of one difference are equally extreme
        return 1.0
    result = stats.permutation_test(
        (moved,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=statistics.RESAMPLES,
        batch=500,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def paired_interval(differences: Sequence[float] | np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the mean of (N,) paired differences of scores in [0, 1], one a fact.

    The t interval after adding two facts in thought: half a fact with difference +1, half with -1, one with 0. On 0/1
    scores that is the interval of Agresti and Min (2005, Statistics in Medicine 24, 729-740) with t in place of z:

        m = sum(d) / n',   s^2 = (sum(d^2) + 1) / n' - m^2,   m +- t(n' - 1) s / sqrt(n'),   n' = n + 2

    It claims no certainty where all differences are equal. Where differences are rare a bootstrap over facts covers
    far less than 95 %, percentile or BCa: docs/comparing.md has the figures.

    Example:
        >>> [round(bound, 3) for bound in paired_interval([0.0] * 50)]
        [-0.039, 0.039]
    """
    d = as_finite(differences, "differences")
    if np.abs(d).max() > 1:
        raise ValueError(f"`differences` of scores in [0, 1] lie in [-1, 1], but {np.abs(d).max():g} was found")
    n = len(d) + 2
    middle = d.sum() / n
    spread = np.sqrt(((d**2).sum() + 1) / n - middle**2)
    reach = stats.t.ppf((1 + confidence) / 2, n - 1) * spread / np.sqrt(n)
    return float(max(middle - reach, -1.0)), float(min(middle + reach, 1.0))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979) of m p-values, in their order: the chance of *any* false alarm stays below p.

    The i-th smallest becomes `max over j <= i of min(1, (m - j + 1) p_(j))`.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    if not len(p_values):
        return []
    p = as_finite(p_values, "p_values")
    if p.min() < 0 or p.max() > 1:
        raise ValueError(f"`p_values` must lie in [0, 1], but {p_values} were passed")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, p[order] * np.arange(len(p), 0, -1)))
    return adjusted.tolist()
