"""One step of Eq. 4's greedy search: the best joint swap that keeps the mean within its bounds, exactly."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator

import numpy as np

from .objective import Moments
from .remaining import Remaining

SINGLY = 8  # pairs at a bound tried one by one before arrays take over
LEAST_AT_ONCE, MOST_AT_ONCE = 64, 1 << 16


class JointSwap:
    """Finds the best swap, a leaves and b enters, with `low < b - a < high`.

    The n-fold change of the objective, `D(a, b)`, is concave in b and convex in a. So the best b for an a is at an end
    of what is feasible for it: the lowest or highest of the pool, whose best a is a neighbour of a closed form, or the
    one next to a bound. On a bound itself D is monotone in a, and no smaller next to it; so a is scanned from its good
    end, until not even the bound itself reaches the best found.

    Args:
        originals, pool: what is left of both.
        moments: of the set as it is now.
        low, high: what `b - a` must lie between, strictly.
        limit: D must be below it.
        tolerance: swaps whose D differ by no more are tied.
    """

    def __init__(
        self,
        originals: Remaining,
        pool: Remaining,
        moments: Moments,
        low: float,
        high: float,
        limit: float,
        tolerance: float,
    ) -> None:
        self.originals, self.pool, self.moments = originals, pool, moments
        self.low, self.high, self.limit, self.tolerance = low, high, limit, tolerance
        self.change, self.found, self.scanned = moments.change(), math.inf, 0

    def find(self) -> tuple[int, int] | None:
        """Positions of the best swap, or `None`; of those tied the lowest original, then the lowest of the pool."""
        left, pool = self.originals, self.pool
        self.first, self.last = left.next(0), left.previous(left.size - 1)
        self.ends = pool.next(0), pool.previous(pool.size - 1)
        if self.first > self.last or self.ends[0] > self.ends[1]:
            return None
        lowest, highest = (pool.values[end] for end in self.ends)
        from_ends = list(filter(None, map(self._from_end, {lowest, highest})))
        # the bounds cut the pool for some a; for the others the pool's own end is the end of what is feasible
        edges = []
        if lowest - left.values[self.last] <= self.low:
            edges += self._along_edge(True, lowest, highest)
        if highest - left.values[self.first] >= self.high:
            edges += self._along_edge(False, lowest, highest)
        if not self.found < self.limit:
            return None
        bar = self._bar()
        tied = [left.lowest(*self._stretch(*end, bar)) for end in from_ends if end[1] <= bar]
        tied += [left.index(a) for change, a in edges if change <= bar]
        a = left.position(min(tied))
        return a, self._entering(left.values[a], bar)

    def _bar(self) -> float:
        """What a swap must not exceed to be the best or tied with it."""
        return min(self.found + self.tolerance, self.limit)

    def _from_end(self, b: float) -> tuple[float, float, int, int, int, float, float] | None:
        """For an end of the pool: b, D, the best a, the first and last for which it is feasible, and D's lowest point
        and curvature over all real a."""
        values, first, last = self.originals.values, self.first, self.last
        if b - values[first] >= self.high:
            first = bisect_right(values, -self.high, first, last + 1, key=lambda a: a - b)
        if first <= last and b - values[last] <= self.low:
            last = bisect_left(values, -self.low, first, last + 1, key=lambda a: a - b) - 1
        if first > last:
            return None
        lowest, curvature = self.moments.best_leaving(b)
        middle = bisect_left(values, lowest, first, last + 1)
        near = self.originals.next(middle), self.originals.previous(middle - 1)
        tried = [(self.change(values[a], b), a) for a in near if first <= a <= last]
        if not tried:
            return None
        change, a = min(tried)
        self.found = min(self.found, change)
        return b, change, a, first, last, lowest, curvature

    def _stretch(
        self, b: float, change: float, a: int, first: int, last: int, lowest: float, curvature: float, bar: float
    ) -> tuple[int, int]:
        """First and last of the positions around a whose swap for b is within the bar.

        A parabola through the lowest point tells about where they are; what it tells is checked.
        """
        values, changes = self.originals.values, self.change

        def within(position: int) -> bool:
            return changes(values[position], b) <= bar

        if not 0 < curvature < math.inf:
            return reach(within, a, first), reach(within, a, last)
        width = math.sqrt(max(2 * (bar - changes(lowest, b)) / curvature, 0.0))
        start = min(bisect_left(values, lowest - width, first, last + 1), a)
        stop = max(bisect_right(values, lowest + width, first, last + 1) - 1, a)
        if not (within(start) and (start == first or not within(start - 1))):
            start = reach(within, a, first)
        if not (within(stop) and (stop == last or not within(stop + 1))):
            stop = reach(within, a, last)
        return start, stop

    def _entering(self, a: float, bar: float) -> int:
        """Position of the lowest of the pool whose swap for a is within the bar: from either end to the hump."""
        pool, values, changes, rises = self.pool, self.pool.values, self.change, self.moments.rises
        first, last, tied = self._next_to_low(a), self._next_to_high(a), []
        for start, end, uphill in ((first, last, True), (last, first, False)):
            if changes(a, values[start]) > bar:
                continue
            near = pool.next(start + 1) if uphill else pool.previous(start - 1)
            if not first <= near <= last or changes(a, values[near]) > bar:
                tied.append((start, start))
            elif rises(a, values[start]) != uphill:
                tied.append((first, last))
            else:

                def within(p: int, uphill: bool = uphill) -> bool:
                    return changes(a, values[p]) <= bar and rises(a, values[p]) == uphill

                stop = reach(within, start, end)
                tied.append((min(start, stop), max(start, stop)))
        if len(tied) == 1 and tied[0][0] == tied[0][1]:
            return tied[0][0]
        return pool.position(min(pool.lowest(*stretch) for stretch in tied))

    def _next_to_low(self, a: float) -> int:
        """Position of the first b with `b - a > low`."""
        values, (first, last) = self.pool.values, self.ends
        if values[first] - a > self.low:
            return first
        return self.pool.next(bisect_right(values, self.low, first, last + 1, key=lambda b: b - a))

    def _next_to_high(self, a: float) -> int:
        """Position of the last b with `b - a < high`."""
        values, (first, last) = self.pool.values, self.ends
        if values[last] - a < self.high:
            return last
        return self.pool.previous(bisect_left(values, self.high, first, last + 1, key=lambda b: b - a) - 1)

    def _along_edge(self, lower: bool, lowest: float, highest: float) -> list[tuple[float, int]]:
        """(D, a) of swaps next to a bound that are the best or tied with it so far, a the first of its equals."""
        values, edge = self.originals.values, self.low if lower else self.high
        bisect = bisect_left if lower else bisect_right
        first = bisect(values, -edge, self.first, self.last + 1, key=lambda a: a - lowest)
        last = bisect(values, -edge, first, self.last + 1, key=lambda a: a - highest) - 1
        kept: list[tuple[float, int]] = []
        backwards = self.moments.weight * edge > 0  # larger a are the better ones on the bound
        for number, a in enumerate(self._blocks(first, last, backwards)):
            if self.change(values[a], values[a] + edge) > self._bar():
                break
            if number == SINGLY:
                self._along_rest(lower, edge, (first, a) if backwards else (a, last), backwards, kept)
                break
            self.scanned += 1
            self._try(lower, a, kept)
        return kept

    def _blocks(self, first: int, last: int, backwards: bool) -> Iterator[int]:
        """The first position left of every block of equal values, from one end."""
        left, values = self.originals, self.originals.values
        at = left.previous(last) if backwards else left.next(first)
        while first <= at <= last:
            start = left.first_alike(at) if backwards else at
            yield start
            at = left.previous(start - 1) if backwards else left.next(bisect_right(values, values[at]))

    def _try(self, lower: bool, a: int, kept: list[tuple[float, int]]) -> None:
        """Evaluate the swap of an a for the b next to a bound."""
        value = self.originals.values[a]
        b = self._next_to_low(value) if lower else self._next_to_high(value)
        if 0 <= b < self.pool.size and self.low < self.pool.values[b] - value < self.high:
            change = self.change(value, self.pool.values[b])
            if change <= self._bar():
                self.found = min(self.found, change)
                kept.append((change, a))

    def _along_rest(
        self, lower: bool, edge: float, stretch: tuple[int, int], backwards: bool, kept: list[tuple[float, int]]
    ) -> None:
        """The rest of a long scan, in arrays that grow; of each array those near its best are tried singly."""
        (first, last), size = stretch, LEAST_AT_ONCE
        while first <= last:
            start, stop = (max(first, last - size + 1), last) if backwards else (first, min(last, first + size - 1))
            first, last = (first, start - 1) if backwards else (stop + 1, last)
            size = min(2 * size, MOST_AT_ONCE)
            positions = self.originals.those_left(start, stop)
            a = self.originals.sorted[positions]
            reached = self.moments.changes(a, a + edge) <= self._bar() + self.tolerance
            if len(a) and not reached.any():
                return
            positions, a = positions[reached], a[reached]
            self.scanned += len(a)
            changes, unsure = self._changes_along(lower, a, edge)
            bar = min(changes.min(initial=math.inf) + self.tolerance, self._bar()) + self.tolerance
            for position in positions[unsure | (changes <= bar)].tolist():
                if self.originals.first_alike(position) == position:
                    self._try(lower, position, kept)

    def _changes_along(self, lower: bool, a: np.ndarray, edge: float) -> tuple[np.ndarray, np.ndarray]:
        """For each a the D of the swap next to a bound, infinite where there is none, and where rounding decides."""
        pool = self.pool
        if lower:
            b = pool.next_all(np.searchsorted(pool.sorted, a + edge, side="right"))
        else:
            b = pool.previous_all(np.searchsorted(pool.sorted, a + edge, side="left") - 1)
        there = (b >= 0) & (b < pool.size)
        values = pool.sorted[np.where(there, b, 0)]
        t = values - a
        feasible = there & (t > self.low) & (t < self.high)
        unsure = there & (t <= self.low if lower else t >= self.high)
        return np.where(feasible, self.moments.changes(a, values), math.inf), unsure


def reach(holds: Callable[[int], bool], start: int, end: int) -> int:
    """The farthest position from `start`, where it holds, towards `end` before the first where it does not."""
    way, far = (1, end - start) if end >= start else (-1, start - end)
    good, step = 0, 1
    while good < far:
        bad = min(good + step, far)
        if not holds(start + way * bad):
            break
        good, step = bad, 2 * step
    else:
        return end
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(start + way * middle) else (good, middle)
    return start + way * good
