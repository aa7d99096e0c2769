"""Shared-prefix rows and chunked logits in the trainer: the gradients of padded batches."""

import copy
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset

from semantic_trainer import PromptFormat
from semantic_trainer.training import trainer as trainer_module
from semantic_trainer.training.trainer import SemanticWeightedTrainer as Weighted

from ..architectures import EXACT, tiny
from .conftest import GradientRecorder

SHOTS = [("How many legs has a spider?", "Eight")]


@pytest.fixture
def measured(facts: Dataset) -> Dataset:
    """Nine facts of unequal lengths with distances."""
    rows = [{**facts[i % len(facts)], "distance": 0.13 * i} for i in range(9)]
    for i, row in enumerate(rows):
        row["prompt"], row["target"] = row["prompt"] + "?" * i, row["target"] + " und" * (i % 3)
    return Dataset.from_list(rows)


@pytest.fixture
def steps(arguments: Callable, tokenizer: object) -> Callable[..., list[dict[str, torch.Tensor]]]:
    """Gradients of the first two optimizer steps, and the trainer's inputs' names."""

    def train(model: torch.nn.Module, data: Dataset, **options: object) -> list[dict[str, torch.Tensor]]:
        recorder, form = GradientRecorder(), PromptFormat.question_answer(SHOTS)
        fixed = {"max_steps": 2, "max_grad_norm": 0.0, "learning_rate": 1e-3, "optim": "sgd", "gamma": 1.5}
        trainer = Weighted(
            copy.deepcopy(model),
            arguments(**{**fixed, **options}),
            train_dataset=data,
            processing_class=tokenizer,
            prompt_format=form,
            callbacks=[recorder],
        )
        names = set(next(iter(trainer.get_train_dataloader())))
        assert ("segment_ids" in names) == (options["batching"] == "shared_prefix")
        trainer.train()
        return recorder.steps

    return train


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize(("size", "accumulation"), [(9, 1), (2, 2)])
def test_shared_prefix_rows_give_the_gradients_of_padded_ones(
    name: str, size: int, accumulation: int, measured: Dataset, tokenizer: object, steps: Callable, relative_error
) -> None:
    model = tiny(name, len(tokenizer))
    geometry = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulation}
    padded = steps(model, measured, batching="padded", **geometry)
    shared = steps(model, measured, batching="shared_prefix", **geometry)
    assert len(padded) == len(shared) == 2
    for expected, found in zip(padded, shared, strict=True):
        assert relative_error(expected, found) <= 1e-6


def test_a_step_split_into_rows_holds_the_same_facts(
    measured: Dataset, tokenizer: object, steps: Callable, relative_error, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("Llama", len(tokenizer))
    one = steps(model, measured, batching="shared_prefix", per_device_train_batch_size=9)
    rows = []
    lay_out = trainer_module.model_inputs
    monkeypatch.setattr(
        trainer_module, "model_inputs", lambda batch, m: rows.append(len(batch["segment_ids"])) or lay_out(batch, m)
    )
    monkeypatch.setattr(trainer_module.SharedPrefixCollator, "__init__", _short_rows)
    several = steps(model, measured, batching="shared_prefix", per_device_train_batch_size=9)
    assert min(rows) >= 2
    for expected, found in zip(one, several, strict=True):
        assert relative_error(expected, found) <= 1e-6


def _short_rows(self: object, pad_token_id: int) -> None:
    self.pad_token_id, self.row_tokens = pad_token_id, 90


@pytest.mark.parametrize("batching", ["padded", "shared_prefix"])
def test_logits_in_chunks_give_the_same_gradients(
    batching: str, measured: Dataset, tokenizer: object, steps: Callable, relative_error, monkeypatch, caplog
) -> None:
    model = tiny("Llama", len(tokenizer))
    whole = steps(model, measured, batching=batching, per_device_train_batch_size=9)
    monkeypatch.setattr(trainer_module, "LOGITS_AT_ONCE", 100)
    with caplog.at_level(logging.INFO):
        chunks = steps(model, measured, batching=batching, per_device_train_batch_size=9)
    assert "logits: in chunks" in caplog.text
    for expected, found in zip(whole, chunks, strict=True):
        assert relative_error(expected, found) <= 1e-6


def test_what_is_padded_says_why(
    measured: Dataset, tokenizer: object, arguments: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def collates(model: torch.nn.Module, **options: object) -> set[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            trainer = Weighted(model, arguments(**options), train_dataset=measured, processing_class=tokenizer)
        return set(next(iter(trainer.get_train_dataloader())))

    assert "segment_ids" not in collates(tiny("Bloom", len(tokenizer)))
    assert "batching: padded, since BloomForCausalLM takes no position_ids" in caplog.text
    short = tiny("Mistral", len(tokenizer))
    short.config.sliding_window = 16
    assert "segment_ids" not in collates(short)
    assert "its sliding_window is 16, shorter than the longest fact" in caplog.text
    assert "segment_ids" not in collates(tiny("Llama", len(tokenizer)), batching="padded")
    assert "segment_ids" not in collates(tiny("Llama", len(tokenizer)), gamma=0.0)
    assert "segment_ids" in collates(tiny("Llama", len(tokenizer)))
    noisy = tiny("GPT2", len(tokenizer))
    noisy.transformer.drop.p = 0.1
    assert "segment_ids" in collates(noisy)
    assert "share the dropout of their common head" in caplog.text
    with pytest.raises(ValueError, match="`batching` 'shared' is unknown"):
        arguments(batching="shared")
