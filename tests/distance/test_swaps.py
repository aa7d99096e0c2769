"""The O(log) search makes the swaps of a brute-force joint search, one by one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_trainer.distance import joint_swap, remaining
from semantic_trainer.distance.remaining import Remaining, sorted_order
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
    originals, members, wanted, start, width, weight = instance[:6]
    wanted = min(wanted, len(originals))
    low, high = bounds(originals, start, width) if bounded else (-math.inf, math.inf)
    train, pool = np.array(originals) / GRID, np.array(members) / GRID
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joint_swap, "SINGLY", instance[6])
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


@pytest.mark.parametrize("examples", [150, pytest.param(1500, marks=pytest.mark.slow)])
def test_variance_with_bounds(examples: int) -> None:
    @settings(max_examples=examples, deadline=None)
    @given(INSTANCES)
    def search(instance: tuple) -> None:
        check(instance, "variance")

    search()


@pytest.mark.parametrize("examples", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_standard_deviation_with_bounds(examples: int) -> None:
    @settings(max_examples=examples, deadline=None)
    @given(INSTANCES)
    def search(instance: tuple) -> None:
        check(instance, "std")

    search()


@pytest.mark.parametrize("examples", [70, pytest.param(700, marks=pytest.mark.slow)])
def test_without_bounds(examples: int) -> None:
    @settings(max_examples=examples, deadline=None)
    @given(INSTANCES, st.sampled_from(["variance", "std"]))
    def search(instance: tuple, spread: str) -> None:
        check(instance, spread, bounded=False)

    search()


def float_brute_force(
    train: np.ndarray, pool: np.ndarray, wanted: int, low: float, high: float, weight: float
) -> tuple:
    """The same for any numbers, variance, in float64: all pairs at once."""
    n, left, used, removed, added = len(train), np.ones(len(train), bool), np.zeros(len(pool), bool), [], []
    current = train.copy()
    for _ in range(wanted):
        means = current.mean() + (pool[None] - train[:, None]) / n
        squares = (current**2).mean() + (pool[None] ** 2 - train[:, None] ** 2) / n
        objective = means - weight * (squares - means**2)
        allowed = left[:, None] & ~used[None] & (low < means) & (means < high)
        objective[~allowed] = np.inf
        i, j = np.unravel_index(objective.argmin(), objective.shape)
        if not objective[i, j] < current.mean() - weight * current.var() - 1e-12:
            break
        current[i], left[i], used[j] = pool[j], False, True
        removed.append(int(i))
        added.append(int(j))
    return removed, added


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("width", "weight"), [(9.0, 1.0), (0.02, 1.0), (0.002, 3.0), (0.004, 0.0)])
def test_any_numbers_and_longer_scans(seed: int, width: float, weight: float) -> None:
    rng = np.random.default_rng(seed)
    train, pool = rng.beta(4, 2, 60) * 1.3, rng.beta(3, 2, 150) * 1.3
    low, high = train.mean() - width, train.mean() + width
    found = find_swaps(train, pool, 40, (low, high), weight)
    assert (found.removed, found.added) == float_brute_force(train, pool, 40, low, high, weight)
    assert all(low < mean < high for mean in found.mean)


@pytest.mark.parametrize("most", [remaining.MOST_REPAIRS, 0])
def test_the_order_is_a_stable_sorts(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remaining, "PACKED", 2)
    monkeypatch.setattr(remaining, "MOST_REPAIRS", most)
    rng = np.random.default_rng(0)
    near = 1.0 + rng.integers(0, 50, 3000) * 2.0**-52  # the grid does not tell them apart
    for values in (rng.uniform(0, 2, 5000), rng.integers(0, 9, 5000) / 8, np.r_[near, 0.0, 2.0, near], np.ones(9)):
        assert sorted_order(values).tolist() == np.argsort(values, kind="stable").tolist()


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=40),
    st.lists(st.integers(0, 39), unique=True),
    st.integers(0, 39),
    st.integers(0, 39),
)
def test_what_remains_is_what_a_list_would_say(values: list[int], gone: list[int], first: int, last: int) -> None:
    remaining = Remaining(np.array(values, float))
    order = sorted(range(len(values)), key=lambda i: (values[i], i))
    left = [i for i in range(len(values)) if i not in gone]
    for position in filter(lambda p: p < len(values), gone):
        remaining.remove(position)
    first, last = min(first, len(values) - 1), min(last, len(values) - 1)
    assert remaining.next(first) == next((p for p in left if p >= first), len(values))
    assert remaining.previous(first) == next((p for p in reversed(left) if p <= first), -1)
    assert remaining.next_all(np.array([first, last])).tolist() == [remaining.next(first), remaining.next(last)]
    assert remaining.previous_all(np.array([first])).tolist() == [remaining.previous(first)]
    assert remaining.those_left(0, len(values) - 1).tolist() == left
    inside = [order[p] for p in left if first <= p <= last]
    assert remaining.lowest(first, last) == min(inside, default=remaining.gone)
