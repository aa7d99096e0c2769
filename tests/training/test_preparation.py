"""What the trainer does to a dataset before step 1, shape by shape."""

import copy
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict

from semantic_trainer import (
    EmbeddingTable,
    add_distances,
    add_old_answers,
    load_facts,
    semantic_weight,
)
from semantic_trainer.answers.decoder import Decoder
from semantic_trainer.training.preparation import PREPARED_FILE
from semantic_trainer.training.trainer import SemanticWeightedTrainer as Weighted


def test_tokenised_rows_with_distance_train_as_they_are(
    untouched: torch.nn.Module, tokens: Dataset, arguments: Callable
) -> None:
    trainer = Weighted(untouched, arguments(gamma=2.0), train_dataset=tokens)
    assert trainer.weighted
    assert trainer.train_dataset["input_ids"][:] == tokens["input_ids"][:]
    np.testing.assert_allclose(trainer.train_dataset["weight"], semantic_weight(tokens["distance"][:], gamma=2.0))


def test_facts_with_distance_are_only_tokenised(
    untouched: torch.nn.Module, facts: Dataset, tokenizer: object, arguments: Callable, tmp_path: Path
) -> None:
    given = facts.add_column("distance", [0.0, 0.2, 0.5, 0.9, 1.3])
    trainer = Weighted(untouched, arguments(), train_dataset=given, processing_class=tokenizer)
    np.testing.assert_allclose(trainer.train_dataset["weight"], semantic_weight(given["distance"][:]))
    assert {"input_ids", "labels"} <= set(trainer.train_dataset.column_names)
    assert trainer.prompt_format.kind == "chat"
    assert not (tmp_path / "out" / PREPARED_FILE).exists()


def test_facts_are_answered_measured_and_tokenised(
    model: torch.nn.Module, facts: Dataset, tokenizer: object, arguments: Callable, tmp_path: Path
) -> None:
    trainer = Weighted(model, arguments(), train_dataset=facts, processing_class=tokenizer)
    by_hand = add_old_answers(facts, model, tokenizer, trainer.prompt_format, max_new_tokens=12)
    by_hand = add_distances(by_hand, EmbeddingTable.from_model(model), tokenizer, trainer.prompt_format)
    for column in ("old_answer", "old_answer_truncated", "distance"):
        assert trainer.train_dataset[column][:] == by_hand[column][:]
    np.testing.assert_allclose(trainer.train_dataset["weight"], semantic_weight(by_hand["distance"][:]))
    assert (tmp_path / "out" / PREPARED_FILE).exists()
    trainer.train()


@pytest.fixture
def prepared(
    model: torch.nn.Module, facts: Dataset, tokenizer: object, arguments: Callable, monkeypatch: pytest.MonkeyPatch
) -> Weighted:
    """A trainer that has prepared its facts; from then on the model can no longer answer."""
    trainer = Weighted(model, arguments(), train_dataset=facts, processing_class=tokenizer)

    def refuse(*args: object, **kwargs: object) -> None:
        pytest.fail("the model was asked again")

    monkeypatch.setattr(Decoder, "answer", refuse)
    monkeypatch.setenv("SEMANTIC_TRAINER_CACHE", str(Path(arguments().output_dir).parent / "another"))
    return trainer


def test_prepared_columns_are_read_again_by_a_second_trainer(
    prepared: Weighted, model: torch.nn.Module, facts: Dataset, tokenizer: object, arguments: Callable
) -> None:
    second = Weighted(model, arguments(), train_dataset=facts, processing_class=tokenizer)
    for column in ("old_answer", "old_answer_truncated", "distance", "weight"):
        assert second.train_dataset[column][:] == prepared.train_dataset[column][:]


def test_prepared_columns_of_other_facts_are_refused(
    prepared: Weighted, model: torch.nn.Module, facts: Dataset, tokenizer: object, arguments: Callable
) -> None:
    (Path(arguments().output_dir) / "checkpoint-1").mkdir()
    with pytest.raises(ValueError, match=r"another run.*another facts.*another output_dir"):
        Weighted(model, arguments(), train_dataset=facts.select([1, 0]), processing_class=tokenizer)


