"""Shared by the trainer's tests: arguments, tokenised rows, and a model that must not be called."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset

from semantic_trainer import tokenize_facts
from semantic_trainer.training.training_args import SemanticTrainingArguments


@pytest.fixture
def options(tmp_path: Path) -> dict[str, object]:
    return {
        "output_dir": str(tmp_path / "out"),
        "per_device_train_batch_size": 2,
        "max_steps": 2,
        "learning_rate": 1e-3,
        "save_strategy": "no",
        "logging_steps": 1,
        "use_cpu": True,
        "disable_tqdm": True,
        "report_to": "none",
    }


@pytest.fixture
def arguments(options: dict[str, object]) -> Callable[..., SemanticTrainingArguments]:
    def make(**more: object) -> SemanticTrainingArguments:
        return SemanticTrainingArguments(**{"max_new_tokens": 12, "weighting": "paper", **options, **more})

    return make


@pytest.fixture
def tokens(facts: Dataset, tokenizer: object) -> Dataset:
    """`input_ids, attention_mask, labels, distance`, nothing else."""
    tokenized = tokenize_facts(facts, tokenizer).select_columns(["input_ids", "attention_mask", "labels"])
    return tokenized.add_column("distance", [0.0, 0.2, 0.5, 0.9, 1.3])


@pytest.fixture
def untouched(model: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """A model that fails the test when it is called."""

    def refuse(*args: object, **kwargs: object) -> None:
        pytest.fail("the model was called before the data was checked")

    monkeypatch.setattr(type(model), "forward", refuse)
    monkeypatch.setattr(type(model), "generate", refuse)
    return model
