"""Short, medium and long distances: shares, and differences that know which facts were taught together."""

import numpy as np
import pytest
from scipy import stats

from semantic_trainer.study.averages import EMPTY, pooled_difference
from semantic_trainer.study.bands_table import bands_table

from .synthetic import a_result, a_setting


def test_equal_numbers_of_facts_give_the_paired_test() -> None:
    a, b = np.repeat(np.random.default_rng(0).random((2, 8, 1)), 5, axis=2)  # runs differ, facts of a run do not
    found, reference = pooled_difference(a, b), stats.ttest_rel(b.mean(1), a.mean(1))
    assert found.value == pytest.approx((b - a).mean())
    assert found.p_value == pytest.approx(reference.pvalue)
    assert found.ci95 == pytest.approx(tuple(reference.confidence_interval()))


def test_facts_taught_alone_give_the_difference_of_two_shares() -> None:
    runs = 200
    a = [[float(i % 4 == 0)] if i < 120 else [] for i in range(runs)]
    b = [[] if i < 120 else [float(i % 2 == 0)] for i in range(runs)]
    found = pooled_difference(a, b)
    error = np.sqrt(0.25 * 0.75 / 120 + 0.5 * 0.5 / 80) * np.sqrt(runs / (runs - 1))
    assert found.value == pytest.approx(0.25)
    assert found.ci95[1] - found.value == pytest.approx(stats.t.ppf(0.975, runs - 1) * error)


def test_intervals_hold_what_they_promise() -> None:
    """Facts of one run vary together, and runs differ in how many facts of a band they have."""
    rng, inside = np.random.default_rng(1), 0
    for _ in range(400):
        level = rng.normal(0.5, 0.1, 12)
        sides = [
            [(rng.random(rng.integers(3, 15)) < chance + more).astype(float) for chance in level] for more in (0, 0.1)
        ]
        low, high = pooled_difference(*sides).ci95
        inside += low <= 0.1 <= high
    assert inside > 0.9 * 400


@pytest.mark.parametrize(("a", "b"), [([[1.0]], [[0.0]]), ([[], []], [[1.0], [0.0]]), ([], [])])
def test_too_little_gives_none(a: list, b: list) -> None:
    assert pooled_difference(a, b) is None


def test_no_variance_is_no_evidence_where_nothing_differs() -> None:
    assert pooled_difference([[1.0], [1.0]], [[1.0], [1.0]]).p_value == 1
    alike = pooled_difference([[0.0], [0.0]], [[1.0], [1.0]])
    assert (alike.value, alike.ci95, alike.p_value) == (1, None, 0.5)  # two runs are never evidence


def test_an_interval_is_no_shorter_than_that_of_independent_facts() -> None:
    right = np.arange(40) % 2 == 0
    found = pooled_difference([np.zeros(40)] * 5, [right, *[np.roll(right, 1)] * 3, [*right[:39], True]])
    least = stats.t.ppf(0.975, 4) * 0.5 / np.sqrt(200)
    assert found.ci95[1] - found.value == pytest.approx(least, rel=1e-3)


def test_every_band_of_every_arm_has_its_share() -> None:
    setting = a_setting(6, 40, 0.8, seed=3)
    table = bands_table({"zsre": {"plain": setting}})
    accuracy, deviation = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert [row["share"] for row in (accuracy, deviation)] == ["knowledge accuracy", "deviation"]
    assert accuracy["nearest"] == EMPTY  # none is that near
    for band, low, high in (("short", 0, 0.4), ("medium", 0.4, 0.7), ("long", 0.7, 9)):
        for row, metric in ((accuracy, "knowledge_accuracy"), (deviation, "deviation")):
            values = [
                value
                for result in setting
                for d, value in zip(result["rows"]["distance"], result["rows"][metric], strict=True)
                if low <= d < high
            ]
            assert row[band].startswith(f"{100 * np.mean(values):.1f} [")
            assert row[band].endswith(f"] of {len(values)}")
    assert accuracy["long, less medium"].startswith("-")


def test_a_band_of_few_facts_is_not_compared() -> None:
    runs = [a_result(run, np.array([0.5]), np.array([run % 3 == 0])) for run in range(60)]
    runs += [a_result(100 + run, np.array([0.9]), np.array([False])) for run in range(19)]
    columns = bands_table({"zsre": {"plain": runs}}).rows[0]
    assert columns[7].startswith("0.0 [")
    assert columns[10] == EMPTY
    runs.append(a_result(200, np.array([0.9]), np.array([False])))
    assert bands_table({"zsre": {"plain": runs}}).rows[0][10].startswith("-33.3 [")


def test_a_band_without_facts_is_empty() -> None:
    runs = [a_result(run, np.array([0.5, 0.6]), np.array([run % 2, 1])) for run in range(3)]
    for row in bands_table({"zsre": {"plain": runs}}).rows:
        assert row[4] == row[5] == row[7] == EMPTY
        assert row[8:] == (EMPTY,) * 3
