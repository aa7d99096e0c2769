"""Where no weighting is named: facts weigh 1, other rows are the parent's, and what decides nothing is said."""

import copy

import pytest
import torch
from datasets import Dataset
from transformers import (
    LlamaConfig,
    LlamaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
    set_seed,
)

from semantic_trainer import SemanticTrainingArguments, semantic_weight
from semantic_trainer.training.data_collator import FactCollator
from semantic_trainer.training.trainer import SemanticWeightedTrainer as Weighted


@pytest.mark.parametrize("extra", [{}, {"distance": [0.5] * 5}, {"weight": [9.0] * 5}], ids=str)
def test_where_no_weighting_is_named_rows_are_the_parents_and_what_is_not_read_is_said(
    extra: dict, model: torch.nn.Module, tokens: Dataset, options: dict, caplog: pytest.LogCaptureFixture
) -> None:
    data = tokens.remove_columns("distance")
    for name, column in extra.items():
        data = data.add_column(name, column)
    losses = []
    for kind in (Trainer, Weighted):
        trainer = kind(
            copy.deepcopy(model), TrainingArguments(**options), train_dataset=data, data_collator=FactCollator(0)
        )
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert losses[0] == losses[1]
    assert not trainer.weighted
    said = [r.getMessage() for r in caplog.records if r.name.startswith("semantic_trainer")]
    assert len(said) == len(extra)
    for name, message in zip(extra, said, strict=True):
        assert f"has `{name}`, but every weight is 1" in message
        assert ("weighting='paper'" if name == "distance" else "weighting='column'") in message


def test_where_no_weighting_is_named_facts_weigh_1_and_the_base_is_not_asked(
    untouched: torch.nn.Module, facts: Dataset, tokenizer: object, options: dict
) -> None:
    args = TrainingArguments(**options)
    trainer = Weighted(untouched, args, train_dataset=facts, processing_class=tokenizer)
    assert trainer.weighted
    assert trainer.train_dataset["weight"][:] == [1.0] * len(facts)
    assert "distance" not in trainer.train_dataset.column_names


def test_a_gamma_alone_is_the_papers_and_so_is_a_weighting_alone(
    model: torch.nn.Module, tokens: Dataset, options: dict
) -> None:
    for more in ({"gamma": 1.0}, {"weighting": "paper"}, {"gamma": 1.0, "weighting": "paper"}):
        trainer = Weighted(model, SemanticTrainingArguments(**options, **more), train_dataset=tokens)
        assert trainer.train_dataset["weight"][:] == pytest.approx(list(semantic_weight(tokens["distance"][:])))


@pytest.mark.parametrize(
    "extra",
    [{"distance": [0.1, None, 0.2, 0.3, None]}, {"distance": list("abcde")}, {"old_answer": [None] * 5}],
    ids=str,
)
def test_columns_that_decide_nothing_are_not_read(
    extra: dict, untouched: torch.nn.Module, facts: Dataset, tokenizer: object, options: dict
) -> None:
    ((name, column),) = extra.items()
    args = SemanticTrainingArguments(**options, learning_history=True)
    trainer = Weighted(untouched, args, train_dataset=facts.add_column(name, column), processing_class=tokenizer)
    assert trainer.weight_statistics == {"weight/mean": 1.0, "weight/min": 1.0, "weight/max": 1.0}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"known_lambda": 0.0}, "`known_lambda` has no effect on weighting='none'"),
        ({"clip_distance": False}, "`clip_distance` has no effect on weighting='none'"),
        ({"pacing_temperature": 2.0, "gamma": 1.0}, "`pacing_temperature` has no effect on weighting='paper'"),
        ({"gamma": 2.0, "weighting": "none"}, "`gamma` has no effect on weighting='none'"),
        ({"gamma": 2.0, "weighting": "self_paced"}, "`gamma` has no effect on weighting='self_paced'"),
    ],
)
def test_an_option_without_effect_is_named(
    more: dict,
    said: str,
    model: torch.nn.Module,
    facts: Dataset,
    tokenizer: object,
    options: dict,
    caplog: pytest.LogCaptureFixture,
) -> None:
    Weighted(model, SemanticTrainingArguments(**options, **more), train_dataset=facts, processing_class=tokenizer)
    assert said in caplog.text


def test_facts_are_not_for_an_encoder_decoder_or_a_bare_module(
    facts: Dataset, tokenizer: object, options: dict
) -> None:
    config = T5Config(vocab_size=384, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0)
    model = T5ForConditionalGeneration(config)
    with pytest.raises(ValueError, match="`train_dataset` holds facts, but `model` is an encoder-decoder"):
        Weighted(model, TrainingArguments(**options), train_dataset=facts, processing_class=tokenizer)
    with pytest.raises(ValueError, match="`train_dataset` holds facts, but `model` has no config"):
        Weighted(OneNumber(), TrainingArguments(**options), train_dataset=facts, processing_class=tokenizer)


