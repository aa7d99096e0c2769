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
