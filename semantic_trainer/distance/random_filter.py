"""RandomFilter: the control that a filter must beat."""

from dataclasses import dataclass

import numpy as np

from .filtering import SemanticFilter
from .objective import Moments
from .swaps import Swaps


@dataclass
class RandomFilter(SemanticFilter):
    """The control of a [`SemanticFilter`]: the same interface, with originals and replacements drawn at random.

    It replaces as many facts as it is told, in any order of distances. With `mean_range`, a draw that would take the
    mean out of it, or farther away from it, is left for another original, and an original that none is left for stays;
    so it may replace fewer. To compare with a filter that stopped early, give its
    `plan.reached_share`.

    Args:
        mean_range, spread_weight, replace_share, spread, exclude_known, exclude_flagged: as there; the objective is
            only traced.
        seed: of the draws.

    Example:
        >>> control = RandomFilter(replace_share=plan.reached_share, seed=1).plan(train, pool)
    """

    mean_range: tuple[float, float] | None = None
    seed: int = 42

    def _settings(self) -> dict[str, object]:
        return {**super()._settings(), "seed": self.seed}

    def _find(self, train: np.ndarray, pool: np.ndarray, wanted: int) -> Swaps:
        return random_swaps(train, pool, wanted, self._bounds, self.spread_weight, self.spread, self.seed)


def random_swaps(
    train: np.ndarray,
    pool: np.ndarray,
    wanted: int,
    mean_range: tuple[float, float],
    spread_weight: float,
    spread: str,
    seed: int,
) -> Swaps:
    """Swaps drawn at random, each original at most once; the trace is Eq. 4's."""
    rng = np.random.default_rng(seed)
    leaving, entering = rng.permutation(len(train)).tolist(), rng.permutation(len(pool))
    moments, swaps, (low, high) = Moments(train, spread_weight, spread), Swaps(), mean_range
    swaps.note(moments)
    for original in leaving:
        if len(swaps.removed) == wanted:
            break
        mean = moments.mean + (pool[entering] - train[original]) / len(train)
        away = max(low - moments.mean, moments.mean - high, 0.0)
        allowed = np.flatnonzero(((low < mean) & (mean < high)) | (np.maximum(low - mean, mean - high) < away))
        if not len(allowed):
            continue  # this one stays
        drawn = int(entering[allowed[0]])
        entering = np.delete(entering, allowed[0])
        moments.swap(float(train[original]), float(pool[drawn]))
        swaps.removed.append(original)
        swaps.added.append(drawn)
        swaps.note(moments)
    if len(swaps.removed) < wanted:
        swaps.stopped = "mean_min" if len(entering) and moments.mean - low < high - moments.mean else "mean_max"
        swaps.stopped = swaps.stopped if len(entering) else "pool"
    if not low < moments.mean < high:
        swaps.stopped = "infeasible"
    return swaps