def test_streams_of_facts_name_what_they_need(model: torch.nn.Module, facts: Dataset, options: dict) -> None:
    with pytest.raises(ValueError, match="facts cannot be tokenised beforehand. Pass a datasets.Dataset"):
        Weighted(model, TrainingArguments(**options), train_dataset=facts.to_iterable_dataset())
    with pytest.raises(ValueError, match="facts cannot be tokenised beforehand. Pass a datasets.Dataset"):
        Weighted(model, TrainingArguments(**options), train_dataset=facts.to_list())


def test_evaluation_rows_of_another_task_have_their_loss(options: dict) -> None:
    rows = Dataset.from_list([{"input_ids": [1, 2, 3 + i % 2], "labels": i % 2} for i in range(8)])
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForSequenceClassification(LlamaConfig(vocab_size=16, pad_token_id=0, **sizes))
    found = [kind(model, TrainingArguments(**options)).evaluate(rows)["eval_loss"] for kind in (Trainer, Weighted)]
    assert found[0] == found[1]


def test_other_tasks_and_modules_train_as_under_the_parent(options: dict) -> None:
    rows = Dataset.from_list([{"input_ids": [1, 2, 3 + i % 2], "labels": i % 2} for i in range(8)])
    several = rows.map(lambda row: {"labels": [float(row["labels"]), 1.0]}, remove_columns="labels")
    bare = rows.rename_column("input_ids", "x").add_column("weight", [0.5] * 8)
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=16, pad_token_id=0, **sizes)
    multi = LlamaConfig(vocab_size=16, pad_token_id=0, problem_type="multi_label_classification", **sizes)
    for build, data in (
        (lambda: LlamaForSequenceClassification(config), rows),
        (lambda: LlamaForSequenceClassification(multi), several),
        (OneNumber, bare),
    ):
        losses = []
        for kind in (Trainer, Weighted):
            set_seed(0)
            trainer = kind(build(), TrainingArguments(**options), train_dataset=data)
            trainer.train()
            losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
        assert losses[0] == losses[1]


class OneNumber(torch.nn.Module):
    """Neither a causal language model nor one of transformers' at all."""

    def __init__(self) -> None:
        super().__init__()
        self.number = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (weight * (self.number * x.float().mean(1) - labels) ** 2).mean()}


def losses_of(kind: type, model: torch.nn.Module, options: dict, data: Dataset, **more: object) -> list[float]:
    set_seed(0)
    trainer = kind(copy.deepcopy(model), TrainingArguments(**options), train_dataset=data, **more)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_a_format_that_is_not_ours_reaches_the_users_collator(
    model: torch.nn.Module, tokens: Dataset, options: dict
) -> None:
    ids = [ids[:4] for ids in tokens["input_ids"]]
    data = Dataset.from_dict({"input_ids": ids, "labels": ids}).with_format("torch")

    def stack(rows: list[dict]) -> dict[str, torch.Tensor]:
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    first, second = (losses_of(kind, model, options, data, data_collator=stack) for kind in (Trainer, Weighted))
    assert first == second
    weighed = data.add_column("distance", [0.5] * len(data))
    args = SemanticTrainingArguments(**options, gamma=1.0)
    trainer = Weighted(model, args, train_dataset=weighed, data_collator=stack)
    assert isinstance(trainer.train_dataset[0]["input_ids"], torch.Tensor)
    trainer.train()


def test_a_transform_is_the_parents_and_takes_no_weights(
    model: torch.nn.Module, facts: Dataset, tokenizer: object, options: dict
) -> None:
    def tokenised(rows: dict) -> dict:
        ids = [tokenizer(prompt)["input_ids"][:4] for prompt in rows["prompt"]]
        return {"input_ids": ids, "labels": ids}

    data, options = facts.with_transform(tokenised), options | {"remove_unused_columns": False}
    first, second = (losses_of(kind, model, options, data) for kind in (Trainer, Weighted))
    assert first == second
    with pytest.raises(ValueError, match="`train_dataset` has a transform, which makes its rows as they are read"):
        Weighted(model, SemanticTrainingArguments(**options, gamma=1.0), train_dataset=data)


def test_rows_of_other_tasks_are_collated_as_the_parent_does(tokenizer: object, options: dict) -> None:
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_labels=3, problem_type="multi_label_classification", pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    set_seed(0)
    model = LlamaForSequenceClassification(config)
    rows = [{"input_ids": list(range(3, 5 + i)), "labels": [1.0, 0.0, float(i % 2)]} for i in range(4)]
    data = Dataset.from_list(rows)
    first, second = (losses_of(k, model, options, data, processing_class=tokenizer) for k in (Trainer, Weighted))
    assert first == second
    args = TrainingArguments(**options)
    lone = [kind(model, args, processing_class=tokenizer).evaluate(data)["eval_loss"] for kind in (Trainer, Weighted)]
    assert lone[0] == lone[1]
