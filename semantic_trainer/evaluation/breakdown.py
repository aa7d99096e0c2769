"""Scores by distance bin and by relation, from a per-fact table."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from ..facts.schema import require_columns
from .statistics import score

BINS = np.linspace(0.0, 1.2, 7)


def _scores(value: object) -> list[float]:
    """A cell as the scores of one fact: a list of them, one, or none."""
    cells = value if isinstance(value, list) else [value]
    return [float(cell) for cell in cells if cell is not None]


def binned(distance: Sequence[float], values: Sequence[object], bins: np.ndarray = BINS) -> list[dict]:
    """Scores by distance bin: `{low, high, value, ci95, n}` a bin; empty bins have `value` `None`, a gap.

    Distances beyond the last edge count in the last bin; facts whose value is `None` or an empty list do not count.

    Example:
        >>> binned([0.1, 0.15], [1.0, 0.0], np.array([0.0, 0.2]))[0]["value"]
        0.5
    """
    rows = [(d, cells) for d, value in zip(distance, values, strict=True) if (cells := _scores(value))]
    where = np.clip(np.digitize([d for d, _ in rows], bins) - 1, 0, len(bins) - 2)
    out = []
    for i, (low, high) in enumerate(zip(bins[:-1], bins[1:], strict=True)):
        found = score([cells for (_, cells), j in zip(rows, where, strict=True) if j == i], "")
        out.append({"low": float(low), "high": float(high), **{k: found[k] for k in ("value", "ci95", "n")}})
    return out


def by_distance(table: Dataset, metric: str = "knowledge_accuracy", bins: np.ndarray = BINS) -> list[dict]:
    """A metric's column of a per-fact table by bins of the distance before training; see `binned`.

    Raises:
        ValueError: the table has no such column.
    """
    require_columns(table, ("distance", metric), "table", "Give the table of `evaluate_facts`.")
    return binned(table["distance"][:], table[metric][:], bins)


def by_relation(table: Dataset, metric: str = "knowledge_accuracy") -> list[dict]:
    """`{relation, value, ci95, n}` a relation, the largest first; facts without one count under "-".

    Raises:
        ValueError: the table has no such column, or no relations.
    """
    require_columns(
        table, ("relation", metric), "table", "Give the table of `evaluate_facts` on facts with relations."
    )
    groups: dict[str, list[list[float]]] = defaultdict(list)
    for relation, value in zip(table["relation"][:], table[metric][:], strict=True):
        if cells := _scores(value):
            groups[relation or "-"].append(cells)
    found = {name: score(rows, "") for name, rows in groups.items()}
    order = sorted(found, key=lambda name: (-found[name]["n"], name))
    return [{"relation": name, **{k: found[name][k] for k in ("value", "ci95", "n")}} for name in order]
