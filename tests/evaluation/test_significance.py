"""Each test and interval against a slow, obvious reference."""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from semantic_trainer.evaluation.significance import holm, mcnemar, paired_interval, sign_flip

quick = settings(deadline=None, derandomize=True, max_examples=60)
bits = st.tuples(st.integers(0, 1), st.integers(0, 1))
quarters = st.integers(-4, 4).map(lambda k: k / 4)
p_values = st.lists(st.floats(0, 1), max_size=8)


def slow_mcnemar(a: Sequence[int], b: Sequence[int]) -> float:
    """Add up every outcome of the discordant pairs that is no more probable than the one found."""
    gained = sum(x < y for x, y in zip(a, b, strict=True))
    n = gained + sum(x > y for x, y in zip(a, b, strict=True))
    chance = [math.comb(n, k) / 2**n for k in range(n + 1)]
    return min(1.0, sum(c for c in chance if c <= chance[gained] * (1 + 1e-9)))


def slow_sign_flip(differences: Sequence[float]) -> float:
    """All 2^N signs of all differences, zeros too."""
    found = abs(sum(differences))
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((-1, 1), repeat=len(differences))
    ]
    return sum(total >= found - 1e-9 for total in sums) / len(sums)


def slow_holm(p: Sequence[float]) -> list[float]:
    """statsmodels' definition: the adjusted p-value is the smallest level at which Holm's procedure rejects.

    Procedure: go through the sorted p-values; stop at the first with p_(i) > level / (m - i + 1).
    """
    m = len(p)
    order = sorted(range(m), key=lambda i: p[i])
    out = [0.0] * m
    for position, index in enumerate(order):
        needed = [(m - j) * p[order[j]] for j in range(position + 1)]  # every earlier one must be rejected as well
        out[index] = min(1.0, max(needed))
    return out


def slow_interval(differences: Sequence[float]) -> tuple[float, float]:
    """A weighted t interval over the facts and the ones added: +1 and -1 with weight 1/2, 0 with weight 1."""
    facts = [(d, 1.0) for d in differences] + [(1.0, 0.5), (-1.0, 0.5), (0.0, 1.0)]
    n = sum(w for _, w in facts)
    mean = sum(d * w for d, w in facts) / n
    variance = sum(w * (d - mean) ** 2 for d, w in facts) / n
    reach = stats.t.ppf(0.975, n - 1) * math.sqrt(variance / n)
    return max(-1.0, mean - reach), min(1.0, mean + reach)


@quick
@given(st.lists(bits, min_size=1, max_size=30))
def test_mcnemar_agrees_with_its_reference(pairs: list[tuple[int, int]]) -> None:
    a, b = zip(*pairs, strict=True)
    assert mcnemar(a, b) == pytest.approx(slow_mcnemar(a, b), abs=1e-12)
    assert mcnemar(a, b) == pytest.approx(mcnemar(b, a), abs=1e-12)


@quick
@given(st.lists(quarters, min_size=1, max_size=10))
def test_sign_flip_agrees_with_its_reference(differences: list[float]) -> None:
    assert sign_flip(differences) == pytest.approx(slow_sign_flip(differences), abs=1e-12)


@quick
@given(st.lists(bits, min_size=1, max_size=12))
def test_on_single_answers_sign_flip_is_mcnemar(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs, dtype=float).T
    assert sign_flip(b - a) == pytest.approx(mcnemar(a, b), abs=1e-12)


def test_sign_flip_by_chance_is_near_the_exact_p() -> None:
    rng = np.random.default_rng(3)
    differences = rng.choice([-0.5, 0.25, 0.5], 18)
    exact = slow_sign_flip(differences.tolist()[:14])
    assert sign_flip(differences[:14]) == pytest.approx(exact, abs=0.02)
    assert sign_flip(differences, seed=1) == sign_flip(differences, seed=1)
    assert sign_flip(differences, seed=1) != sign_flip(differences, seed=2)


@quick
@given(p_values)
def test_holm_agrees_with_its_reference(p: list[float]) -> None:
    assert holm(p) == pytest.approx(slow_holm(p), abs=1e-12)


@quick
@given(p_values)
def test_holm_keeps_the_order_and_never_lowers(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(after >= before for before, after in zip(p, adjusted, strict=True))
    assert all(adjusted[i] <= adjusted[j] for i in range(len(p)) for j in range(len(p)) if p[i] <= p[j])
    assert len(p) != 1 or adjusted == p


def test_holm_of_statsmodels_example() -> None:
    """multipletests([0.01, 0.02, 0.03, 0.04, 0.05], method="holm"), worked out by hand."""
    assert holm([0.05, 0.01, 0.04, 0.02, 0.03]) == pytest.approx([0.09, 0.05, 0.09, 0.08, 0.09])


@quick
@given(st.lists(quarters, min_size=1, max_size=40))
def test_interval_agrees_with_its_reference(differences: list[float]) -> None:
    low, high = paired_interval(differences)
    assert (low, high) == pytest.approx(slow_interval(differences), abs=1e-12)
    assert -1 <= low < high <= 1
    assert low - 1e-12 <= np.mean(differences) <= high + 1e-12
    assert paired_interval([-d for d in differences]) == pytest.approx((-high, -low), abs=1e-12)


def test_interval_on_single_answers_is_agresti_and_mins() -> None:
    """With z in place of t: (b* - c*) / n* +- z sqrt(b* + c* - (b* - c*)^2 / n*) / n*, half a pair in every cell."""
    b, c, n = 60 + 0.5, 30 + 0.5, 4000 + 2
    reach = 1.959964 * math.sqrt(b + c - (b - c) ** 2 / n) / n
    found = paired_interval([1.0] * 60 + [-1.0] * 30 + [0.0] * 3910)
    assert found == pytest.approx(((b - c) / n - reach, (b - c) / n + reach), abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 0.25])
@pytest.mark.parametrize("n", [1, 2, 50])
def test_equal_differences_claim_no_certainty(value: float, n: int) -> None:
    low, high = paired_interval([value] * n)
    assert high - low > 0.01
    assert low <= value <= high


def test_no_discordant_pair_and_one_fact() -> None:
    assert mcnemar([0, 1, 1], [0, 1, 1]) == 1.0
    assert mcnemar([0], [1]) == 1.0
    assert sign_flip([0.0, 0.0]) == 1.0
    assert sign_flip([0.5]) == 1.0


@pytest.mark.parametrize("measure", [sign_flip, paired_interval, holm, lambda d: mcnemar(d, d)])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(measure: object, bad: float) -> None:
    with pytest.raises(ValueError, match="holds (nan|inf) at 1"):
        measure([0.0, bad])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mcnemar([0, 1], [1]), "of the same facts"),
        (lambda: mcnemar([0.5], [1]), "Use sign_flip"),
        (lambda: mcnemar([], []), "at least one number"),
        (lambda: sign_flip([]), "`differences` must be a list of at least one number"),
        (lambda: paired_interval([1.5]), r"lie in \[-1, 1\], but 1.5"),
        (lambda: holm([0.5, 1.2]), r"`p_values` must lie in \[0, 1\]"),
    ],
)
def test_a_mistake_is_named(call: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
