"""Dicts in, tensors out; the weight passes by any other collator."""

import copy

import pytest
import torch
from transformers import DataCollatorForSeq2Seq, default_data_collator

from semantic_trainer import tokenize_facts
from semantic_trainer.training.data_collator import FILLER, FactCollator, SharedPrefixCollator, WeightedCollator

FEATURES = [{"input_ids": [5, 6, 2], "labels": [-100, 6, 2]}, {"input_ids": [5], "labels": [5]}]


def test_the_docstrings_example() -> None:
    features = [{"input_ids": [5, 6], "labels": [-100, 6]}, {"input_ids": [5], "labels": [5]}]
    batch = FactCollator(pad_token_id=9)(features)
    assert set(batch) == {"input_ids", "labels", "attention_mask"}
    torch.testing.assert_close(batch["input_ids"], torch.tensor([[5, 6], [5, 9]]))
    torch.testing.assert_close(batch["labels"], torch.tensor([[-100, 6], [5, -100]]))
    torch.testing.assert_close(batch["attention_mask"], torch.tensor([[1, 1], [1, 0]]))


def test_no_mask_is_made_where_nothing_is_padded() -> None:
    assert set(FactCollator()([FEATURES[0], FEATURES[0]])) == {"input_ids", "labels"}


def test_a_given_mask_is_padded_with_zeros() -> None:
    features = [{**f, "attention_mask": [1] * len(f["input_ids"])} for f in FEATURES]
    assert FactCollator(7)(features)["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_features_are_left_as_they_were() -> None:
    features = copy.deepcopy(FEATURES)
    FactCollator()(features)
    assert features == FEATURES


@pytest.mark.parametrize("side", ["left", "right"])
def test_eos_is_trained_and_padding_is_right_whatever_the_tokenizer_says(
    side: str, facts: object, tokenizer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "padding_side", side)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    rows = tokenize_facts(facts, tokenizer).select_columns(["input_ids", "attention_mask", "labels"])
    batch = FactCollator(tokenizer.pad_token_id)(rows.to_list())
    lengths = [len(ids) for ids in rows["input_ids"]]
    assert len(set(lengths)) > 1
    for i, length in enumerate(lengths):
        assert batch["labels"][i, length - 1] == tokenizer.eos_token_id
        assert (batch["labels"][i, length:] == -100).all()
        assert (batch["input_ids"][i, length:] == tokenizer.pad_token_id).all()
        assert batch["attention_mask"][i].sum() == length
        assert batch["attention_mask"][i, 0] == 1


def test_texts_and_single_numbers_are_left_out() -> None:
    batch = FactCollator()([{**f, "prompt": "Who?", "distance": 0.5, "aliases": ["a"]} for f in FEATURES])
    assert set(batch) == {"input_ids", "labels", "attention_mask"}


def test_the_weight_passes_by_transformers_collator(tokenizer: object) -> None:
    collator = WeightedCollator(DataCollatorForSeq2Seq(tokenizer))
    batch = collator([{**f, "weight": w} for f, w in zip(FEATURES, (1.5, 2.0), strict=True)])
    assert batch["weight"].dtype == torch.float32
    assert batch["weight"].tolist() == [1.5, 2.0]
    assert batch["labels"].shape == (2, 3)


def test_the_inner_collator_never_sees_the_weight() -> None:
    seen = []

    def inner(features: list[dict]) -> dict:
        seen.extend(features)
        return default_data_collator(features)

    batch = WeightedCollator(inner)([{"input_ids": [5], "weight": 2}, {"input_ids": [6], "weight": 1}])
    assert all(set(feature) == {"input_ids"} for feature in seen)
    assert batch["weight"].dtype == torch.float32


def test_rows_without_a_weight_pass_through() -> None:
    assert "weight" not in WeightedCollator(FactCollator())(FEATURES)
    assert WeightedCollator(lambda rows: {"n": len(rows)})([(1, 2), (3, 4)]) == {"n": 2}


def test_a_batch_of_fillers_keeps_one_row_without_targets() -> None:
    features = [{"input_ids": [7, 8, 9], "labels": [-100, 8, 9], "weight": FILLER}] * 2
    batch = SharedPrefixCollator()(features)
    assert batch["input_ids"].tolist() == [[7, 8]]
    assert (batch["shift_labels"] == -100).all()
    assert batch["weight"].tolist() == [0.0]
    mixed = SharedPrefixCollator()([*features, {**features[0], "weight": 2.0}])
    assert (mixed["input_ids"].shape, mixed["weight"].tolist()) == ((1, 2), [2.0])


def test_rows_without_a_weight_are_padded() -> None:
    features = [{"input_ids": [7, 8, 9], "labels": [-100, 8, 9]}, {"input_ids": [7, 8], "labels": [-100, 8]}]
    assert SharedPrefixCollator()(features)["labels"].tolist() == [[-100, 8, 9], [-100, 8, -100]]
