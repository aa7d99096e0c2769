"""Which facts a run is about: draws that depend on nothing but pool, seed and the run's number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..facts.messages import suggest

PROTOCOLS = ("multi", "single")
EVERY = "all"  # the one group of random sampling


@dataclass(frozen=True)
class Draw:
    """One run's facts and randomness, shared by all arms: what makes them paired.

    Attributes:
        group: name of the group of distances drawn from; `all` under random sampling.
        run: its number, from 0.
        seed: of adapter, order of the facts, `shuffled` weights and random replacement.
    """

    group: str
    run: int
    seed: int

    @property
    def name(self) -> str:
        """`0003`, or `short-0003`: the name of its files."""
        return f"{self.run:04d}" if self.group == EVERY else f"{self.group}-{self.run:04d}"


def draws(groups: Sequence[str], runs: int, seed: int) -> list[Draw]:
    """All runs of a study: group by group in turn, so that an unfinished study has as many of each.

    Run `i` has seed `seed + i` in every group; more runs later leave these as they are.

    Example:
        >>> [draw.name for draw in draws(["short", "long"], 2, seed=0)]
        ['short-0000', 'long-0000', 'short-0001', 'long-0001']
    """
    return [Draw(group, run, seed + run) for run in range(runs) for group in groups or [EVERY]]


def facts_per_run(protocol: str, size: int) -> int:
    """`size` facts a run under `multi`, one under `single`.

    Raises:
        ValueError: an unknown protocol, or a size below 1.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"`protocol` {protocol!r} is unknown.{suggest(protocol, PROTOCOLS)} Use multi or single.")
    if size < 1:
        raise ValueError(f"`facts_per_run` must be at least 1, but {size} was passed")
    return 1 if protocol == "single" else size


def parse_groups(texts: Sequence[str] | None) -> dict[str, tuple[float, float]]:
    """`["short=0.1:0.3", "medium=0.3:0.6"]` -> name -> (low, high), for stratified sampling; none for random sampling.

    Raises:
        ValueError: an entry is not of the form NAME=LOW:HIGH with LOW below HIGH, or a name comes twice.
    """
    groups: dict[str, tuple[float, float]] = {}
    for text in texts or ():
        name, _, bounds = text.partition("=")
        try:
            low, high = map(float, bounds.split(":"))
        except ValueError:
            low = high = 0.0
        if not name.isidentifier() or name == EVERY or not low < high or name in groups:
            raise ValueError(f"`groups` entries look like short=0.1:0.3, each name once, but {text!r} was passed")
        groups[name] = (low, high)
    return groups


def members(distances: Sequence[float], groups: Mapping[str, tuple[float, float]]) -> dict[str, np.ndarray]:
    """Rows of the pool in each group, `low <= distance < high`; all of them where there are no groups.

    Example:
        >>> members([0.2, 0.5, 0.1], {"short": (0.0, 0.3)})["short"].tolist()
        [0, 2]
    """
    d = np.asarray(distances, dtype=float)
    if not groups:
        return {EVERY: np.arange(len(d))}
    return {name: np.flatnonzero((low <= d) & (d < high)) for name, (low, high) in groups.items()}


def check_groups(rows: Mapping[str, np.ndarray], size: int, pool: int) -> None:
    """Raise a `ValueError` where a group, of a pool of so many facts, has fewer facts than one run needs."""
    check_pool(pool, size)
    for name, found in rows.items():
        if len(found) < size:
            counts = ", ".join(f"{group} {len(its)}" for group, its in rows.items())
            raise ValueError(
                f"`facts_per_run` is {size}, but group {name!r} has {len(found)} facts (of {pool}: {counts}). Lower "
                "it, give more `facts`, or widen the group."
            )


def check_pool(pool: int, size: int) -> None:
    """Raise a `ValueError` where a pool of so many facts is too small for one run."""
    if pool < size:
        raise ValueError(f"`facts_per_run` is {size}, but the pool has {pool} facts. Lower it, or give more `facts`.")


def draw_rows(rows: np.ndarray, size: int, run: int, seed: int) -> np.ndarray:
    """The (size,) rows of one run, drawn from `rows` without repeats.

    The rows are dealt out in a random order, `size` at a time, and shuffled anew once fewer than `size` are left: runs
    share no fact for as long as the pool allows it. A run's draw depends on no other run.

    Example:
        >>> first, second = (draw_rows(np.arange(6), 3, run, seed=0) for run in (0, 1))
        >>> sorted([*first, *second]) == list(range(6))
        True
    """
    deal, place = divmod(run, len(rows) // size)
    order = np.random.default_rng([seed, deal]).permutation(rows)
    return order[place * size : (place + 1) * size]


def overlap(drawn: Sequence[np.ndarray]) -> float:
    """Share of all facts taught that an earlier run was taught too; 0 where draws are disjoint.

    Example:
        >>> overlap([np.array([0, 1]), np.array([1, 2])])
        0.25
    """
    flat = np.concatenate(drawn) if len(drawn) else np.array([], dtype=int)
    return 1 - len(np.unique(flat)) / len(flat) if len(flat) else 0.0
