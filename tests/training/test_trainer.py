"""SemanticWeightedTrainer as a user's script meets it."""

import copy
import logging
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import (
    DataCollatorForSeq2Seq,
    DataCollatorWithFlattening,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from semantic_trainer.training.checks import check_whole_rows
from semantic_trainer.training.data_collator import FactCollator
from semantic_trainer.training.trainer import SemanticWeightedTrainer as Weighted


def test_an_untouched_script_with_the_class_name_swapped_runs(
    model: torch.nn.Module, tokens: Dataset, tokenizer: object, options: dict
) -> None:
    data = tokens.remove_columns("distance")
    results = []
    for kind in (Trainer, Weighted):
        trainer = kind(
            model=copy.deepcopy(model),
            args=TrainingArguments(**options, gradient_accumulation_steps=2),
            data_collator=DataCollatorForSeq2Seq(tokenizer),
            train_dataset=data,
            eval_dataset=data,
            processing_class=tokenizer,
        )
        trainer.train()
        results.append((trainer.state.log_history[0]["loss"], trainer.evaluate()["eval_loss"]))
    assert results[0] == results[1]


def test_own_collator_that_tokenises_texts(model: torch.nn.Module, tokenizer: object, options: dict) -> None:
    def collate(rows: list[dict]) -> dict:
        batch = tokenizer([row["text"] for row in rows], return_tensors="pt", padding=True)
        return {"input_ids": batch["input_ids"], "labels": batch["input_ids"].clone()}

    data = Dataset.from_dict({"text": ["Paris", "Rome is"]})
    args = TrainingArguments(**options, remove_unused_columns=False)
    assert Weighted(model, args, collate, train_dataset=data).train().training_loss > 0


@pytest.mark.parametrize("kind", ["list", "iterable"])
def test_other_kinds_of_dataset_run(kind: str, model: torch.nn.Module, tokens: Dataset, options: dict) -> None:
    data = tokens.remove_columns("distance")
    data = data.to_list() if kind == "list" else data.to_iterable_dataset()
    trainer = Weighted(model, TrainingArguments(**options), FactCollator(), train_dataset=data)
    assert trainer.train().global_step == 2


def test_a_weighted_run_with_another_collator_and_unused_columns_kept(
    model: torch.nn.Module, tokens: Dataset, tokenizer: object, arguments: Callable
) -> None:
    losses = []
    for collator, keep in ((None, False), (DataCollatorForSeq2Seq(tokenizer), False), (None, True)):
        data = tokens.add_column("note", ["text"] * 5) if keep else tokens
        args = arguments(gamma=1.0, remove_unused_columns=not keep)
        trainer = Weighted(copy.deepcopy(model), args, collator, train_dataset=data, processing_class=tokenizer)
        trainer.train()
        losses.append(trainer.state.log_history[0]["loss"])
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)


def test_a_classification_script_runs(options: dict) -> None:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    small = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    model = LlamaForSequenceClassification(LlamaConfig(**small, num_attention_heads=2, pad_token_id=0, num_labels=2))
    data = Dataset.from_dict({"input_ids": [[5, 6], [7, 8]], "labels": [0, 1]})
    stock = Trainer(copy.deepcopy(model), TrainingArguments(**options), train_dataset=data).train()
    ours = Weighted(model, TrainingArguments(**options), train_dataset=data).train()
    assert ours.training_loss == stock.training_loss


def test_compute_loss_func_is_refused(model: torch.nn.Module, tokens: Dataset, arguments: Callable) -> None:
    with pytest.raises(ValueError, match=r"`compute_loss_func` would replace.*Leave it out"):
        Weighted(model, arguments(), train_dataset=tokens, compute_loss_func=lambda outputs, labels, **_: outputs.loss)


