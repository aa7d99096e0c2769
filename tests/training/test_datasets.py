"""Datasets of every kind: other facts in a used folder, formats, streams, answers of the user's own."""

import logging
from collections.abc import Callable

import pytest
import torch
from datasets import Dataset
from peft import PromptTuningConfig, get_peft_model

from semantic_trainer.answers.decoder import Decoder
from semantic_trainer.training.trainer import SemanticWeightedTrainer as Weighted


def test_other_facts_in_a_folder_without_checkpoints_are_prepared_again(
    model: torch.nn.Module,
    facts: Dataset,
    tokenizer: object,
    arguments: Callable,
    caplog: pytest.LogCaptureFixture,
) -> None:
    Weighted(model, arguments(), train_dataset=facts, processing_class=tokenizer)
    with caplog.at_level(logging.WARNING):
        again = Weighted(model, arguments(), train_dataset=facts.select([2, 1]), processing_class=tokenizer)
    assert "prepared from another facts: prepared again" in caplog.text
    assert again.train_dataset["prompt"][:] == facts.select([2, 1])["prompt"][:]


def test_a_torch_formatted_set_of_facts_trains(
    model: torch.nn.Module, facts: Dataset, tokenizer: object, arguments: Callable
) -> None:
    trainer = Weighted(
        model, arguments(max_steps=1), train_dataset=facts.with_format("torch"), processing_class=tokenizer
    )
    trainer.train()
    assert trainer.state.global_step == 1


def test_a_stream_with_distances_is_refused(model: torch.nn.Module, tokens: Dataset, arguments: Callable) -> None:
    with pytest.raises(ValueError, match=r"`train_dataset` is a IterableDataset.*datasets.Dataset"):
        Weighted(model, arguments(max_steps=1), train_dataset=tokens.to_iterable_dataset())


def test_a_list_of_rows_trains_with_its_own_weights(
    model: torch.nn.Module, tokens: Dataset, arguments: Callable
) -> None:
    rows = [{"input_ids": row["input_ids"], "labels": row["labels"], "weight": 2.0} for row in tokens]
    trainer = Weighted(
        model, arguments(max_steps=1, weighting="column", per_device_train_batch_size=1), train_dataset=rows
    )
    trainer.train()
    assert trainer.weighted


def test_the_users_own_answers_are_measured_not_asked_for_again(
    model: torch.nn.Module,
    facts: Dataset,
    tokenizer: object,
    arguments: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Decoder, "answer", lambda *args: pytest.fail("the model was asked"))
    own = facts.add_column("old_answer", facts["target"][:])
    trainer = Weighted(model, arguments(), train_dataset=own, processing_class=tokenizer)
    assert trainer.train_dataset["distance"][:] == [0.0] * len(facts)


def test_conflicting_facts_are_warned_of(
    model: torch.nn.Module, tokenizer: object, arguments: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"prompt": "A?", "target": "x", "distance": 0.1}, {"prompt": "A?", "target": "y", "distance": 0.2}]
    with caplog.at_level(logging.WARNING):
        Weighted(model, arguments(), train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    assert "one prompt, several targets: 2 (rows 0, 1)" in caplog.text


def test_prompt_tuning_gives_the_stock_loss(model: torch.nn.Module, tokens: Dataset, arguments: Callable) -> None:
    losses = []
    for options in ({"gamma": 0.0}, {"weighting": "none"}):
        torch.manual_seed(0)
        tuned = get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4))
        trainer = Weighted(tuned, arguments(max_steps=1, logging_steps=1, **options), train_dataset=tokens)
        losses.append(trainer.train().training_loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_facts_for_evaluation_alone_can_come_later(
    model: torch.nn.Module, facts: Dataset, tokenizer: object, arguments: Callable
) -> None:
    found = Weighted(model, arguments(), processing_class=tokenizer).evaluate(facts)
    assert found["eval_loss"] > 0


def test_a_kind_of_format_by_name(
    model: torch.nn.Module, facts: Dataset, tokenizer: object, arguments: Callable
) -> None:
    trainer = Weighted(
        model, arguments(), train_dataset=facts, processing_class=tokenizer, prompt_format="question_answer"
    )
    assert trainer.prompt_format.kind == "question_answer"
    with pytest.raises(TypeError, match="`prompt_format` must be a PromptFormat.*int was passed"):
        Weighted(model, arguments(), train_dataset=facts, processing_class=tokenizer, prompt_format=3)
