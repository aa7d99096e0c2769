"""The O(log) search makes the swaps of a brute-force joint search, one by one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_trainer.distance import joint_swap
from semantic_trainer.distance.swaps import find_swaps

from . import brute_force
from .brute_force import EIGHTHS, GRID

# In 64ths over [0, 2]: anywhere, or on few values, so that there are repeats and ties.
VALUES = (st.integers(0, 128), st.integers(0, 8).map(lambda k: 16 * k), st.sampled_from([0, 1, 40, 64, 65]))
INSTANCES = st.tuples(
    st.one_of(*(st.lists(values, min_size=1, max_size=6) for values in VALUES)),
    st.one_of(*(st.lists(values, min_size=1, max_size=8) for values in VALUES)),
    st.integers(1, 6),
    # where the bounds begin, in 256ths: anywhere, or from the mean, so that they bind at once
    st.one_of(st.integers(-64, 512), st.sampled_from(["-40", "-6", "-1", "+3"])),
    st.one_of(st.sampled_from([1, 2, 5]), st.integers(1, 512)),
    st.sampled_from([0, 1, 3, 8, 16, 24, 80]),
    st.sampled_from([0, 8]),  # with 0 the arrays of a long scan take over at once
)


def bounds(train: list[int], start: int | str, width: int) -> tuple[float, float]:
    """In 64ths."""
    low = start if isinstance(start, int) else sum(train) * 4 // len(train) + int(start)
    return low / 4, (low + width) / 4


def check(instance: tuple, spread: str, bounded: bool = True) -> str:
    originals, members, wanted, start, width, weight, joint_swap.SINGLY = instance
    wanted = min(wanted, len(originals))
    low, high = bounds(originals, start, width) if bounded else (-math.inf, math.inf)
    train, pool = np.array(originals) / GRID, np.array(members) / GRID
    found = find_swaps(train, pool, wanted, (low / GRID, high / GRID), weight / EIGHTHS, spread)
    expected = brute_force.swaps(originals, members, wanted, low, high, weight, spread)
    weight /= EIGHTHS
    assert (found.removed, found.added) == expected[:2]
    assert ("bound" if found.stopped.startswith("mean") else found.stopped) == expected[2]
    final = train.copy()
    for step, (i, j) in enumerate(zip(found.removed, found.added, strict=True), 1):
        final[i] = pool[j]
        size = final.var() if spread == "variance" else final.std()
        trace = [found.mean[step], found.spread[step], found.objective[step]]
        assert trace == pytest.approx([final.mean(), size, final.mean() - weight * size], abs=1e-7)
    assert len(found.mean) == len(found.removed) + 1
    return found.stopped


@given(INSTANCES)
@settings(max_examples=1500, deadline=None)
def test_variance_with_bounds(instance: tuple) -> None:
    check(instance, "variance")


@given(INSTANCES)
@settings(max_examples=1000, deadline=None)
def test_standard_deviation_with_bounds(instance: tuple) -> None:
    check(instance, "std")


@given(INSTANCES, st.sampled_from(["variance", "std"]))
@settings(max_examples=700, deadline=None)
def test_without_bounds(instance: tuple, spread: str) -> None:
    check(instance, spread, bounded=False)
