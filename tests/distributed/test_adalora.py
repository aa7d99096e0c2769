"""AdaLoRA in two gloo processes against this one process; activation checkpointing there."""

from pathlib import Path

import pytest
import torch

from . import adalora_jobs
from .test_two_processes import TOLERANCE, relative_error


@pytest.mark.parametrize(("kind", "gamma"), adalora_jobs.CASES)
def test_penalty_and_pruning_are_one_processs(kind: type, gamma: float, two: list[dict], tmp_path: Path) -> None:
    one = adalora_jobs.gradients(tmp_path, 1, kind, gamma)
    for results in two:
        found = results[f"adalora-{kind.__name__}-{gamma}"]
        errors = [relative_error(a, b) for a, b in zip(one["steps"], found["steps"], strict=True)]
        assert len(errors) == 8
        assert max(errors) <= TOLERANCE
        assert all(torch.equal(found["left"][name], kept) for name, kept in one["left"].items())
    assert sum(int(kept.sum()) for kept in one["left"].values()) == 2 * len(one["left"])


def test_resumed_after_pruning_has_begun_is_an_unbroken_training(two: list[dict]) -> None:
    for results in two:
        unbroken, resumed = (results[f"adalora-resumed-{stop}"] for stop in (None, 3))
        assert unbroken.keys() == resumed.keys()
        assert all(torch.equal(resumed[name], weight) for name, weight in unbroken.items())
        assert all(torch.equal(two[0]["adalora-resumed-3"][name], weight) for name, weight in resumed.items())


def test_activation_checkpointing_changes_no_gradient_and_reentrant_is_refused_for_adalora(two: list[dict]) -> None:
    for results in two:
        found = results["checkpointed"]
        for case in ("SemanticWeightedTrainer lora", "SemanticWeightedSFTTrainer lora"):
            assert [relative_error(found[f"{case} None"][i], found[f"{case} True"][i]) for i in (0, 1)] == [0, 0]
        for case in ("SemanticWeightedTrainer adalora", "SemanticWeightedSFTTrainer adalora"):
            assert [relative_error(found[f"{case} None"][i], found[f"{case} False"][i]) for i in (0, 1)] == [0, 0]
            assert "use_reentrant=True cannot go with AdaLoRA in several processes" in found[f"{case} True"]
