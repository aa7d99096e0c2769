"""Differences of two runs on the same facts, or of two arms over runs: interval, p-value, and in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from .significance import holm, mcnemar, paired_interval, sign_flip
from .statistics import as_finite, same_protocol

ALPHA = 0.05
RUN_TESTS = ("t", "sign_flip")


@dataclass(frozen=True)
class Difference:
    """Second minus first, of one metric under one protocol.

    Attributes:
        value: the mean difference, as a fraction.
        ci95: its 95 % interval; `None` where runs give none.
        p_value: two-sided, of no difference.
        n: facts, or runs.
        test: the name of the test.
        protocol: what both sides were measured by.

    Example:
        >>> print(Difference(0.041, (0.02, 0.063), 0.003, 100, "McNemar's exact test", "strict"))
        +4.1 [2.0, 6.3], p = 0.003
    """

    value: float
    ci95: tuple[float, float] | None
    p_value: float
    n: int
    test: str
    protocol: str

    @property
    def evident(self) -> bool:
        """Whether p is below 0.05 and the interval leaves 0 out; both are asked, so the stricter one decides."""
        return self.p_value < ALPHA and (self.ci95 is None or not self.ci95[0] <= 0 <= self.ci95[1])

    def points(self) -> str:
        """`+4.1 [2.0, 6.3]`, in percentage points."""
        interval = "" if self.ci95 is None else " [{:.1f}, {:.1f}]".format(*(_points(bound) for bound in self.ci95))
        return f"{_points(self.value):+.1f}{interval}"

    def describe(self) -> str:
        """In percentage points and with its p-value; where there is no evidence, that is said first."""
        words = f"{self.points()}, {format_p(self.p_value)}"
        return words if self.evident else f"no evidence of a difference ({words})"

    __str__ = describe


def _points(fraction: float) -> float:
    """Percentage points to one decimal, without a negative zero."""
    return round(100 * fraction, 1) + 0.0


def format_p(p: float) -> str:
    """`p = 0.003`, `p = 0.61`, `p < 0.001`; rounding never carries a p-value over 0.05."""
    if p < 0.001:
        return "p < 0.001"
    if p < 0.1:
        return f"p = {min(p, 0.0499):.4f}" if p < ALPHA <= round(p, 3) else f"p = {p:.3f}"
    return f"p = {p:.2f}"


def paired_facts(
    a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], protocol_a: str, protocol_b: str, seed: int = 0
) -> Difference:
    """`b - a` on the same facts: mean per fact, then over facts.

    McNemar's exact test where every fact gives one 0 or 1, else a sign-flip permutation test of the means per fact;
    the interval is `paired_interval`'s. It speaks of these two runs; for two *methods* see `paired_runs`.

    Args:
        a, b: one sequence of scores in [0, 1] a fact, in the same order; facts without any (no paraphrases) do not
            count.
        protocol_a, protocol_b: must be equal.
        seed: of the permutation test.

    Raises:
        ValueError: two protocols, other facts, unequal numbers of scores, nothing to compare, a score out of [0, 1].

    Example:
        >>> paired_facts([[0], [0], [1]], [[1], [1], [1]], "strict", "strict").p_value
        0.5
    """
    protocol = same_protocol(protocol_a, protocol_b)
    if [len(row) for row in a] != [len(row) for row in b]:
        raise ValueError("`a` and `b` must hold the same facts in the same order, with as many scores for each fact")
    means = np.array([(np.mean(x), np.mean(y)) for x, y in zip(a, b, strict=True) if len(x)], dtype=float)
    if not len(means):
        raise ValueError("`a` and `b` hold no score, so there is nothing to compare")
    if not ((means >= 0) & (means <= 1)).all():  # NaN is refused too
        raise ValueError("`a` and `b` must hold scores in [0, 1]; leave undefined ones out, of both sides")
    difference = means[:, 1] - means[:, 0]
    single = all(len(row) < 2 for row in a) and bool(np.isin(means, (0.0, 1.0)).all())
    test, p = (
        ("McNemar's exact test", mcnemar(*means.T))
        if single
        else ("sign-flip permutation test over facts", sign_flip(difference, seed))
    )
    return Difference(float(difference.mean()), paired_interval(difference), p, len(means), test, protocol)


def paired_runs(
    a: Sequence[Mapping[str, object]], b: Sequence[Mapping[str, object]], test: str = "t", seed: int = 0
) -> Difference:
    """`b - a` over paired runs, two arms of one study: the run is the unit.

    The interval is the paired t interval. Where all runs differ by the same amount there is none, and the p-value is
    the sign-flip test's.

    Args:
        a, b: one score `{value, protocol, ...}` a run; the i-th ones share facts, seed and budget.
        test: `"t"` (Student's, paired) or `"sign_flip"`, which can find nothing below six runs.

    Raises:
        ValueError: two protocols, unpaired or fewer than two runs, an undefined score.

    Example:
        >>> def scores(*values): return [{"value": v, "protocol": "strict"} for v in values]
        >>> print(paired_runs(scores(0.5, 0.6, 0.4), scores(0.6, 0.68, 0.52)))
        +10.0 [5.0, 15.0], p = 0.013
    """
    if test not in RUN_TESTS:
        raise ValueError(f"`test` must be one of {RUN_TESTS}, but {test!r} was passed")
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"`a` and `b` must hold at least 2 paired runs, but {len(a)} and {len(b)} were passed")
    protocol = same_protocol(*(score["protocol"] for score in (*a, *b)))
    before, after = (
        as_finite([np.nan if score["value"] is None else score["value"] for score in side], name)
        for name, side in (("a", a), ("b", b))
    )
    difference = after - before
    value, n = float(difference.mean()), len(difference)
    if np.allclose(difference, difference[0], rtol=0, atol=1e-12):
        p = sign_flip(np.full(n, 0.0 if abs(value) < 1e-12 else value), seed)
        return Difference(value, None, p, n, "sign-flip test over runs", protocol)
    found = stats.ttest_1samp(difference, 0.0)
    low, high = map(float, found.confidence_interval(0.95))
    if test == "t":
        return Difference(value, (low, high), float(found.pvalue), n, "paired t-test over runs", protocol)
    return Difference(value, (low, high), sign_flip(difference, seed), n, "sign-flip test over runs", protocol)


def adjust(differences: Sequence[Difference]) -> list[Difference]:
    """The same differences with p-values corrected for their number (`holm`)."""
    corrected = holm([difference.p_value for difference in differences])
    return [replace(d, p_value=p) for d, p in zip(differences, corrected, strict=True)]
