"""At true equality no test cries wolf more often than it says, and intervals cover; the benchmark draws the data."""

import importlib.util
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from semantic_trainer.evaluation.comparison import paired_facts
from semantic_trainer.evaluation.significance import paired_interval
from semantic_trainer.evaluation.statistics import score

SHORT, LONG = 100, 1_000


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    """benchmarks/type_one_error.py."""
    path = Path(__file__).parents[2] / "benchmarks" / "type_one_error.py"
    spec = importlib.util.spec_from_file_location("type_one_error", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A permutation test by chance holds its level with any number of them."""
    monkeypatch.setattr("semantic_trainer.evaluation.statistics.RESAMPLES", 200)


def most(share: float, simulations: int) -> float:
    """What a true share of 5 % (or so) stays below in 999 of 1000 simulations of that length."""
    return share + 3.1 * math.sqrt(share * (1 - share) / simulations)


DESIGNS = [
    ("facts_p", {"kind": "rows", "n": 60, "base": 0.5}),
    ("facts_p", {"kind": "means", "n": 40, "base": 0.5}),
    ("facts_p", {"kind": "means", "n": 40, "base": 0.9}),
    ("runs_p", {"n": 5, "test": "t"}),
    ("runs_p", {"n": 10, "test": "sign_flip"}),
    ("family_p", {"n": 40}),
]


@pytest.mark.parametrize(("p_value", "design"), DESIGNS, ids=str)
def test_false_alarms(p_value: str, design: dict, simulation: ModuleType) -> None:
    share = simulation.false_alarms(SHORT, getattr(simulation, p_value), **design)
    assert share <= most(0.05, SHORT)


@pytest.mark.slow
@pytest.mark.parametrize(("p_value", "design"), DESIGNS, ids=str)
def test_false_alarms_at_length(p_value: str, design: dict, simulation: ModuleType) -> None:
    share = simulation.false_alarms(LONG, getattr(simulation, p_value), **design)
    assert share <= most(0.05, LONG)


def test_a_true_difference_is_found(simulation: ModuleType) -> None:
    """A test that never rejects would pass every other test here."""
    rng, found = np.random.default_rng(0), 0
    for kind in ("rows", "means"):
        for _ in range(20):
            found += paired_facts(*simulation.draw_facts(rng, kind, 400, 0.5, shift=0.25), "", "").evident
    assert found >= 36


def test_single_answers_are_no_unit(simulation: ModuleType) -> None:
    """The clusters of the simulation are such that ignoring them is caught."""
    assert simulation.false_alarms(400, simulation.pooled_p, n=100) > 0.06


def of_a_difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    return paired_interval(b.mean(1) - a.mean(1))


def of_a_mean(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    return tuple(score(a, "")["ci95"])


COVERED = [
    (of_a_difference, {"kind": "rows", "n": 30, "base": 0.1, "shift": 0.1}),
    (of_a_difference, {"kind": "rows", "n": 100, "base": 0.5, "shift": 0.0}),
    (of_a_difference, {"kind": "means", "n": 30, "base": 0.9, "shift": 0.1}),
    (of_a_mean, {"kind": "rows", "n": 30, "base": 0.5}),
    (of_a_mean, {"kind": "means", "n": 100, "base": 0.5}),
    (of_a_mean, {"kind": "means", "n": 100, "base": 0.9}),
]


def covers(method: Callable, design: dict, simulation: ModuleType, simulations: int) -> float:
    shift = design.get("shift")
    truth = design["base"] if shift is None else simulation.true_difference(design["base"], shift)
    draw = partial(simulation.draw_facts, **design)
    return simulation.coverage(draw, truth, {"used": method}, simulations)["used"]


@pytest.mark.parametrize(("method", "design"), COVERED, ids=lambda value: getattr(value, "__name__", str(value)))
def test_coverage(method: Callable, design: dict, simulation: ModuleType) -> None:
    assert 1 - covers(method, design, simulation, SHORT) <= most(0.06, SHORT)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "design"), COVERED, ids=lambda value: getattr(value, "__name__", str(value)))
def test_coverage_at_length(method: Callable, design: dict, simulation: ModuleType) -> None:
    assert 1 - covers(method, design, simulation, LONG) <= most(0.06, LONG)


def test_the_true_difference_of_the_simulation(simulation: ModuleType) -> None:
    a, b = simulation.draw_facts(np.random.default_rng(0), "means", 400_000, 0.9, shift=0.1)
    assert b.mean() - a.mean() == pytest.approx(simulation.true_difference(0.9, 0.1), abs=2e-3)
