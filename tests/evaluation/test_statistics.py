"""Bootstrap against a slow reference, and averages over runs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from semantic_trainer.evaluation.statistics import average, bootstrap_interval, undefined

quick = settings(deadline=None, derandomize=True, max_examples=25)


def runs(*values: float | None, protocol: str = "strict") -> list[dict]:
    return [undefined(protocol) | {"value": value, "n": 100} for value in values]


def slow_bca(values: np.ndarray, resamples: int = 4_000) -> list[float]:
    """Efron's BCa as it is written: bias from the resampled means, acceleration from leaving out one at a time."""
    rng = np.random.default_rng(5)
    means = np.array([np.mean(rng.choice(values, len(values))) for _ in range(resamples)])
    below = (np.sum(means < values.mean()) + np.sum(means <= values.mean())) / (2 * resamples)
    bias = stats.norm.ppf(below)
    left_out = np.array([np.mean(np.delete(values, i)) for i in range(len(values))])
    away = left_out.mean() - left_out
    speed = np.sum(away**3) / (6 * np.sum(away**2) ** 1.5)
    levels = [stats.norm.cdf(bias + (bias + z) / (1 - speed * (bias + z))) for z in (-1.959964, 1.959964)]
    return np.quantile(means, levels).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_bootstrap_agrees_with_its_reference(seed: int) -> None:
    values = np.random.default_rng(seed).beta(0.5, 2, 40)
    low, high = bootstrap_interval(values)
    assert (low, high) == pytest.approx(slow_bca(values), abs=0.08 * (high - low))


@quick
@given(st.lists(st.sampled_from([0.0, 1 / 3, 2 / 3, 1.0]), min_size=1, max_size=20))
def test_bootstrap_holds_the_mean(values: list[float]) -> None:
    low, high = bootstrap_interval(values)
    assert min(values) - 1e-12 <= low <= np.mean(values) + 1e-12
    assert np.mean(values) - 1e-12 <= high <= max(values) + 1e-12


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [float("inf"), 1.0]])
def test_bootstrap_refuses_what_has_no_mean(values: list[float]) -> None:
    with pytest.raises(ValueError, match="`values`"):
        bootstrap_interval(values)


def test_average_by_hand() -> None:
    found = average(runs(0.5, 0.6, 0.7))
    reach = 4.302652729911275 * 0.1 / math.sqrt(3)
    assert found["value"] == pytest.approx(0.6)
    assert found["ci95"] == pytest.approx([0.6 - reach, 0.6 + reach])
    assert (found["n"], found["protocol"]) == (3, "strict")


@pytest.mark.parametrize("values", [(0.5,), (0.5, 0.5), (None, 0.5)])
def test_average_without_an_interval(values: tuple) -> None:
    found = average(runs(*values))
    assert (found["value"], found["ci95"]) == (0.5, None)
    assert found["n"] == sum(value is not None for value in values)


def test_average_of_nothing_defined_is_undefined() -> None:
    assert average(runs(None, None)) == undefined("strict")


def test_average_of_two_protocols_names_both() -> None:
    with pytest.raises(ValueError, match="'strict, 9 tokens' and 'strict, 32 tokens'.*Evaluate both alike"):
        average([*runs(0.5, protocol="strict, 9 tokens"), *runs(None, protocol="strict, 32 tokens")])


def test_average_of_no_score() -> None:
    with pytest.raises(ValueError, match="`scores` is empty"):
        average([])


def test_average_refuses_nan() -> None:
    with pytest.raises(ValueError, match="`scores` holds nan at 1"):
        average(runs(0.5, float("nan")))
