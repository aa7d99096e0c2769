"""Two gloo processes against this one process."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ..comparing import relative_error
from . import jobs

TOLERANCE = 1e-6


@pytest.fixture
def apart(two: list[dict]) -> Callable[[dict, str], float]:
    """The largest relative difference of any step's gradients, and of its logged loss, from two processes'."""

    def measure(one: dict, name: str) -> float:
        other = two[0][name]
        assert len(one["steps"]) == len(other["steps"])
        assert other["losses"] == pytest.approx(one["losses"], rel=TOLERANCE)
        return max(relative_error(a, b) for a, b in zip(one["steps"], other["steps"], strict=True))

    return measure


@pytest.mark.parametrize(("n", "steps"), jobs.GEOMETRIES)
def test_gradients_and_logged_losses_are_one_processs(n: int, steps: int, apart: Callable, tmp_path: Path) -> None:
    one = jobs.gradients(tmp_path, 1, n, steps)
    assert len(one["steps"]) == 2 * -(-n // (2 * steps))
    assert apart(one, f"gradients-{n}-{steps}") <= TOLERANCE


def test_fillers_count_nothing_whatever_the_collator_makes_of_them(apart: Callable, tmp_path: Path) -> None:
    assert apart(jobs.gradients(tmp_path, 1, 7, 2, jobs.LabelsFromIds()), "own collator") <= TOLERANCE


@pytest.mark.parametrize("batching", ["padded", "shared_prefix"])
def test_shared_prefix_rows_of_two_processes_are_one_processs(batching: str, apart: Callable, tmp_path: Path) -> None:
    assert apart(jobs.gradients(tmp_path, 1, 9, 2, batching=batching), "shared") <= TOLERANCE


def test_self_paced_weights_and_history_of_two_processes_are_one_processs(
    two: list[dict], apart: Callable, tmp_path: Path
) -> None:
    one = jobs.gradients(tmp_path, 1, 9, 2, batching="shared_prefix", weighting="self_paced")
    assert apart(one, "paced") <= TOLERANCE
    for results in two:
        for found, expected in zip(results["paced"]["history"], one["history"], strict=True):
            assert np.shape(found) == (2, 9)
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_trls_trainer_is_one_processs(two: list[dict], apart: Callable, tmp_path: Path) -> None:
    one = jobs.sft(tmp_path, 1)
    assert len(one["steps"]) == 6  # 11 rows: the last batch of an epoch is filled up
    assert apart(one, "sft") <= TOLERANCE
    assert len(set(one["weights"])) > 3
    for results in two:
        assert results["sft"]["weights"] == one["weights"]
        for step in (0, 1, 3, 4):  # in an epoch's last one TRL leaves out what accelerate takes for repeated rows
            assert results["sft"]["metrics"][step] == pytest.approx(one["metrics"][step], rel=1e-6)


def test_ddp_does_not_search_a_peft_model_for_unused_parameters(two: list[dict]) -> None:
    assert two[0]["gradients-7-1"]["searches"] is False


def test_answers_and_evaluation_tables_are_one_processs(two: list[dict], tmp_path: Path) -> None:
    one = jobs.evaluation(tmp_path, 1)
    for results in two:
        for part in ("old", "table", "summary"):
            assert results["evaluation"][part] == one[part]
    assert len({row["new_answer"] for row in one["table"]}) > 3


def test_the_trainers_own_preparation_is_one_processs(two: list[dict], tmp_path: Path) -> None:
    one = jobs.preparation(tmp_path, 1)
    assert one["first"] == one["second"]
    for results in two:
        assert results["preparation"] == one


def test_fewer_facts_than_processes_can_be_evaluated_but_not_trained_on(two: list[dict], tmp_path: Path) -> None:
    one = jobs.one_fact(tmp_path, 1)
    assert not one["said"]
    for results in two:
        assert results["one fact"]["summary"] == one["summary"]
        assert len(results["one fact"]["said"]) == 2
        for message in results["one fact"]["said"]:
            assert "`train_dataset` has 1 row for 2 processes" in message
            assert "torchrun --nproc_per_node 1" in message


def test_only_the_first_process_writes(two: list[dict], folder: Path) -> None:
    assert list((folder / "cache-0").rglob("chunk-*.jsonl"))
    assert not (folder / "cache-1").exists()
    assert not [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


def test_a_resumed_training_is_an_unbroken_one(two: list[dict]) -> None:
    for results in two:
        assert all(torch.equal(results["resumed"][name], weight) for name, weight in results["unbroken"].items())
    assert all(torch.equal(two[0]["resumed"][name], weight) for name, weight in two[1]["resumed"].items())


def test_gradients_of_sharded_parameters_are_one_processs(two: list[dict], tmp_path: Path) -> None:
    one = jobs.sharded(tmp_path, 1, 0)
    for results in two:
        assert results["sharded"]["kinds"] == {"DTensor"}
        assert relative_error(one["gradients"], results["sharded"]["gradients"]) <= TOLERANCE
    losses = [float(results["sharded"]["loss"]) for results in two]
    assert sum(losses) / 2 == pytest.approx(float(one["loss"]), rel=TOLERANCE)