def test_a_batch_without_weight_is_an_error(
    model: torch.nn.Module, tokens: Dataset, arguments: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Weighted(model, arguments(gamma=1.0), train_dataset=tokens)
    monkeypatch.setattr(trainer, "train_dataset", trainer.train_dataset.remove_columns("weight"))
    with pytest.raises(ValueError, match=r"no `weight`.*get_train_dataloader"):
        trainer.train()


def test_the_weight_never_reaches_the_model(
    model: torch.nn.Module, tokens: Dataset, arguments: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, forward = [], type(model).forward

    def spy(self: torch.nn.Module, *args: object, **kwargs: object) -> object:
        seen.append(set(kwargs))
        return forward(self, *args, **kwargs)

    spy.__signature__ = __import__("inspect").signature(forward)
    monkeypatch.setattr(type(model), "forward", spy)
    trainer = Weighted(model, arguments(gamma=1.0), train_dataset=tokens, eval_dataset=tokens)
    trainer.train()
    trainer.evaluate(trainer.train_dataset)  # with the column `weight`
    assert seen
    assert all("weight" not in names and "distance" not in names for names in seen)


def test_unweighted_evaluation_loss_is_the_stock_trainers(
    model: torch.nn.Module, tokens: Dataset, arguments: Callable
) -> None:
    ours = Weighted(model, arguments(gamma=5.0), train_dataset=tokens, eval_dataset=tokens)
    stock = Trainer(model, arguments(), FactCollator(), eval_dataset=tokens)
    expected = stock.evaluate()["eval_loss"]
    assert ours.evaluate()["eval_loss"] == expected
    assert ours.evaluate(ours.train_dataset)["eval_loss"] == expected


def test_training_rows_of_facts_are_evaluated_as_the_stock_trainer_does(
    model: torch.nn.Module, facts: Dataset, tokenizer: object, arguments: Callable
) -> None:
    ours = Weighted(model, arguments(weighting="self_paced"), train_dataset=facts, processing_class=tokenizer)
    assert {"weight", "example_number"} <= set(ours.train_dataset.column_names)
    rows = ours.train_dataset.select_columns(["input_ids", "labels"])
    expected = Trainer(model, arguments(), FactCollator(), eval_dataset=rows).evaluate()["eval_loss"]
    assert ours.evaluate(ours.train_dataset)["eval_loss"] == expected
    assert ours.predict(ours.train_dataset).metrics["test_loss"] == expected


def test_several_evaluation_sets_metrics_predictions_and_callbacks(
    model: torch.nn.Module, facts: Dataset, tokens: Dataset, tokenizer: object, arguments: Callable
) -> None:
    called, shapes = [], []

    class Callback(TrainerCallback):
        def on_evaluate(self, args, state, control, metrics=None, **kwargs) -> None:
            called.append(sorted(metrics))

    def compute_metrics(prediction: object) -> dict[str, float]:
        shapes.append(prediction.predictions.shape)
        return {"rows": float(len(prediction.label_ids))}

    sets = {"facts": facts, "tokens": tokens.remove_columns("distance").select(range(3))}
    trainer = Weighted(
        model,
        arguments(gamma=1.0, eval_strategy="steps", eval_steps=1, per_device_eval_batch_size=8),
        train_dataset=tokens,
        eval_dataset=sets,
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
        callbacks=[Callback()],
    )
    trainer.train()
    assert len(called) == 4
    assert {"eval_facts_loss", "eval_tokens_loss"} <= {key for keys in called for key in keys}
    logged = [entry for entry in trainer.state.log_history if "eval_facts_rows" in entry]
    assert [entry["eval_facts_rows"] for entry in logged] == [5.0, 5.0]
    assert all(len(shape) == 3 and shape[-1] == model.config.vocab_size for shape in shapes)  # the stock forward
    prediction = trainer.predict(trainer.train_dataset)
    assert prediction.predictions.shape[0] == 5
    assert np.isfinite(prediction.metrics["test_loss"])


def test_a_trainer_for_evaluation_only_pads_facts(
    model: torch.nn.Module, facts: Dataset, tokens: Dataset, tokenizer: object, arguments: Callable
) -> None:
    expected = Trainer(model, arguments(), FactCollator(), eval_dataset=tokens).evaluate()["eval_loss"]
    trainer = Weighted(model, arguments(), eval_dataset=facts, processing_class=tokenizer)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-6)


def test_facts_given_to_evaluate_are_tokenised(
    model: torch.nn.Module, facts: Dataset, tokens: Dataset, tokenizer: object, arguments: Callable
) -> None:
    trainer = Weighted(
        model, arguments(gamma=1.0), train_dataset=tokens, eval_dataset=facts, processing_class=tokenizer
    )
    assert trainer.evaluate(facts)["eval_loss"] == trainer.evaluate()["eval_loss"]


def test_statistics_and_clipped_steps_are_logged(
    model: torch.nn.Module, facts: Dataset, tokenizer: object, arguments: Callable
) -> None:
    args = arguments(gamma=1.0, max_steps=3, max_grad_norm=1e-3)
    trainer = Weighted(model, args, train_dataset=facts, processing_class=tokenizer)
    trainer.train()
    first, *others = [entry for entry in trainer.state.log_history if "loss" in entry]
    weights, distance = (np.array(trainer.train_dataset[name][:]) for name in ("weight", "distance"))
    assert first["weight/mean"] == pytest.approx(weights.mean())
    assert (first["weight/min"], first["weight/max"]) == (weights.min(), weights.max())
    assert first["distance/mean"] == pytest.approx(distance.mean())
    assert first["distance/share_above_1"] == pytest.approx((distance > 1).mean())
    assert 0.0 <= first["distance/share_known"] <= 1.0
    assert not any("weight/mean" in entry for entry in others)
    assert [entry["clipped_steps"] for entry in (first, *others)] == [1.0, 1.0, 1.0]


def test_no_step_is_clipped_under_a_wide_norm(model: torch.nn.Module, tokens: Dataset, arguments: Callable) -> None:
    trainer = Weighted(model, arguments(gamma=1.0, max_grad_norm=1e6), train_dataset=tokens)
    trainer.train()
    assert [e["clipped_steps"] for e in trainer.state.log_history if "loss" in e] == [0.0, 0.0]


def test_the_logged_loss_is_weighted(model: torch.nn.Module, tokens: Dataset, arguments: Callable) -> None:
    args = arguments(weighting="column", max_steps=1, per_device_train_batch_size=5)
    losses = []
    for weight in (1.0, 3.0):
        data = tokens.add_column("weight", [weight] * 5)
        trainer = Weighted(copy.deepcopy(model), args, train_dataset=data)
        trainer.train()
        losses.append(trainer.state.log_history[0]["loss"])
    assert losses[1] == pytest.approx(3 * losses[0], rel=1e-5)


def test_model_init_runs(model: torch.nn.Module, tokens: Dataset, arguments: Callable) -> None:
    trainer = Weighted(args=arguments(gamma=1.0), train_dataset=tokens, model_init=lambda: copy.deepcopy(model))
    assert trainer.train().global_step == 2


def test_activation_checkpointing_gives_the_same_loss(
    model: torch.nn.Module, tokens: Dataset, arguments: Callable
) -> None:
    known = TrainingArguments.__dataclass_fields__  # the older name is all that the lowest version knows
    name = next(name for name in ("activation_checkpointing", "gradient_checkpointing") if name in known)
    losses = []
    for checkpointing in (False, True):
        args = arguments(gamma=1.0, **{name: checkpointing})
        losses.append(Weighted(copy.deepcopy(model), args, train_dataset=tokens).train().training_loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


def test_the_log_line_names_the_weights(
    model: torch.nn.Module, tokens: Dataset, arguments: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "semantic_trainer"):
        Weighted(model, arguments(gamma=1.0), train_dataset=tokens)
    assert "weight/mean" in caplog.text


def test_a_collator_that_is_put_in_place_later_makes_the_batches(
    model: torch.nn.Module, facts: Dataset, tokenizer: object, arguments: Callable
) -> None:
    trainer = Weighted(model, arguments(weighting="none"), train_dataset=facts, processing_class=tokenizer)
    assert "segment_ids" in next(iter(trainer.get_train_dataloader()))
    trainer.data_collator = DataCollatorForSeq2Seq(tokenizer)
    batch = next(iter(trainer.get_train_dataloader()))
    assert "segment_ids" not in batch
    assert batch["weight"].tolist() == [1.0, 1.0]
    trainer.train()


def test_a_collator_that_merges_rows_is_refused(model: torch.nn.Module, tokens: Dataset, arguments: Callable) -> None:
    trainer = Weighted(
        model, arguments(), train_dataset=tokens, data_collator=DataCollatorWithFlattening(return_tensors="pt")
    )
    with pytest.raises(ValueError, match="made 1 rows of 2 examples, whose weights then cannot be told apart"):
        trainer.train()


def test_rows_that_are_split_over_processes_are_not_weighed() -> None:
    check_whole_rows(None)
    check_whole_rows(SimpleNamespace(cp_enabled=False, sp_enabled=False))
    for split in ({"cp_enabled": True, "sp_enabled": False}, {"cp_enabled": False, "sp_enabled": True}):
        with pytest.raises(ValueError, match="split rows over processes"):
            check_whole_rows(SimpleNamespace(**split))


def test_a_gradient_norm_that_is_not_known_counts_as_not_clipped(
    model: torch.nn.Module, tokens: Dataset, arguments: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "_clip_grad_norm", lambda self, model: None)
    trainer = Weighted(model, arguments(), train_dataset=tokens)
    trainer.train()
    assert [entry["clipped_steps"] for entry in trainer.state.log_history if "loss" in entry] == [0.0, 0.0]
