"""Collators: pad at the right, and carry each example's weight past any other collator."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from datasets import LargeList, List
from torch.nn.utils.rnn import pad_sequence

from .losses import IGNORED

WEIGHT = "weight"
FILLER = -1.0  # the weight of a row that only fills a batch up: see filling.py


def _holds_integers(value: object) -> bool:
    """Whether a cell is a list, array or tensor of integers."""
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], int)
    return getattr(value, "ndim", 0) == 1 and not torch.as_tensor(value).is_floating_point()


def has_label_lists(dataset: object) -> bool:
    """Whether a dataset, or any of a dict of them, has `labels` that are lists, one label a token."""
    if isinstance(dataset, dict):
        return any(map(has_label_lists, dataset.values()))
    features = getattr(dataset, "features", None) or {}
    return isinstance(features.get("labels"), (List, LargeList))


@dataclass
class FactCollator:
    """Pads tokenised facts at the right, labels by length, so that EOS is trained even where it is the pad token.

    Takes the columns that hold token ids or masks, lists of integers; texts and single numbers are left out.

    Args:
        pad_token_id: fills `input_ids`; `labels` are filled with -100, any other column with 0.

    Example:
        >>> features = [{"input_ids": [5, 6], "labels": [-100, 6]}, {"input_ids": [5], "labels": [5]}]
        >>> FactCollator(pad_token_id=9)(features)["labels"].tolist()
        [[-100, 6], [5, -100]]
    """

    pad_token_id: int = 0

    def __call__(self, features: list[dict]) -> dict[str, torch.Tensor]:
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
        batch = self.collator([{k: v for k, v in feature.items() if k != WEIGHT} for feature in features])
        fillers = weights == FILLER
        if fillers.any():
            batch["labels"] = batch["labels"].masked_fill(fillers[:, None], IGNORED)
        batch[WEIGHT] = weights.masked_fill(fillers, 0.0)
        return batch
