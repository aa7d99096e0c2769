"""Training a Houlsby adapter: stopping and going on gives what an unbroken run gives."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback

from semantic_trainer import SemanticTrainingArguments, SemanticWeightedTrainer


class StopAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs) -> None:
        control.should_training_stop |= state.global_step == self.step


@pytest.fixture
def train(tiny: Callable, houlsby: Callable, tmp_path: Path) -> Callable:
    """(adapter weights, log history) of ten steps, in one go or in two."""
    rng = torch.Generator().manual_seed(0)
    rows = [torch.randint(2, 61, (5 + i % 3,), generator=rng).tolist() for i in range(7)]
    data = Dataset.from_list(
        [{"input_ids": row, "labels": [-100] * 3 + row[3:], "distance": 0.2 * i} for i, row in enumerate(rows)]
    )

    def run(name: str, stop: int | None = None) -> tuple[dict, list[dict]]:
        def trainer(callbacks: list) -> SemanticWeightedTrainer:
            settings = {"max_steps": 10, "save_strategy": "steps", "save_steps": 5, "lr_scheduler_type": "cosine"}
            settings |= {"gradient_accumulation_steps": 2, "warmup_steps": 2, "gamma": 1.0, "learning_rate": 0.01}
            settings |= {"per_device_train_batch_size": 2, "use_cpu": True, "disable_tqdm": True, "logging_steps": 1}
            args = SemanticTrainingArguments(str(tmp_path / name), report_to="none", **settings)
            tuned = houlsby(tiny("llama"), dropout=0.2, init_std=0.05)
            return SemanticWeightedTrainer(tuned, args, train_dataset=data, callbacks=callbacks)

        current = trainer([StopAt(stop)] if stop else [])
        current.train()
        if stop:
            assert current.state.global_step == stop
            torch.manual_seed(99)  # another process starts from another state
            current = trainer([])
            current.train(resume_from_checkpoint=True)
        weights = {n: p.detach().clone() for n, p in current.model.named_parameters() if p.requires_grad}
        return weights, [entry for entry in current.state.log_history if "loss" in entry]

    return run


def test_resumed_equals_unbroken(train: Callable) -> None:
    unbroken, log = train("unbroken")
    resumed, resumed_log = train("resumed", stop=5)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)
    assert [entry["loss"] for entry in resumed_log] == [entry["loss"] for entry in log]
