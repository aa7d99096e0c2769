"""SemanticFilterCollator: applies a filter's plan batch by batch, in front of any other collator."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset

from ..distance.columns import Columns, Source
from ..distance.filter_plan import ROW, FilterPlan
from ..facts.messages import shown
from .data_collator import EXAMPLE, WEIGHT, WeightedCollator

TOKENS = ("input_ids", "labels", "attention_mask")
KEPT = (WEIGHT, EXAMPLE)


class SemanticFilterCollator:
    """Replaces each example that a plan removes by the one it adds, then calls another collator.

    Training on `plan.attach(train)` through it is training on `plan.apply(train, pool)`, exactly: order, weights and
    all; only the pool is never copied. The trainer's own sampler sees the originals' lengths (`group_by_length`).

    Args:
        collator: any data collator; it sees neither `row` nor that anything was replaced.
        plan: what leaves and what enters.
        train: the training set of the plan, attached or not; it is only checked.
        pool: the pool of the plan with the columns that the trainer collates (`tokenize_facts`): a dataset, whose
            memory map other processes open anew, or Parquet files, of which the added rows are read.

    Raises:
        ValueError: the plan was made from other data, or the pool has no `input_ids`; when called, a row without
            `row`, or a column that the pool lacks.

    Example:
        >>> collator = SemanticFilterCollator(FactCollator(tokenizer.pad_token_id), plan, train, pool)
        >>> trainer = SemanticWeightedTrainer(model, args, collator, train_dataset=plan.attach(train))
    """

    columns_needed = (ROW,)  # beside those that the model takes; SemanticWeightedTrainer keeps them

    def __init__(self, collator: Callable[[list[dict]], dict], plan: FilterPlan, train: Dataset, pool: Source) -> None:
        plan.check(train, pool)
        names = [name for name in TOKENS if name in train.column_names] or ["input_ids"]
        rows = Columns(pool, "pool").take(plan.added)
        missing = [name for name in names if name not in rows.column_names]
        if missing:
            raise ValueError(
                f"`pool` has no column {', '.join(map(repr, missing))}; found {rows.column_names}. Prepare it as the "
                "training set, with tokenize_facts(pool, processing_class, prompt_format)."
            )
        self.collator = collator
        self.rows = _lean(rows.with_format(None))
        self.replacements = np.full(plan.sizes["train"], -1)  # row of `rows` for each example; -1 keeps it
        self.replacements[plan.removed] = np.arange(len(plan))

    def __call__(self, features: Sequence[dict]) -> dict[str, torch.Tensor]:
        if not all(isinstance(feature, dict) and ROW in feature for feature in features):
            found = shown(sorted(features[0])) if isinstance(features[0], dict) else type(features[0]).__name__
            raise ValueError(
                f"an example has no column {ROW!r}, which says which one it is (found {found}). Train on "
                "plan.attach(train); under transformers.Trainer also set remove_unused_columns=False, and give "
                f"evaluation sets a column {ROW!r} of -1. SemanticWeightedTrainer keeps the column by itself."
            )
        numbers = [int(feature[ROW]) for feature in features]
        if max(numbers) >= len(self.replacements):
            raise ValueError(
                f"an example has {ROW} {max(numbers)}, but the plan's training set has {len(self.replacements)} rows. "
                "Train on plan.attach(train)."
            )
        enters = [int(self.replacements[number]) if number >= 0 else -1 for number in numbers]
        fetched = iter(self._fetch([row for row in enters if row >= 0]))
        kept = [{name: value for name, value in feature.items() if name != ROW} for feature in features]
        return self.collator(
            [_exchange(old, next(fetched)) if row >= 0 else old for old, row in zip(kept, enters, strict=True)]
        )

    def _fetch(self, rows: list[int]) -> list[dict]:
        return self.rows.select(rows).to_list() if rows else []


def _lean(rows: Dataset) -> Dataset:
    """The rows by themselves where their table is in memory, so that a pickle holds no more than them."""
    if rows.cache_files:
        return rows
    # a slice would keep the whole table's buffers
    return Dataset(rows.with_format("arrow")[:].take(pa.array(range(len(rows))))) if len(rows) else rows


def _exchange(old: dict, new: dict) -> dict:
    """The new example with the old one's columns, each as the same kind of value; weight and number are the old one's.

    Weights are computed from the final set already: `attach` has put its distances into the training set.
    """
    missing = [name for name in old if name not in new and name not in KEPT]
    if missing:
        raise ValueError(
            f"`pool` has no column {', '.join(map(repr, missing))}, which the training set has; found "
            f"{sorted(new)}. Prepare both alike, or remove the column from the training set."
        )
    return {name: value if name in KEPT else _like(value, new[name]) for name, value in old.items()}


def _like(old: object, new: object) -> object:
    if isinstance(old, torch.Tensor):
        return torch.as_tensor(new, dtype=old.dtype)
    return np.asarray(new, old.dtype) if isinstance(old, np.ndarray) else new


def _filter_in(collator: object) -> object:
    """The filter's collator, or the collator itself, inside of those that wrap it."""
    while hasattr(collator, "collator") and not isinstance(collator, SemanticFilterCollator):
        collator = collator.collator
    return collator


def columns_needed(collator: object) -> tuple[str, ...]:
    """The columns that a collator, or one it wraps, needs beside those that the model takes."""
    return getattr(_filter_in(collator), "columns_needed", ())


@contextmanager
def evaluating(trainer: object) -> Iterator[None]:
    """While a loader of evaluation data is made: none of its rows is replaced, and weights pass the collator by."""
    before = trainer.data_collator
    collator = _for_evaluation(before)
    trainer.data_collator = WeightedCollator(collator) if trainer.weighted else collator
    try:
        yield
    finally:
        trainer.data_collator = before


def _for_evaluation(collator: object) -> object:
    if isinstance(collator, SemanticFilterCollator):
        return collator.collator
    if isinstance(_filter_in(collator), SemanticFilterCollator):
        outer = copy(collator)
        outer.collator = _for_evaluation(collator.collator)
        return outer
    return collator
