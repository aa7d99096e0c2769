"""FilterPlan: which facts leave a training set and which enter it, why it ended, and how it is applied."""

import hashlib
import logging
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import Dataset, Features, concatenate_datasets

from ..facts.schema import replace_columns, require_dataset
from .columns import Columns, Source

logger = logging.getLogger(__name__)
ROW = "row"  # which example of the training set a row is
HINT = "Add it with add_distances(facts, table, processing_class)."
# Columns from which a weight is made; with the pool at hand `attach` takes them from the final set.
WEIGHED = ("weight", "old_answer", "old_answer_truncated", "target", "aliases")


def fingerprint(distances: np.ndarray) -> str:
    """16 hex digits of the sha256 of a column of distances."""
    return hashlib.sha256(np.ascontiguousarray(distances, np.float64)).hexdigest()[:16]


@dataclass(eq=False)  # arrays have no one truth value
class FilterPlan:
    """What a filter decided, in swap order; made by `SemanticFilter.plan` and `RandomFilter.plan`.

    Attributes:
        removed, added: (k,) int64, aligned: row `removed[i]` of `train` leaves for row `added[i]` of `pool`.
        added_distances: (k,) float64.
        objective, mean, spread: (k + 1,) float64, the trace of Eq. 4: before the first swap and after each.
        wanted_share, reached_share: of the training set, asked for and done.
        stopped: why it ended: `share` (all that was wanted), `objective` (no swap lowers it any more), `mean_min` or
            `mean_max` (that bound forbids every swap that would), `pool` (nothing left that may enter).
        settings: what the filter was told; `mean_range` is in it, `None` for a side without bound.
        excluded: how many rows of the pool could not enter, by reason.
        shares: known, flagged, and at distance 1 or more, of what was added; `None` where the columns do not tell.
        scanned: pairs next to a bound that were looked at, a measure of the work.
        sizes, fingerprints: rows of `train` and `pool`, and what tells them from other data.

    Example:
        >>> plan = SemanticFilter((0.2, 0.8)).plan([0.5, 0.6, 0.4], [0.1, 0.9])
        >>> plan.removed, plan.added, plan.stopped
        (array([1]), array([0]), 'objective')
    """

    removed: np.ndarray
    added: np.ndarray
    added_distances: np.ndarray
    objective: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    wanted_share: float
    stopped: str
    settings: dict[str, object]
    sizes: dict[str, int]
    fingerprints: dict[str, str]
    excluded: dict[str, int] = field(default_factory=dict)
    shares: dict[str, float | None] = field(default_factory=dict)
    scanned: int = 0

    def __len__(self) -> int:
        return len(self.removed)

    @property
    def reached_share(self) -> float:
        """Share of the training set that is replaced."""
        return len(self) / self.sizes["train"]

    @property
    def binding_bound(self) -> str | None:
        """`mean_min` or `mean_max` where that bound ended it, else `None`."""
        return self.stopped if self.stopped in ("mean_min", "mean_max") else None

    def describe(self) -> str:
        """One sentence."""
        why = {
            "share": "all that was wanted",
            "objective": "no further swap lowers the objective",
            "pool": "nothing is left in the pool that may enter",
        }
        ended = why.get(self.stopped, f"the bound {self.stopped} forbids every swap that lowers the objective")
        share = f"{self.reached_share:.1%} of {self.wanted_share:.1%} wanted: {ended}"
        moved = f"mean {self.mean[0]:.4f} -> {self.mean[-1]:.4f}"
        spread = f"{self.settings['spread']} {self.spread[0]:.4f} -> {self.spread[-1]:.4f}"
        return f"{len(self)} of {self.sizes['train']} facts replaced ({share}); {moved}, {spread}"

    def final(self, values: np.ndarray, added: np.ndarray) -> np.ndarray:
        """A column of the training set with what was added in the place of what was removed."""
        values = np.array(values)
        values[self.removed] = added
        return values

    def apply(self, train: Dataset, pool: Source) -> Dataset:
        """The final training set: each added fact stands in the row of the one it replaces.

        Args:
            train: the dataset that the plan was made from, with any columns; `pool` must have them too.
            pool: the pool that the plan was made from, a dataset or Parquet files; only the added rows are read.

        Raises:
            ValueError: a column is missing in the pool, or the plan was made from other data.
        """
        self.check(train, pool)
        rows = self.rows_of(pool, [name for name in train.column_names if name != ROW])
        train = train.select_columns(rows.column_names)
        both = concatenate_datasets([train, _with_features(rows, train.features)])
        return both.select(self.final(np.arange(len(train)), len(train) + np.arange(len(self))))

    def attach(self, train: Dataset, pool: Source | None = None) -> Dataset:
        """The training set for a `SemanticFilterCollator`: with the int column `row`, and the final set's distances.

        What the weights are made from belongs to the final set, so that they do too: `distance`, and with `pool` also
        `weight`, `old_answer`, `target` and `aliases`. Without `pool` a column `weight` is left out, which is logged.
        """
        self.check(train, pool)
        columns: dict[str, object] = {ROW: np.arange(len(train))}
        if "distance" in train.column_names:  # what was removed may be replaced already: the same twice
            columns["distance"] = self.final(Columns(train, "train").numbers("distance"), self.added_distances)
        if pool is not None:
            names = [n for n in WEIGHED if n in train.column_names and n in Columns(pool, "pool").names]
            final = self.apply(train, pool).select_columns(names) if names else None
            columns |= {name: final[name][:] for name in names}
        elif "weight" in train.column_names:
            logger.info("`weight` is left out: attach(train, pool) takes it from the final set")
            train = train.remove_columns("weight")
        kinds = {name: train.features[name] for name in columns if name in train.column_names}
        train = replace_columns(train, columns)
        return _with_features(train, Features({**train.features, **kinds}))

    def rows_of(self, pool: Source, names: list[str]) -> Dataset:
        """The added rows of the pool, in swap order, with these columns."""
        columns = Columns(pool, "pool")
        columns.require(names, "Pool rows need every column of the training set: prepare both in the same way.")
        return columns.take(self.added).select_columns(names)

    def check(self, train: Dataset, pool: Source | None = None) -> None:
        """Raise a `ValueError` where the plan was made from another training set or pool."""
        require_dataset(train, "train")
        self._check("train", Columns(train, "train"), ("train", "final"))
        if pool is not None:
            self._check("pool", Columns(pool, "pool"), ("pool",))

    def _check(self, name: str, columns: Columns, known: tuple[str, ...]) -> None:
        fix = "Apply it to the data it was made from, rows in the same order, or make a new plan."
        if len(columns) != self.sizes[name]:
            raise ValueError(
                f"`{name}` has {len(columns)} rows, but the plan was made from one with {self.sizes[name]}. {fix}"
            )
        if "distance" in columns.names:
            found = fingerprint(columns.numbers("distance"))
            if found not in [self.fingerprints[key] for key in known]:
                raise ValueError(f"`{name}` has other distances than the plan was made from. {fix}")

    def save(self, path: str | Path) -> Path:
        """Write the plan, as JSON or Parquet by the ending, whole or not at all; `FilterPlan.load` reads it."""
        from .plan_files import write_plan

        return write_plan(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> "FilterPlan":
        """Read a plan that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it holds no plan.
        """
        from .plan_files import read_plan

        return read_plan(Path(path))


def _with_features(dataset: Dataset, features: Features) -> Dataset:
    return dataset if dataset.features == features else dataset.cast(features)


def json_range(mean_range: tuple[float, float]) -> list[float | None]:
    """Bounds as JSON knows them: null where there is none."""
    return [bound if math.isfinite(bound) else None for bound in mean_range]