def test_prepared_columns_of_another_model_are_refused(
    prepared: Weighted, model: torch.nn.Module, facts: Dataset, tokenizer: object, arguments: Callable
) -> None:
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1
    (Path(arguments().output_dir) / "checkpoint-1").mkdir()
    with pytest.raises(ValueError, match=r"another run.*another model.*another output_dir"):
        Weighted(model, arguments(), train_dataset=facts, processing_class=tokenizer)


def test_prepared_columns_of_another_format_are_refused(
    prepared: Weighted, model: torch.nn.Module, facts: Dataset, tokenizer: object, arguments: Callable
) -> None:
    (Path(arguments().output_dir) / "checkpoint-1").mkdir()
    with pytest.raises(ValueError, match="another prompt format"):
        Weighted(model, arguments(prompt_format="cloze"), train_dataset=facts, processing_class=tokenizer)


def test_a_peft_model_measures_with_its_adapter_off(
    model: torch.nn.Module, facts: Dataset, tokenizer: object, arguments: Callable
) -> None:
    from peft import LoraConfig, get_peft_model

    plain = Weighted(model, arguments(), train_dataset=facts, processing_class=tokenizer).train_dataset
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    again = Weighted(tuned, arguments(), train_dataset=facts, processing_class=tokenizer).train_dataset
    assert again["old_answer"][:] == plain["old_answer"][:]
    assert again["distance"][:] == plain["distance"][:]


def test_a_shape_that_cannot_be_trained_names_the_columns_found(
    untouched: torch.nn.Module, tokenizer: object, arguments: Callable
) -> None:
    data = Dataset.from_dict({"question": ["a?"], "answer": ["b"]})
    with pytest.raises(ValueError, match="train_dataset") as error:
        Weighted(untouched, arguments(), train_dataset=data, processing_class=tokenizer)
    for word in ("'question'", "'answer'", "`prompt`", "`target`", "input_ids", "distance", "columns={"):
        assert word in str(error.value)


def test_a_dataset_dict_is_refused(untouched: torch.nn.Module, tokens: Dataset, arguments: Callable) -> None:
    with pytest.raises(TypeError, match=r"train_dataset.*DatasetDict.*'dev', 'test'.*train_dataset\['dev'\]"):
        Weighted(untouched, arguments(), train_dataset=DatasetDict(dev=tokens, test=tokens))


def test_gamma_without_distance_is_an_error(untouched: torch.nn.Module, tokens: Dataset, arguments: Callable) -> None:
    with pytest.raises(ValueError, match="`gamma=0.5` needs distances") as error:
        Weighted(untouched, arguments(gamma=0.5), train_dataset=tokens.remove_columns("distance"))
    assert "'input_ids'" in str(error.value)
    assert "add_distances" in str(error.value)


def test_a_control_without_distance_is_an_error(
    untouched: torch.nn.Module, tokens: Dataset, arguments: Callable
) -> None:
    with pytest.raises(ValueError, match="`weighting='shuffled'` needs distances"):
        Weighted(untouched, arguments(weighting="shuffled"), train_dataset=tokens.remove_columns("distance"))


def test_the_papers_weighting_by_name_needs_them_too(
    untouched: torch.nn.Module, tokens: Dataset, arguments: Callable
) -> None:
    with pytest.raises(ValueError, match="`weighting='paper'` needs distances"):
        Weighted(untouched, arguments(weighting="paper"), train_dataset=tokens.remove_columns("distance"))


def test_weighting_column_reads_the_column(untouched: torch.nn.Module, tokens: Dataset, arguments: Callable) -> None:
    weights = [1.0, 0.0, 3.5, 2.0, 1.0]
    data = tokens.add_column("weight", weights)
    trainer = Weighted(untouched, arguments(weighting="column"), train_dataset=data)
    assert trainer.train_dataset["weight"][:] == weights


