"""Collators: pad at the right, share the prompts' head, and carry each example's weight past any other collator."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from datasets import LargeList, List
from torch.nn.utils.rnn import pad_sequence
from transformers import default_data_collator

from ..batching.positions import IGNORED
from ..batching.shared_prefix import ROW_TOKENS, shared_prefix_rows

WEIGHT, EXAMPLE = "weight", "example_number"  # a row's weight, and its number where losses are told apart
FILLER = -1.0  # the weight of a row that only fills a batch up: see filling.py


def _holds_integers(value: object) -> bool:
    """Whether a cell is a list, array or tensor of integers."""
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], int)
    return getattr(value, "ndim", 0) == 1 and not torch.as_tensor(value).is_floating_point()


def has_label_lists(dataset: object) -> bool:
    """Whether a dataset, or any of a dict of them, has `labels` that are lists of whole numbers, one label a token."""
    if isinstance(dataset, dict):
        return any(map(has_label_lists, dataset.values()))
    labels = (getattr(dataset, "features", None) or {}).get("labels")
    return isinstance(labels, (List, LargeList)) and "int" in getattr(labels.feature, "dtype", "")


def _one_label_a_token(feature: dict) -> bool:
    """Whether a row's labels, if it has any, are whole numbers, as many as its tokens."""
    labels = feature.get("labels", feature["input_ids"]) if "input_ids" in feature else None
    return labels is not None and _holds_integers(labels) and len(labels) == len(feature["input_ids"])


@dataclass
class FactCollator:
    """Pads tokenised facts at the right, labels by length, so that EOS is trained even where it is the pad token.

    Takes the columns that hold token ids or masks, lists of integers; texts and single numbers are left out. Rows
    whose `labels` are not one whole number a token are another task's.

    Args:
        pad_token_id: fills `input_ids`; `labels` are filled with -100, any other column with 0.
        other: collates the rows of other tasks.

    Example:
        >>> features = [{"input_ids": [5, 6], "labels": [-100, 6]}, {"input_ids": [5], "labels": [5]}]
        >>> FactCollator(pad_token_id=9)(features)["labels"].tolist()
        [[-100, 6], [5, -100]]
    """

    pad_token_id: int = 0
    other: Callable[[list[dict]], dict] = default_data_collator

    def __call__(self, features: list[dict]) -> dict[str, torch.Tensor]:
        if not _one_label_a_token(features[0]):
            return self.other(features)
        fill = {"input_ids": self.pad_token_id, "labels": IGNORED}
        batch = {}
        for name in filter(lambda name: _holds_integers(features[0][name]), features[0]):
            values = [torch.as_tensor(feature[name]) for feature in features]
            batch[name] = pad_sequence(values, batch_first=True, padding_value=fill.get(name, 0))
        lengths = [len(feature["input_ids"]) for feature in features]
        if "attention_mask" not in batch and min(lengths) < max(lengths):
            steps = torch.arange(max(lengths))
            batch["attention_mask"] = (steps < torch.tensor(lengths)[:, None]).long()
        return batch


@dataclass
class WeightedCollator:
    """Takes `weight` off the features, lets another collator do its work, and puts `weight`, (B,) float32, back.

    So with `example_number`, (B,) int64, where there is such a column.

    Rows that only fill a batch up get labels of -100 and the weight 0, whatever the collator made of them.

    Args:
        collator: any data collator that keeps its rows in order; it never sees the weight.

    Example:
        >>> batch = WeightedCollator(FactCollator())([{"input_ids": [5], "labels": [5], "weight": 1.5}])
        >>> batch["weight"]
        tensor([1.5000])
    """

    collator: Callable[[list[dict]], dict]

    def __call__(self, features: list[dict]) -> dict[str, torch.Tensor]:
        if not isinstance(features[0], dict) or WEIGHT not in features[0]:
            return self.collator(features)
        weights = torch.tensor([feature[WEIGHT] for feature in features], dtype=torch.float32)
        numbers = example_numbers(features)
        batch = self.collator([{k: v for k, v in f.items() if k not in (WEIGHT, EXAMPLE)} for f in features])
        fillers = weights == FILLER
        if fillers.any():
            batch["labels"] = batch["labels"].masked_fill(fillers[:, None], IGNORED)
        batch[WEIGHT] = weights.masked_fill(fillers, 0.0)
        return {**batch, **numbers}


def example_numbers(features: list[dict]) -> dict[str, torch.Tensor]:
    """`{"example_number": (B,) int64}` where the features have row numbers, else nothing."""
    return {EXAMPLE: torch.tensor([feature[EXAMPLE] for feature in features])} if EXAMPLE in features[0] else {}


@dataclass
class SharedPrefixCollator:
    """Lays weighted rows out so that they share their prompts' head; rows without a weight are padded instead.

    Rows that only fill a batch up are left out. What stays is the examples of the batch, whatever rows they lie in.

    Args:
        pad_token_id: fills `input_ids` at the end of shorter rows.
        row_tokens: about the most tokens of a row; one that the batch needs more of is added.

    Example:
        >>> features = [{"input_ids": [7, i], "labels": [-100, i], "weight": 1.5} for i in (1, 2)]
        >>> features = [{**f, "input_ids": [8, *f["input_ids"]], "labels": [-100, *f["labels"]]} for f in features]
        >>> batch = SharedPrefixCollator()(features)
        >>> batch["input_ids"].tolist(), batch["shift_labels"].tolist(), batch["weight"].tolist()
        ([[8, 7, 7]], [[-100, 1, 2]], [1.5, 1.5])
    """

    pad_token_id: int = 0
    row_tokens: int = ROW_TOKENS

    def __call__(self, features: list[dict]) -> dict[str, torch.Tensor]:
        if WEIGHT not in features[0]:
            return FactCollator(self.pad_token_id)(features)
        real = [feature for feature in features if feature[WEIGHT] != FILLER]
        labels = [feature["labels"] for feature in real]
        if not real:  # never an empty batch: every process must take part in the step
            real, labels = features[:1], [[IGNORED] * len(features[0]["labels"])]
        rows = shared_prefix_rows([f["input_ids"] for f in real], labels, self.pad_token_id, self.row_tokens)
        weights = torch.tensor([f[WEIGHT] for f in real], dtype=torch.float32)
        numbers = example_numbers(real)
        return {
            **vars(rows),
            "labels": rows.shift_labels,
            WEIGHT: weights.clamp(min=0.0),
            **numbers,
        }  # Trainer counts `labels`
