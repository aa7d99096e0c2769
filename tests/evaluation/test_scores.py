"""Scores of single answers and their intervals."""

import math

import numpy as np
import pytest

from semantic_trainer.evaluation.scores import bad_cases, deviates, relative_deviation, strict
from semantic_trainer.evaluation.statistics import bootstrap_interval, mean_score, score, wilson_interval


@pytest.mark.parametrize(
    ("answer", "target", "aliases", "expected"),
    [
        ("Rome", "Rome", (), True),
        (' "Rome".', "Rome", (), True),
        ("\nRome\nIt is old.", "Rome", (), True),
        ("rome", "Rome", (), False),
        ("It is Rome", "Rome", (), False),
        ("", "Rome", (), False),
        ("NYC", "New York", ("NYC", "Big Apple"), True),
        ("«Big Apple».", "New York", ("NYC", " Big Apple. "), True),
        ("Washington D.C.", "Washington D.C", (), True),
        ("O'Hare'", "O'Hare", (), False),
    ],
)
def test_strict(answer: str, target: str, aliases: tuple[str, ...], expected: bool) -> None:
    assert strict(answer, target, aliases) is expected


def test_deviates_needs_more_than_the_tolerance() -> None:
    old = np.array([0.5, 0.5, 0.5, 0.5, 0.0])
    new = np.array([0.5, 0.5 + 5e-7, 0.5 + 2e-6, 0.4, 0.1])
    assert deviates(new, old).tolist() == [False, False, True, False, True]


def test_bad_cases() -> None:
    correct, new = np.array([True, True, False, False]), np.array([0.0, 0.3, 0.0, 0.3])
    assert bad_cases(correct, new).tolist() == [False, True, True, True]


def test_every_deviating_case_is_a_bad_case() -> None:
    rng = np.random.default_rng(0)
    new, old, correct = rng.choice([0.0, 5e-7, 2e-6, 0.5], 200), rng.choice([0.0, 0.4], 200), rng.random(200) < 0.5
    assert not (deviates(new, old) & ~bad_cases(correct, new)).any()


def test_relative_deviation() -> None:
    found = relative_deviation([0.6, 0.2, 0.4, 0.3, 0.0, 0.3], [0.4, 0.4, 0.4, 0.0, 0.0, 5e-7])
    np.testing.assert_allclose(found, [0.5, -0.5, 0.0, np.nan, np.nan, np.nan], atol=1e-12)


@pytest.mark.parametrize(("k", "n"), [(5, 10), (0, 10), (10, 10), (37, 64)])
def test_wilson_by_hand(k: int, n: int) -> None:
    z, p = 1.959963984540054, k / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    spread = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert wilson_interval(k, n) == pytest.approx((middle - spread, middle + spread), abs=1e-12)


def test_wilson_of_five_in_ten() -> None:
    assert wilson_interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_wilson_of_nothing() -> None:
    with pytest.raises(ValueError, match="`n` must be above 0, but 0"):
        wilson_interval(0, 0)


def test_bootstrap_is_seeded() -> None:
    values = np.random.default_rng(0).random(20)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_bootstrap_covers() -> None:
    rng, hits = np.random.default_rng(7), 0
    for i in range(40):
        low, high = bootstrap_interval(rng.normal(0.3, 1.0, 40), seed=i)
        hits += low <= 0.3 <= high
    assert 33 <= hits <= 40


@pytest.mark.parametrize("values", [[0.4], [0.4, 0.4, 0.4]])
def test_bootstrap_of_equal_values_is_a_point(values: list[float]) -> None:
    assert bootstrap_interval(values) == pytest.approx((0.4, 0.4))


def test_score_is_a_mean_per_fact_then_over_facts() -> None:
    found = score([[1, 1, 1, 0], [0], []], "p")
    assert found["value"] == pytest.approx((0.75 + 0.0) / 2)
    assert (found["n"], found["protocol"]) == (2, "p")
    assert found["ci95"][0] <= found["value"] <= found["ci95"][1]


def test_score_uses_wilson_where_a_fact_gives_one_row() -> None:
    assert score([[1], [0], [True], []], "p")["ci95"] == pytest.approx(list(wilson_interval(2, 3)))


def test_equal_scores_have_wilsons_interval_or_none() -> None:
    middle = score([[1, 0], [0, 1], [0.5]], "p")["ci95"]
    assert middle == pytest.approx([0.5 - (0.5 - middle[0]), 0.5 + (0.5 - middle[0])])  # around a half
    assert middle == pytest.approx(list(wilson_interval(1.5, 3)))
    assert score([[1.6]], "p")["ci95"] is None  # no proportion
    assert score([[-1.0], [-1.0]], "p")["ci95"] is None
    assert mean_score([0.0, 0.0, 0.0], "p")["ci95"] is None


def test_score_of_nothing_is_null() -> None:
    expected = {"value": None, "ci95": None, "n": 0, "protocol": "p"}
    assert score([[], []], "p") == score([], "p") == mean_score([], "p") == expected


def test_mean_score() -> None:
    found = mean_score([0.5, 1.5, 4.0], "p")
    assert found["value"] == pytest.approx(2.0)
    assert found["n"] == 3
    assert found["ci95"][0] < 2.0 < found["ci95"][1]