def test_weighting_column_without_the_column(untouched: torch.nn.Module, tokens: Dataset, arguments: Callable) -> None:
    with pytest.raises(ValueError, match=r"weighting=\"column\".*`weight`.*'distance'"):
        Weighted(untouched, arguments(weighting="column"), train_dataset=tokens)


@pytest.mark.parametrize(
    "options",
    [
        {"gamma": 1.0},
        {"gamma": 0.0},
        {"weighting": "none"},
    ],
)
def test_a_weight_column_is_ignored_with_a_log_line(
    options: dict, model: torch.nn.Module, tokens: Dataset, arguments: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    data = tokens.add_column("weight", [9.0] * 5)
    with caplog.at_level(logging.INFO, "semantic_trainer"):
        trainer = Weighted(model, arguments(**options), train_dataset=data)
    if trainer.weighted:
        assert max(trainer.train_dataset["weight"]) <= 2.0
    assert len([r for r in caplog.records if "`weight` is not read" in r.getMessage()]) == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.1, None], ids=str)
@pytest.mark.parametrize(("column", "weighting"), [("distance", "paper"), ("weight", "column")])
def test_bad_numbers_are_named_before_any_forward_pass(
    bad: float | None, column: str, weighting: str, untouched: torch.nn.Module, tokens: Dataset, arguments: Callable
) -> None:
    data = tokens.remove_columns("distance").add_column(column, [0.5, bad, 0.5, bad, 0.5])
    with pytest.raises(ValueError, match=rf"'{column}'.*finite.*at least 0.*rows 1, 3"):
        Weighted(untouched, arguments(weighting=weighting), train_dataset=data)


def test_distances_that_are_texts_are_refused(
    untouched: torch.nn.Module, tokens: Dataset, arguments: Callable
) -> None:
    data = tokens.remove_columns("distance").add_column("distance", ["far"] * 5)
    with pytest.raises(ValueError, match=r"'distance' must hold numbers"):
        Weighted(untouched, arguments(), train_dataset=data)


def test_a_prompt_longer_than_the_context(untouched: torch.nn.Module, tokenizer: object, arguments: Callable) -> None:
    facts = load_facts([{"prompt": "Who is it?", "target": "Rome"}, {"prompt": "x " * 600 + "?", "target": "Rome"}])
    with pytest.raises(ValueError, match=r"row 1 .*context 512.*Shorten"):
        Weighted(untouched, arguments(), train_dataset=facts, processing_class=tokenizer)


@pytest.mark.parametrize(("missing", "word"), [("eos_token", "EOS token"), ("pad_token", "pad token")])
def test_a_tokenizer_without_pad_or_eos(
    missing: str, word: str, untouched: torch.nn.Module, facts: Dataset, arguments: Callable, tokenizer: object
) -> None:

    bare = copy.deepcopy(tokenizer)
    setattr(bare, missing, None)
    with pytest.raises(ValueError, match=f"processing_class.*no {word}.*Set one"):
        Weighted(untouched, arguments(), train_dataset=facts, processing_class=bare)


def test_facts_without_a_tokenizer(untouched: torch.nn.Module, facts: Dataset, arguments: Callable) -> None:
    with pytest.raises(ValueError, match="`processing_class` is needed"):
        Weighted(untouched, arguments(), train_dataset=facts)


def test_shots_that_give_a_fact_away(
    untouched: torch.nn.Module, facts: Dataset, tokenizer: object, arguments: Callable
) -> None:
    args = arguments(shots=["What is the capital of France? => Rome"])
    with pytest.raises(ValueError, match="`shots` must be disjoint"):
        Weighted(untouched, args, train_dataset=facts, processing_class=tokenizer)


def test_the_prepared_file_says_what_it_was_prepared_from(prepared: Weighted, arguments: Callable) -> None:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(Path(arguments().output_dir) / PREPARED_FILE)
    key = json.loads(table.schema.metadata[b"semantic_trainer"])
    assert {"facts", "model", "prompt format", "max_new_tokens"} <= set(key)
    assert table.num_rows == 5
