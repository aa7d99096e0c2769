"""The O(log) search makes the swaps of a brute-force joint search, one by one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_trainer.distance.remaining import Remaining
from semantic_trainer.distance.swaps import find_swaps

from . import brute_force
from .brute_force import EIGHTHS, GRID


def grid(most: int) -> st.SearchStrategy[list[int]]:
    """Distances in 64ths over [0, 2]: anywhere, or on few values, so that there are repeats and ties."""
    anywhere = st.integers(0, 2 * GRID)
    coarse = st.integers(0, 8).map(lambda k: k * GRID // 4)
    few = st.sampled_from([0, 1, 40, 64, 65])
    return st.one_of(*(st.lists(values, min_size=1, max_size=most) for values in (anywhere, coarse, few)))


@st.composite
def instances(draw: st.DrawFn) -> dict:
    train, pool = draw(grid(6)), draw(grid(8))
    near = sum(train) * 4 // len(train)  # bounds close to the mean bind at once
    anywhere = st.integers(-GRID, 8 * GRID)
    low = draw(st.one_of(anywhere, st.sampled_from([near - 40, near - 6, near - 1, near + 3])))
    return {
        "train": train,
        "pool": pool,
        "wanted": draw(st.integers(0, len(train))),
        "low": low / 4,
        "high": (low + draw(st.one_of(st.sampled_from([1, 2, 5]), st.integers(1, 8 * GRID)))) / 4,
        "weight": draw(st.sampled_from([0, 1, 3, 8, 16, 24, 80])),
    }


def check(case: dict, spread: str, bounded: bool = True) -> None:
    low, high = (case["low"], case["high"]) if bounded else (-math.inf, math.inf)
    train, pool, weight = np.array(case["train"]) / GRID, np.array(case["pool"]) / GRID, case["weight"] / EIGHTHS
    found = find_swaps(train, pool, case["wanted"], (low / GRID, high / GRID), weight, spread)
    expected = brute_force.swaps(case["train"], case["pool"], case["wanted"], low, high, case["weight"], spread)
    assert (found.removed, found.added) == expected[:2]
    assert ("bound" if found.stopped.startswith("mean") else found.stopped) == expected[2]
    final = train.copy()
    for step, (i, j) in enumerate(zip(found.removed, found.added, strict=True), 1):
        final[i] = pool[j]
        size = final.var() if spread == "variance" else final.std()
        trace = [found.mean[step], found.spread[step], found.objective[step]]
        assert trace == pytest.approx([final.mean(), size, final.mean() - weight * size], abs=1e-7)
    assert len(found.mean) == len(found.removed) + 1


@given(instances())
@settings(max_examples=1500, deadline=None)
def test_variance_with_bounds(case: dict) -> None:
    check(case, "variance")


@given(instances())
@settings(max_examples=1000, deadline=None)
def test_standard_deviation_with_bounds(case: dict) -> None:
    check(case, "std")


@given(instances(), st.sampled_from(["variance", "std"]))
@settings(max_examples=700, deadline=None)
def test_without_bounds(case: dict, spread: str) -> None:
    check(case, spread, bounded=False)
