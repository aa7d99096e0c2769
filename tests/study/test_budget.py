"""The search for a setting, on results whose best one is known."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_trainer.facts.sets import FactsArguments
from semantic_trainer.study.arms import Arm
from semantic_trainer.study.budget import (
    CONFIRMING,
    CURVE,
    MOST_STEPS,
    RUNS,
    Budget,
    Candidate,
    candidates,
    finalists,
    planned_epochs,
    reachable,
    schedule,
    search,
)
from semantic_trainer.study.budget_runs import BudgetRuns, _read_costs
from semantic_trainer.study.results import write_result
from semantic_trainer.study.settings import Setting
from semantic_trainer.training.training_args import SemanticTrainingArguments
from semantic_trainer.tuners.arguments import ModelArguments


class Made:
    """Results of a landscape with one best learning rate; every run that is asked for is counted once.

    Args:
        best: the best learning rate.
        diverges: learning rates from which on training diverges.
        gain: what weights add to accuracy.
        weighted: the weighted arm's best learning rate, where it is another.
    """

    def __init__(
        self, best: float, diverges: float = np.inf, gain: float = 0.0, noise: float = 0.0, weighted: float = 0.0
    ) -> None:
        self.best, self.diverges, self.gain, self.noise, self.weighted = best, diverges, gain, noise, weighted or best
        self.made: set[tuple[str, int]] = set()
        self.epochs = 0.0

    def __call__(self, arms: Sequence[Arm], n: int) -> dict[str, list[dict]]:
        return {arm.name: [self.result(arm, run) for run in range(n)] for arm in arms}

    def result(self, arm: Arm, run: int) -> dict:
        rate, epochs = arm.training["learning_rate"], arm.training["num_train_epochs"]
        if (arm.name, run) not in self.made:
            self.made.add((arm.name, run))
            self.epochs += epochs
        result = {"draw": {"group": "all", "run": run}, "environment": {"seconds": {"training": epochs}}}
        result["config"] = {"protocol": "multi"}
        result["training"] = {"loss": abs(np.log2(rate / self.best))}
        if rate >= self.diverges:
            return result | {"diverged": "not finite", "scores": {}}
        best = self.best if arm.base == "plain" else self.weighted
        off = abs(np.log2(rate / best)) + (0.2 if arm.training["per_device_train_batch_size"] == 5 else 0)
        value = 0.9 - 0.2 * off + (self.gain if arm.base != "plain" else 0.0)
        value += self.noise * np.random.default_rng([run, int(1e6 * rate)]).normal()
        value = float(np.clip(value, 0, 1))
        scores = {m: {"value": value, "ci95": None, "n": 10, "protocol": "made"} for m in ("knowledge_accuracy",)}
        scores |= {m: {"value": 0.5, "ci95": None, "n": 10, "protocol": "made"} for m in ("generality", "locality")}
        return result | {"scores": scores}


def grid(*rates: float) -> list[Candidate]:
    return candidates(rates, (5, 10), (8,), {(5, 8): 4, (10, 8): 4})


def test_the_best_is_found_and_what_is_expected_comes_from_fresh_draws() -> None:
    measure = Made(4e-3, noise=0.02)
    found = search(grid(1e-3, 2e-3, 4e-3, 8e-3), measure)
    assert (found.best.learning_rate, found.best.batch_size) == (4e-3, 10)
    fresh = [measure.result(found.best.arm(), run) for run in range(RUNS, RUNS + CONFIRMING)]
    values = [result["scores"]["knowledge_accuracy"]["value"] for result in fresh]
    assert found.expected["plain"]["knowledge_accuracy"]["value"] == pytest.approx(np.mean(values))
    assert found.trials[0]["learning_rate"] == 4e-3
    assert found.trials[0]["runs"] == RUNS
    assert [row["epochs"] for row in found.curve] == [2, 4, 8]
    assert found.weighted_best is None
    assert found.difference == {}


@pytest.mark.parametrize("best", [2.5e-4, 16e-3])
def test_the_search_goes_past_the_ends_of_its_learning_rates(best: float) -> None:
    assert search(grid(1e-3, 2e-3, 4e-3), Made(best)).best.learning_rate == best


def test_where_nothing_is_learnt_the_loss_shows_the_way() -> None:
    assert search(grid(1e-5, 2e-5), Made(4e-3)).best.learning_rate == 2e-5 * 2**MOST_STEPS


def test_a_rate_at_which_training_diverges_is_never_the_best() -> None:
    found = search(grid(1e-3, 2e-3, 4e-3, 8e-3), Made(8e-3, diverges=3e-3))
    assert found.best.learning_rate == 2e-3
    worst = next(row for row in found.trials if row["learning_rate"] == 4e-3)
    assert worst["knowledge_accuracy"]["value"] == 0.0


def test_weights_are_compared_at_their_own_best_on_the_same_draws() -> None:
    found = search(grid(1e-3, 2e-3, 4e-3), Made(2e-3, gain=0.05, noise=0.01), "paper")
    assert found.difference["knowledge_accuracy"].value == pytest.approx(0.05)
    assert found.difference["knowledge_accuracy"].n == CONFIRMING
    assert set(found.expected) == {"plain", "paper"}
    assert {row["arm"] for row in found.curve} == {"plain", "paper"}


def test_the_weighted_arm_has_settings_to_choose_from() -> None:
    measure = Made(2e-3, weighted=1e-3)
    found = search(grid(1e-3, 2e-3, 4e-3, 8e-3), measure, "paper")  # eight settings: three, then one
    assert (found.best.learning_rate, found.weighted_best.learning_rate) == (2e-3, 1e-3)
    assert sum(row["arm"] == "paper" for row in found.trials) == 3
    assert {row["runs"] for row in found.trials if row["arm"] == "paper"} == {2}
    runs = [run for name, run in measure.made if name == found.weighted_best.arm("paper").name]
    assert len(runs) == RUNS + CONFIRMING


@pytest.mark.parametrize(("n", "found"), [(1, (1, 1)), (3, (3, 1)), (4, (2, 2)), (8, (3, 2)), (12, (2, 4))])
def test_the_weighted_arm_is_tried_at_the_last_round_that_had_several(n: int, found: tuple[int, int]) -> None:
    assert finalists(n) == found


@given(st.integers(1, 60), st.integers(1, 9))
def test_a_third_stays_and_the_last_round_has_all_runs(n: int, runs: int) -> None:
    rounds = schedule(n, runs)
    assert rounds[0] == (n, 1)
    assert all(after == -(-before // 3) for (before, _), (after, _) in zip(rounds, rounds[1:], strict=False))
    assert rounds[-1][0] == 1 or rounds[-1][1] == runs


@pytest.mark.parametrize(("n", "weighted"), product((1, 2, 3), (False, True)))
def test_the_plan_of_a_small_grid_counts_what_the_search_makes(
    n: int, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semantic_trainer.study.budget.MOST_STEPS", 0)
    measure = Made(2e-3)
    search([Candidate(rate, 10, 4, 8, 16) for rate in (1e-3, 2e-3, 4e-3)[:n]], measure, "paper" if weighted else None)
    assert planned_epochs(n, weighted, CURVE) == (len(measure.made), measure.epochs / 4)


@given(st.lists(st.sampled_from([1e-3, 2e-3, 4e-3, 8e-3]), min_size=3, max_size=4, unique=True), st.booleans())
def test_the_plan_counts_what_the_search_makes(rates: list[float], weighted: bool) -> None:
    rates = sorted(rates)
    measure = Made(rates[1])  # no end: no further learning rates
    search(grid(*rates), measure, "paper" if weighted else None)
    assert planned_epochs(2 * len(rates), weighted, CURVE) == (len(measure.made), measure.epochs / 4)


@given(st.sampled_from([2.5e-4, 2e-3, 0.3]), st.booleans())
def test_a_search_comes_to_no_other_arm_than_the_reachable_ones(best: float, weighted: bool) -> None:
    measure, weighting = Made(best), "paper" if weighted else None
    search(grid(1e-3, 2e-3), measure, weighting)
    assert {name for name, _ in measure.made} <= {arm.name for arm in reachable(grid(1e-3, 2e-3), weighting)}


def test_only_runs_that_the_search_would_use_are_there_already(tmp_path: Path) -> None:
    facts, model = FactsArguments(["builtin:invented"]), ModelArguments()
    training = SemanticTrainingArguments("out", use_cpu=True, num_train_epochs=4)
    setting = Setting("budget", facts, model, training, (), size=10)
    search_runs, arm = BudgetRuns(setting, tmp_path), grid(1e-3)[0].arm()
    for unit in search_runs.study([arm], 2).units():
        parts = {"config": unit.config, "draw": {}, "scores": {}, "environment": {}, "rows": {}}
        write_result(unit.path(tmp_path), parts)
    arms = reachable(grid(1e-3), None)
    assert search_runs.made(arms) == 2
    assert search_runs.made(reachable(grid(3e-3), None)) == 0
    for other in (replace(setting, size=20), replace(setting, facts=FactsArguments(["builtin:counterfactual"]))):
        assert BudgetRuns(other, tmp_path).made(arms) == 0
    assert BudgetRuns(setting, tmp_path, threads=2).made(arms) == 0


def test_one_candidate_is_measured_and_expected() -> None:
    found = search([Candidate(2e-3, 10, 4, 8, 16)], Made(2e-3))
    assert isinstance(found, Budget)
    assert found.best.options == {
        "learning_rate": 2e-3,
        "per_device_train_batch_size": 10,
        "num_train_epochs": 4,
        "lora_r": 8,
        "lora_alpha": 16,
    }


@pytest.mark.parametrize("torn", [None, "{", "[]", '{"10-8": 3}', '{"10-8": {"training": "x", "decoding": 1}}'])
def test_costs_that_cannot_be_read_are_timed_again(torn: str | None, tmp_path: Path) -> None:
    path = tmp_path / "probe.json"
    if torn is not None:
        path.write_text(torn)
    assert _read_costs(path) == {}
    path.write_text('{"10-8": {"training": 0.5, "decoding": 1}}')
    assert _read_costs(path) == {"10-8": {"training": 0.5, "decoding": 1.0}}


def test_alpha_stays_in_proportion_to_the_rank() -> None:
    found = candidates((1e-3,), (10,), (8, 32), {(10, 8): 4, (10, 32): 4}, alpha_to_rank=2.0)
    assert [(c.rank, c.alpha) for c in found] == [(8, 16), (32, 64)]
    assert candidates((1e-3,), (10,), (None,), {(10, None): 4})[0].arm().model == {}
