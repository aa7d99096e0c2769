"""Self-paced weights and the learning history in TRL's trainer are those of ours."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset

from semantic_trainer import (
    SemanticSFTConfig,
    SemanticTrainingArguments,
    SemanticWeightedSFTTrainer,
    SemanticWeightedTrainer,
)

from .stopping import Stop


@pytest.fixture
def make(model: torch.nn.Module, tokenizer: object, facts: Dataset, tmp_path: Path) -> Callable:
    """A trainer of seven facts, TRL's or ours, in the same tokens."""
    asked = [{"prompt": f"Who rules land {i}?", "target": facts["target"][i % 5]} for i in range(7)]
    rows = [{"prompt": f"Question: {f['prompt']}\nAnswer:", "completion": f" {f['target']}"} for f in asked]
    fixed = {"num_train_epochs": 3, "per_device_train_batch_size": 4, "learning_rate": 0.01, "save_strategy": "no"}
    fixed |= {"use_cpu": True, "disable_tqdm": True, "report_to": "none", "weighting": "self_paced", "seed": 3}
    fixed |= {"learning_history": True, "answer_batch_size": 3, "optim": "sgd", "bf16": False}

    def build(
        ours: bool, name: str = "out", stop: int | None = None, losses: list | None = None, **options: object
    ) -> object:
        options = {**fixed, **options}
        how = {"processing_class": tokenizer, "callbacks": [Stop(stop)]}
        if ours:
            args = SemanticTrainingArguments(str(tmp_path / name), prompt_format="question_answer", **options)
            return SemanticWeightedTrainer(copy.deepcopy(model), args, train_dataset=Dataset.from_list(asked), **how)
        args = SemanticSFTConfig(str(tmp_path / name), gradient_checkpointing=False, **options)
        taught = Dataset.from_list(rows)
        taught = taught if losses is None else taught.add_column("target_loss", losses)
        return SemanticWeightedSFTTrainer(copy.deepcopy(model), args, train_dataset=taught, **how)

    return build


def test_losses_weights_and_training_are_those_of_the_other_trainer(make: Callable, relative_error: Callable) -> None:
    trl, ours = make(False, "trl"), make(True, "ours")
    assert trl.train_dataset["input_ids"][:] == ours.train_dataset["input_ids"][:]
    trl.train()
    ours.train()
    assert trl.pacing.losses == pytest.approx(ours.pacing.losses, rel=1e-5)
    assert trl.history.losses == pytest.approx(ours.history.losses, rel=1e-5)
    assert trl.history.worst == pytest.approx(ours.history.worst, rel=1e-5)
    first, second = (dict(trainer.model.named_parameters()) for trainer in (trl, ours))
    assert relative_error(second, {name: first[name] for name in second}) <= 1e-6


def test_known_losses_are_where_the_first_weights_come_from(make: Callable) -> None:
    losses = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    trainer = make(False, losses=losses, max_steps=1)
    trainer.train()
    assert trainer.pacing.losses.tolist() == losses


def test_resumed_equals_unbroken(make: Callable) -> None:
    options = {"save_strategy": "steps", "save_steps": 1, "optim": "adamw_torch"}
    unbroken = make(False, "unbroken", **options)
    unbroken.train()
    make(False, "resumed", 3, **options).train()
    resumed = make(False, "resumed", **options)
    resumed.train(resume_from_checkpoint=True)
    assert np.array_equal(resumed.pacing.losses, unbroken.pacing.losses)
    assert np.array_equal(resumed.history.worst, unbroken.history.worst)


def test_nothing_is_measured_for_it(make: Callable) -> None:
    trainer = make(False)
    assert "distance" not in trainer.train_dataset.column_names
    assert trainer.prompt_format.kind == "cloze"  # it can still be asked
