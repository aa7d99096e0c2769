"""Eq. 4: replace part of a training set by facts of a pool, so that its distances are smaller and wider spread."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..facts.messages import suggest
from . import exclusion
from .columns import Columns
from .filter_inputs import Distances, check_mask, describe_added, need, read_distances
from .filter_plan import FilterPlan, fingerprint, json_range
from .objective import SPREADS
from .swaps import Swaps, find_swaps


@dataclass
class SemanticFilter:
    """Greedy swaps that minimise `mean(d) - spread_weight * spread(d)` with the mean within bounds.

    Eq. 4 of "Semantic are Beacons" (Findings of ACL 2024). Each step makes the best of all swaps of one original fact
    for one of the pool, found exactly in O(log) time; what was added stays, what was removed does not return. By
    concavity only extremes of the pool enter: facts near distance 0 (often known already) or at 1 and above (often
    empty or truncated answers, which is why those are excluded).

    Args:
        mean_range: (mean_min, mean_max), what the mean distance must lie between, strictly; `None` for no bounds.
        spread_weight: at least 0.
        replace_share: `round(replace_share * n)` facts are replaced, or fewer where none is left that helps.
        spread: `variance` (population, ddof 0) or `std`, of raw distances.
        exclude_known: keep facts out that the base model knows; needs `old_answer` and `target`.
        exclude_flagged: keep facts out whose old answer is empty or truncated, or has the target's tokens permuted;
            where the pool has no old answers there is nothing to tell them by.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> plan = SemanticFilter((0.2, 0.8)).plan(train, pool, exclude_ids=test["fact_id"])
        >>> final = plan.apply(train, pool)
    """

    mean_range: tuple[float, float] | None
    spread_weight: float = 1.0
    replace_share: float = 0.6
    spread: str = "variance"
    exclude_known: bool = False
    exclude_flagged: bool = True

    def __post_init__(self) -> None:
        given = self.mean_range
        bounds = (-math.inf, math.inf) if given is None else tuple(given) if isinstance(given, Iterable) else (given,)
        numbers = all(isinstance(b, (int, float, np.number)) for b in bounds)
        if len(bounds) != 2 or not numbers or not bounds[0] < bounds[1]:
            raise ValueError(
                f"`mean_range` must be two numbers, the smaller first, but {self.mean_range!r} was passed: no "
                "mean lies strictly between them."
            )
        self._bounds = tuple(map(float, bounds))
        if not 0 <= self.replace_share <= 1:
            raise ValueError(f"`replace_share` must be from 0 to 1, but {self.replace_share!r} was passed")
        if not (math.isfinite(self.spread_weight) and self.spread_weight >= 0):
            raise ValueError(
                f"`spread_weight` must be a finite number of at least 0, but {self.spread_weight!r} was passed"
            )
        if self.spread not in SPREADS:
            raise ValueError(
                f"`spread` {self.spread!r} is unknown.{suggest(str(self.spread), SPREADS)} Use {', '.join(SPREADS)}."
            )

    def plan(
        self,
        train: Distances,
        pool: Distances,
        pool_exclude: Sequence[bool] | np.ndarray | None = None,
        exclude_ids: Collection[str] = (),
    ) -> FilterPlan:
        """Decide the swaps.

        Args:
            train, pool: raw distances; or datasets, or paths of Parquet files, with a column `distance`, of which
                only the columns needed are read, batch by batch. With `prompt`, facts of the pool whose prompt is
                taught already, or stands in an earlier row of the pool, never enter.
            pool_exclude: (m,) bool, rows of the pool that must not enter.
            exclude_ids: values of `fact_id` that must not enter: those of the evaluation set, of `train`.

        Raises:
            ValueError: no rows; distances that are negative, NaN or infinite; facts in both sets that are not
                excluded; a missing column; or bounds that no swaps can meet, with the nearest mean that they reach.
        """
        (train, train_columns), (pool, pool_columns) = read_distances(train, "train"), read_distances(pool, "pool")
        keep, excluded = self._exclude(len(pool), pool_columns, train_columns, pool_exclude, exclude_ids)
        if not keep.any():
            reasons = ", ".join(f"{reason} {count}" for reason, count in excluded.items() if count)
            raise ValueError(f"`pool` has no row that may enter: of {len(pool)} are kept out: {reasons}.")
        wanted = round(self.replace_share * len(train))
        rows = None if keep.all() else np.flatnonzero(keep)
        entering = pool if rows is None else pool[rows]
        self._check_reachable(train, entering, wanted)
        swaps = self._find(train, entering, wanted)
        if swaps.stopped == "infeasible" and self._bounds != (-math.inf, math.inf):
            raise ValueError(self._unreachable(swaps.mean[-1], "the swaps reach"))
        removed, added = (np.array(indices, np.int64) for indices in (swaps.removed, swaps.added))
        added = added if rows is None else rows[added].astype(np.int64)
        final = train.copy()
        final[removed] = pool[added]
        return FilterPlan(
            removed=removed,
            added=added,
            added_distances=pool[added],
            objective=np.array(swaps.objective),
            mean=np.array(swaps.mean),
            spread=np.array(swaps.spread),
            wanted_share=float(self.replace_share),
            stopped=swaps.stopped,
            settings=self._settings(),
            sizes={"train": len(train), "pool": len(pool)},
            fingerprints={"train": fingerprint(train), "pool": fingerprint(pool), "final": fingerprint(final)},
            excluded=excluded,
            shares=describe_added(pool_columns, added, pool[added]),
            scanned=swaps.scanned,
        )

    def _find(self, train: np.ndarray, pool: np.ndarray, wanted: int) -> Swaps:
        return find_swaps(train, pool, wanted, self._bounds, float(self.spread_weight), self.spread)

    def _settings(self) -> dict[str, object]:
        return {
            "filter": type(self).__name__,
            "mean_range": json_range(self._bounds),
            "spread_weight": float(self.spread_weight),
            "replace_share": float(self.replace_share),
            "spread": self.spread,
            "exclude_known": self.exclude_known,
            "exclude_flagged": self.exclude_flagged,
        }

    def _exclude(
        self,
        size: int,
        pool: Columns | None,
        train: Columns | None,
        mask: Sequence[bool] | np.ndarray | None,
        ids: Collection[str],
    ) -> tuple[np.ndarray, dict[str, int]]:
        """(m,) bool, what may enter, and how many rows each reason keeps out."""
        keep, excluded = np.ones(size, bool), {}

        def leave_out(reason: str, rows: np.ndarray) -> None:
            excluded[reason] = int((keep & rows).sum())
            keep[rows] = False

        if mask is not None:
            leave_out("pool_exclude", check_mask(mask, size))
        names = pool.names if pool else []
        if len(ids):
            if isinstance(ids, str):
                raise TypeError(f"`exclude_ids` must be a list of ids, but the text {ids!r} was passed: [{ids!r}]")
            need(pool, ["fact_id"], "`exclude_ids`")
            leave_out("exclude_ids", exclusion.has_id(pool, ids))
        if "fact_id" in names and train and "fact_id" in train.names:
            exclusion.check_overlap(pool, train, ids)
        if self.exclude_known:
            need(pool, ["old_answer", "target"], "`exclude_known`")
            leave_out("known", exclusion.is_known(pool))
        if self.exclude_flagged and {"old_answer", "old_answer_truncated"} & set(names):
            leave_out("flagged", exclusion.is_flagged(pool))
        if "prompt" in names:
            if train and "prompt" in train.names:
                leave_out("prompt is taught", exclusion.is_taught(pool, train))
            leave_out("repeats a prompt", exclusion.is_repeated(pool, keep))
        return keep, excluded

    def _check_reachable(self, train: np.ndarray, pool: np.ndarray, wanted: int) -> None:
        """Raise a `ValueError` where not even the most extreme swaps bring the mean within its bounds."""
        low, high = self._bounds
        mean, k = train.mean(), min(wanted, len(pool))
        least = most = mean
        if not low < mean < high and k:
            originals = np.sort(train)
            lowest, highest = np.sort(np.partition(pool, k - 1)[:k]), np.sort(np.partition(pool, len(pool) - k)[-k:])
            least = mean + np.minimum(lowest - originals[::-1][:k], 0).sum() / len(train)
            most = mean + np.maximum(highest[::-1] - originals[:k], 0).sum() / len(train)
        if least >= high or most <= low:
            raise ValueError(self._unreachable(least if least >= high else most, f"{k} swaps can reach"))

    def _unreachable(self, nearest: float, who: str) -> str:
        low, high = self._bounds
        return (
            f"`mean_range` ({low:g}, {high:g}) cannot be met: the nearest mean that {who} is {nearest:.6g}. Widen it, "
            "raise `replace_share`, or give a pool with other distances."
        )
