"""A filter as an arm (Fig. 7): what is trained is replaced in part, what is asked is not."""

from dataclasses import dataclass

import numpy as np
from datasets import Dataset, concatenate_datasets

from ..distance.filtering import SemanticFilter
from ..distance.random_filter import RandomFilter
from ..facts.schema import replace_columns
from .arms import Arm

ASKED_OF_ORIGINALS = ("paraphrases", "locality_prompts", "portability")


@dataclass(frozen=True)
class Replaced:
    """A run's facts after a filter.

    Attributes:
        train: what is trained.
        scored: what is asked: the original facts, then those added, of which only the prompt.
        parts: `original`, `kept` (originals that are trained) and `trained` -> rows of `scored`.
        described: the filter's settings and what came of them.
    """

    train: Dataset
    scored: Dataset
    parts: dict[str, np.ndarray]
    described: dict[str, object]

    @property
    def labels(self) -> list[str]:
        """`kept`, `removed` or `added`, row by row of `scored`."""
        labels = np.full(len(self.scored), "removed", dtype=object)
        labels[self.parts["trained"]] = "added"
        labels[self.parts["kept"]] = "kept"
        return labels.tolist()


def make_filter(arm: Arm) -> SemanticFilter:
    """Eq. 4 with an arm's options, without bounds of the mean where it names none.

    Raises:
        ValueError: an option is out of its range.
    """
    return SemanticFilter(**{"mean_range": None, **arm.filter})


def replace_facts(arm: Arm, facts: Dataset, pool: Dataset, rows: np.ndarray, seed: int) -> Replaced:
    """Replace part of a run's facts by facts of the pool.

    Args:
        arm: with the filter's options; `random_filter` replaces as many facts as `filter` would with the same ones.
        rows: the rows of the pool that `facts` are.
        seed: of the random replacement.
    """
    rest = pool.select(np.setdiff1d(np.arange(len(pool)), rows))
    plan = make_filter(arm).plan(facts, rest)
    if arm.base == "random_filter":
        options = {**arm.filter, "replace_share": plan.reached_share, "mean_range": None, "seed": seed}
        plan = RandomFilter(**options).plan(facts, rest)
    n, added = len(facts), rest.select(plan.added)
    empty = {name: [[]] * len(added) for name in ASKED_OF_ORIGINALS if name in added.column_names}
    asked = replace_columns(added, empty).cast(facts.features) if len(added) else added
    kept = np.setdiff1d(np.arange(n), plan.removed)
    return Replaced(
        train=plan.apply(facts, rest),
        scored=concatenate_datasets([facts, asked.select_columns(facts.column_names)]),
        parts={
            "original": np.arange(n),
            "kept": kept,
            "trained": np.concatenate([kept, np.arange(n, n + len(added))]),
        },
        described={
            **plan.settings,
            "reached_share": plan.reached_share,
            "stopped": plan.stopped,
            "mean": plan.mean[-1],
            "spread": plan.spread[-1],
        },
    )
