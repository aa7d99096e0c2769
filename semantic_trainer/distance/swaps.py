"""The greedy search of Eq. 4, swap by swap, with its trace."""

import math
from dataclasses import dataclass, field

import numpy as np

from .joint_swap import JointSwap
from .objective import Moments
from .remaining import Remaining

TOLERANCE = 1e-12  # on the objective: less is no improvement, and no difference between two swaps
ROUNDING = 1e-15  # how far inside its bounds a mean must lie, so that float64 sees it there too


@dataclass
class Swaps:
    """What the search found, in swap order; the trace has one more entry than there are swaps, the start.

    Attributes:
        removed, added: indices of originals and of the pool.
        objective, mean, spread: before the first swap and after each.
        stopped: `share` (all that were wanted), `objective` (no swap lowers it), `mean_min` or `mean_max` (the bound
            that forbids the swap that would lower it), `pool` (used up) or `infeasible` (the bounds were not met).
        scanned: pairs at a bound that were looked at.
    """

    removed: list[int] = field(default_factory=list)
    added: list[int] = field(default_factory=list)
    objective: list[float] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    spread: list[float] = field(default_factory=list)
    stopped: str = "share"
    scanned: int = 0

    def note(self, moments: Moments) -> None:
        """Put where the moments are now at the end of the trace."""
        self.objective.append(moments.objective)
        self.mean.append(moments.mean)
        self.spread.append(moments.spread_value)


def find_swaps(
    train: np.ndarray,
    pool: np.ndarray,
    wanted: int,
    mean_range: tuple[float, float] = (-math.inf, math.inf),
    spread_weight: float = 1.0,
    spread: str = "variance",
) -> Swaps:
    """Up to `wanted` greedy swaps, each the best of all pairs of an original and a member of the pool (Eq. 4).

    Args:
        train: (n,) float64 distances, n at least 1.
        pool: (m,) float64 distances that may enter.
        mean_range: what the mean must lie between, strictly; infinite for no bound.
    """
    originals, left = Remaining(train), Remaining(pool)
    moments, swaps = Moments(train, spread_weight, spread), Swaps()
    swaps.note(moments)
    while len(swaps.removed) < wanted:
        swap = "pool" if len(swaps.added) == len(pool) else _next_swap(originals, left, moments, mean_range, swaps)
        if isinstance(swap, str):
            swaps.stopped = swap
            break
        a, b = swap
        swaps.removed.append(originals.index(a))
        swaps.added.append(left.index(b))
        moments.swap(originals.values[a], left.values[b])
        originals.remove(a)
        left.remove(b)
        swaps.note(moments)
    if not mean_range[0] < moments.mean < mean_range[1]:
        swaps.stopped = "infeasible"
    return swaps


def _next_swap(
    originals: Remaining, pool: Remaining, moments: Moments, mean_range: tuple[float, float], swaps: Swaps
) -> tuple[int, int] | str:
    """Positions of the swap to make, or why there is none."""
    tolerance, inside = TOLERANCE * moments.n, ROUNDING * moments.n
    rooms = low, high = moments.room(mean_range[0]), moments.room(mean_range[1])
    low += inside * max(1.0, abs(mean_range[0])) if low > -math.inf else 0.0
    high -= inside * max(1.0, abs(mean_range[1])) if high < math.inf else 0.0
    met = low < 0 < high
    step = JointSwap(originals, pool, moments, low, high, -tolerance if met else math.inf, tolerance)
    found = step.find()
    swaps.scanned += step.scanned
    if found:
        return found
    if not met:
        return nearest_to_bounds(originals, pool, moments, *rooms) or "infeasible"
    free = JointSwap(originals, pool, moments, -math.inf, math.inf, -tolerance, tolerance).find()
    if free is None:
        return "objective"
    return "mean_min" if pool.values[free[1]] - originals.values[free[0]] <= low else "mean_max"


def nearest_to_bounds(
    originals: Remaining, pool: Remaining, moments: Moments, low: float, high: float
) -> tuple[int, int] | None:
    """Where no swap meets the bounds: the one that comes nearest, then the best of those that come as near.

    `None` where it is not nearer, by more than the tolerance, than the set is now.
    """
    there = max(low, -high, 0.0)
    if there <= TOLERANCE * moments.n:
        return None
    lowest, highest = (pool.values[p] for p in (pool.next(0), pool.previous(pool.size - 1)))
    ends = originals.next(0), originals.previous(originals.size - 1)
    smallest, largest = (originals.values[p] for p in ends)
    if lowest - largest >= high:  # every swap leaves the mean too high
        pairs = [(largest, lowest)]
    elif highest - smallest <= low:
        pairs = [(smallest, highest)]
    else:
        pairs = _around(originals, pool, low, high)
    past = [max(low - (b - a), (b - a) - high, 0.0) for a, b in pairs]
    if not pairs or min(past) >= there - TOLERANCE * moments.n:
        return None
    near = [pair for pair, far in zip(pairs, past, strict=True) if far == min(past)]
    change = moments.change()
    best = min(change(*pair) for pair in near) + TOLERANCE * moments.n
    positions = [
        tuple(
            side.next(np.searchsorted(side.sorted, value).item())
            for side, value in zip((originals, pool), pair, strict=True)
        )
        for pair in near
        if change(*pair) <= best
    ]
    return min(positions, key=lambda pair: (originals.index(pair[0]), pool.index(pair[1])))


def _around(originals: Remaining, pool: Remaining, low: float, high: float) -> list[tuple[float, float]]:
    """Values of the pairs nearest to the bounds, where some leave the mean below and others above them."""
    a = originals.sorted[originals.those_left(0, originals.size - 1)]
    below = pool.previous_all(np.searchsorted(pool.sorted, a + low, side="right") - 1)
    above = pool.next_all(np.searchsorted(pool.sorted, a + high, side="left"))
    sides = ((below, below >= 0), (above, above < pool.size))
    pairs = [(x, pool.sorted[at[there]]) for at, there in sides for x in [a[there]]]
    a, b = (np.concatenate(side) for side in zip(*pairs, strict=True))
    past = np.maximum(low - (b - a), (b - a) - high)
    nearest = past == past.min()
    return list(zip(a[nearest].tolist(), b[nearest].tolist(), strict=True))
