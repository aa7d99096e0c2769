"""Differences of runs: what is compared, what is refused, and how it is said."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from semantic_trainer.evaluation.comparison import Difference, adjust, format_p, paired_facts, paired_runs
from semantic_trainer.evaluation.significance import holm, mcnemar, paired_interval, sign_flip
from semantic_trainer.evaluation.statistics import undefined

quick = settings(deadline=None, derandomize=True, max_examples=60)
facts = st.integers(0, 3).flatmap(lambda k: st.tuples(*[st.lists(st.integers(0, 1), min_size=k, max_size=k)] * 2))


def runs(*values: float | None, protocol: str = "strict") -> list[dict]:
    return [undefined(protocol) | {"value": value} for value in values]


def difference(value: float, low: float, high: float, p: float) -> Difference:
    return Difference(value, (low, high), p, 100, "a test", "strict")


@quick
@given(st.lists(facts, min_size=1, max_size=12).filter(lambda rows: any(len(a) for a, _ in rows)))
def test_facts_are_compared_by_their_means(rows: list[tuple[list[int], list[int]]]) -> None:
    a, b = [list(side) for side in zip(*rows, strict=True)]
    found = paired_facts(a, b, "strict", "strict")
    means = [sum(y) / len(y) - sum(x) / len(x) for x, y in rows if x]
    assert found.value == pytest.approx(sum(means) / len(means))
    assert found.ci95 == pytest.approx(paired_interval(means))
    assert found.n == len(means)
    assert found.p_value == pytest.approx(sign_flip(means), abs=1e-9)
    assert found.test.startswith("McNemar") == all(len(x) < 2 for x in a)


def test_one_answer_a_fact_takes_mcnemars_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, (2, 200))
    found = paired_facts(a[:, None], b[:, None], "strict", "strict")
    assert found.p_value == mcnemar(a, b)
    assert found.protocol == "strict"


def test_two_protocols_are_refused_and_named() -> None:
    with pytest.raises(ValueError, match="'strict' and 'token'"):
        paired_facts([[1]], [[1]], "strict", "token")
    with pytest.raises(ValueError, match="'strict' and 'token'"):
        paired_runs(runs(0.1, 0.2), runs(0.1, 0.2, protocol="token"))


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([[1]], [[1], [0]], "the same facts"),
        ([[1, 0]], [[1]], "as many scores"),
        ([[], []], [[], []], "nothing to compare"),
        ([], [], "nothing to compare"),
        ([[float("nan")]], [[1.0]], "leave undefined ones out"),
        ([[1.5]], [[1.0]], r"in \[0, 1\]"),
    ],
)
def test_facts_that_cannot_be_compared(a: list, b: list, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        paired_facts(a, b, "strict", "strict")


def test_one_fact_is_no_evidence() -> None:
    found = paired_facts([[0]], [[1]], "strict", "strict")
    assert (found.value, found.p_value, found.n) == (1.0, 1.0, 1)
    assert not found.evident


def test_runs_by_hand() -> None:
    """Differences 0.1, 0.08, 0.12: mean 0.1, standard deviation 0.02, t(2, 0.975) = 4.3027."""
    found = paired_runs(runs(0.5, 0.6, 0.4), runs(0.6, 0.68, 0.52))
    reach = 4.302652729911275 * 0.02 / 3**0.5
    assert found.ci95 == pytest.approx((0.1 - reach, 0.1 + reach))
    assert found.p_value == pytest.approx(2 * stats.t.sf(0.1 / (0.02 / 3**0.5), 2))
    assert (found.n, found.test) == (3, "paired t-test over runs")
    assert paired_runs(runs(0.5, 0.6, 0.4), runs(0.6, 0.68, 0.52), "sign_flip").p_value == 0.25


@pytest.mark.parametrize(("step", "p"), [(0.0, 1.0), (0.1, 2 / 2**6)])
def test_runs_that_all_differ_alike_have_no_interval(step: float, p: float) -> None:
    before = [0.1, 0.2, 0.3, 0.35, 0.4, 0.7]
    found = paired_runs(runs(*before), runs(*(value + step for value in before)))
    assert found.ci95 is None
    assert found.p_value == p
    assert found.evident == (step > 0)
    assert "[" not in found.describe()


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (runs(0.5), runs(0.5), "at least 2 paired runs, but 1 and 1"),
        (runs(0.5, 0.6), runs(0.5), "but 2 and 1"),
        (runs(0.5, None), runs(0.5, 0.6), "`a` holds nan at 1. Leave undefined values out, of both sides"),
        (runs(0.5, 0.6), runs(float("nan"), 0.6), "`b` holds nan at 0"),
    ],
)
def test_runs_that_cannot_be_compared(a: list, b: list, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        paired_runs(a, b)


def test_an_unknown_test_of_runs() -> None:
    with pytest.raises(ValueError, match=r"`test` must be one of .* but 'z'"):
        paired_runs(runs(0.5, 0.6), runs(0.5, 0.6), "z")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (difference(0.041, 0.02, 0.063, 0.003), "+4.1 [2.0, 6.3], p = 0.003"),
        (difference(0.004, -0.012, 0.021, 0.61), "no evidence of a difference (+0.4 [-1.2, 2.1], p = 0.61)"),
        (difference(-0.5, -0.6, -0.4, 1e-9), "-50.0 [-60.0, -40.0], p < 0.001"),
        (difference(-0.0001, -0.01, 0.0001, 0.9), "no evidence of a difference (+0.0 [-1.0, 0.0], p = 0.90)"),
        (difference(0.04, -0.001, 0.08, 0.04), "no evidence of a difference (+4.0 [-0.1, 8.0], p = 0.040)"),
        (difference(0.04, 0.001, 0.08, 0.06), "no evidence of a difference (+4.0 [0.1, 8.0], p = 0.060)"),
    ],
)
def test_in_words(found: Difference, words: str) -> None:
    assert found.describe() == str(found) == words


@pytest.mark.parametrize(
    ("p", "words"),
    [(0.0496, "p = 0.0496"), (0.04999, "p = 0.0499"), (0.0503, "p = 0.050"), (0.0009, "p < 0.001"), (1.0, "p = 1.00")],
)
def test_rounding_carries_no_p_over_the_level(p: float, words: str) -> None:
    assert format_p(p) == words


def test_adjust_corrects_only_the_p_values() -> None:
    found = [difference(0.1, 0.0, 0.2, p) for p in (0.01, 0.04, 0.03)]
    adjusted = adjust(found)
    assert [d.p_value for d in adjusted] == holm([0.01, 0.04, 0.03])
    assert [d.value for d in adjusted] == [0.1] * 3
    assert adjust([]) == []
