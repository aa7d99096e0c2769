"""Stopping and going on gives what an unbroken run gives."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback

from semantic_trainer.training.trainer import SemanticWeightedTrainer


class StopAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs) -> None:
        control.should_training_stop |= state.global_step == self.step


@pytest.fixture
def runs(model: torch.nn.Module, rows: Callable, arguments: Callable, lora: Callable, tmp_path: Path) -> Callable:
    """(weights, log history) of ten steps, in one go or in two."""
    data: Dataset = rows(7)

    def run(name: str, stop: int | None, norm: float = 5.0) -> tuple[dict, list[dict]]:
        def trainer(callbacks: list) -> SemanticWeightedTrainer:
            args = arguments(
                output_dir=str(tmp_path / name),
                gamma=1.0,
                max_steps=10,
                gradient_accumulation_steps=2,
                save_strategy="steps",
                save_steps=5,
                warmup_steps=2,
                max_grad_norm=norm,
                lr_scheduler_type="cosine",
            )
            tuned = lora(copy.deepcopy(model), dropout=0.1)
            return SemanticWeightedTrainer(tuned, args, train_dataset=data, callbacks=callbacks)

        current = trainer([StopAt(stop)] if stop else [])
        current.train()
        if stop:
            assert current.state.global_step == stop
            torch.manual_seed(99)  # another process starts from another state
            current = trainer([])
            current.train(resume_from_checkpoint=True)
        assert current.state.global_step == 10
        weights = {name: p.detach().clone() for name, p in current.model.named_parameters() if p.requires_grad}
        return weights, [entry for entry in current.state.log_history if "loss" in entry]

    return run


def test_resumed_equals_unbroken(runs: Callable) -> None:
    unbroken, log = runs("unbroken", None)
    resumed, resumed_log = runs("resumed", 5)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)
    assert [entry["loss"] for entry in resumed_log] == [entry["loss"] for entry in log]
    assert [entry["grad_norm"] for entry in resumed_log] == [entry["grad_norm"] for entry in log]


def test_weight_statistics_are_logged_once_over_a_resume(runs: Callable) -> None:
    _, log = runs("resumed", 5)
    assert sum("weight/mean" in entry for entry in log) == 1


def test_clipped_share_survives_a_resume(runs: Callable) -> None:
    _, log = runs("first", None)
    norm = sorted(entry["grad_norm"] for entry in log)[5]  # clips about half the steps
    _, log = runs("unbroken", None, norm)
    _, resumed_log = runs("resumed", 5, norm)
    assert 0 < log[-1]["clipped_steps"] < 1
    assert resumed_log[-1]["clipped_steps"] == pytest.approx(log[-1]["clipped_steps"])
