"""A sorted array that only loses members: neighbours and the lowest index of a stretch, in O(log) each."""

from bisect import bisect_left

import numpy as np

PACKED = 1 << 16  # values from which on packing pays
MOST_REPAIRS = 10_000


class Remaining:
    """The members of an array that are still there, by position in sorted order.

    Neighbours come from union-find with path compression, the lowest index of a stretch from a segment tree; both are
    flat integer arrays. Equal values stand in the order of their indices, so that the first one left of a block of
    equal values has the lowest index.

    Args:
        values: (N,) float64, finite; a member's index is its place here.

    Attributes:
        size: N.
        values: in sorted order, indexed by position; `sorted` is the same as a numpy array.
        gone: a number above every index.

    Example:
        >>> left = Remaining(np.array([0.5, 0.1, 0.5]))
        >>> left.remove(1)
        >>> left.values.tolist(), left.next(1), left.lowest(0, 2)
        ([0.1, 0.5, 0.5], 2, 0)
    """

    def __init__(self, values: np.ndarray) -> None:
        order = sorted_order(values)
        kind = np.int32 if len(values) < np.iinfo(np.int32).max else np.int64
        self.size, self.gone, self._given = len(values), int(np.iinfo(kind).max), values
        self.sorted = np.take(values, order)
        tree = _minimum_tree(order.astype(kind), self.gone)
        # of a position that is gone: a later, or an earlier one to look at; the latter shifted by one
        self._after, self._before = (np.arange(self.size + 1, dtype=kind) for _ in range(2))
        # Python's numbers, several times faster to index than numpy's
        self.values, self._tree = memoryview(self.sorted), memoryview(tree)
        self._up, self._down = memoryview(self._after), memoryview(self._before)

    def next(self, position: int) -> int:
        """The first position left from `position` on; `size` where there is none."""
        return position if self._up[position] == position else _root(self._up, position)

    def previous(self, position: int) -> int:
        """The last position left up to `position`; -1 where there is none."""
        return position if self._down[position + 1] == position + 1 else _root(self._down, position + 1) - 1

    def next_all(self, positions: np.ndarray) -> np.ndarray:
        """`next` of many positions at once."""
        return _roots(self._after, positions)

    def previous_all(self, positions: np.ndarray) -> np.ndarray:
        """`previous` of many positions at once."""
        return _roots(self._before, positions + 1) - 1

    def those_left(self, first: int, last: int) -> np.ndarray:
        """The positions left among `first` to `last`, both included."""
        return first + np.flatnonzero(self._after[first : last + 1] == np.arange(first, last + 1))

    def index(self, position: int) -> int:
        """The index of a member that is left."""
        return self._tree[self.size + position]

    def position(self, index: int) -> int:
        """The position of a member that is left and has the lowest index of its value."""
        return self.next(bisect_left(self.values, self._given.item(index)))

    def first_alike(self, position: int) -> int:
        """The first position left of the block of equal values around a position."""
        return self.next(bisect_left(self.values, self.values[position]))

    def lowest(self, first: int, last: int) -> int:
        """The lowest index left among the positions `first` to `last`, both included; `gone` where none is left."""
        tree, found = self._tree, self.gone
        left, right = first + self.size, last + self.size + 1
        while left < right:
            if left & 1:
                if tree[left] < found:
                    found = tree[left]
                left += 1
            if right & 1:
                right -= 1
                if tree[right] < found:
                    found = tree[right]
            left >>= 1
            right >>= 1
        return found

    def remove(self, position: int) -> None:
        """Take a member out; it must still be there."""
        self._up[position] = position + 1
        self._down[position + 1] = position
        tree, node = self._tree, position + self.size
        tree[node] = self.gone
        while node > 1:
            node >>= 1
            low, other = tree[2 * node], tree[2 * node + 1]
            if other < low:
                low = other
            if tree[node] == low:
                return
            tree[node] = low


def sorted_order(values: np.ndarray) -> np.ndarray:
    """What a stable `np.argsort` gives, several times faster for millions: (N,) integers.

    Value, rounded to a grid over their range, and index are packed into one integer each; those are sorted, and the
    few values that the grid does not tell apart are put in order afterwards.
    """
    bits = len(values).bit_length()
    low, high = (values.min(), values.max()) if len(values) >= PACKED else (0.0, 0.0)
    if not (high > low and np.isfinite(high - low)):
        return np.argsort(values, kind="stable")
    packed = ((values - low) * ((2.0 ** (63 - bits) - 1) / (high - low))).astype(np.int64)
    packed <<= bits
    packed |= np.arange(len(values))
    packed.sort()
    order = packed & ((1 << bits) - 1)
    packed >>= bits
    ordered = values[order]
    wrong = packed[np.flatnonzero(ordered[1:] < ordered[:-1])]
    cells = np.unique(wrong)
    if len(cells) > MOST_REPAIRS:
        return np.argsort(values, kind="stable")
    for start, stop in zip(*(np.searchsorted(packed, cells, side=side) for side in ("left", "right")), strict=True):
        order[start:stop] = order[start:stop][np.argsort(ordered[start:stop], kind="stable")]
    return order


def _root(parents: memoryview, start: int) -> int:
    root = start
    while (parent := parents[root]) != root:
        root = parent
    while (parent := parents[start]) != root and parent != start:
        parents[start], start = root, parent
    return root


def _roots(parents: np.ndarray, at: np.ndarray) -> np.ndarray:
    while True:
        further = parents[parents[at]]
        if np.array_equal(further, at):
            return at
        parents[at] = further  # halves the way of the next one
        at = further


def _minimum_tree(leaves: np.ndarray, nothing: int) -> np.ndarray:
    """Segment tree of minima over any number of leaves: node i has the children 2i and 2i + 1, leaf i is size + i."""
    size = len(leaves)
    tree = np.full(2 * size, nothing, leaves.dtype)
    tree[size:] = leaves
    stop = size
    while stop > 1:
        start = (stop + 1) // 2
        np.minimum(tree[2 * start : 2 * stop : 2], tree[2 * start + 1 : 2 * stop : 2], out=tree[start:stop])
        stop = start
    return tree
