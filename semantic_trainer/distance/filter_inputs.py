"""What a filter is given: distances alone, or columns beside them; checked before anything is decided."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..facts.messages import show_rows
from . import exclusion
from .columns import Columns, Source
from .filter_plan import HINT

Distances = Sequence[float] | np.ndarray | Source


def read_distances(source: Distances, name: str) -> tuple[np.ndarray, Columns | None]:
    """(N,) float64 distances, checked, and the columns beside them where there are any."""
    paths = isinstance(source, (list, tuple)) and len(source) > 0 and all(isinstance(s, (str, Path)) for s in source)
    columns = Columns(source, name) if paths or isinstance(source, (Dataset, str, Path)) else None
    if columns:
        distances = columns.numbers("distance", HINT)
    else:
        try:
            distances = np.asarray(source, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"`{name}` must be distances, a datasets.Dataset or paths of Parquet files, but "
                f"{type(source).__name__} was passed ({error})."
            ) from error
    if distances.ndim != 1:
        raise ValueError(f"`{name}` must hold one distance a row, but its shape is {distances.shape}")
    if not len(distances):
        raise ValueError(f"`{name}` has no rows: a filter needs facts to replace and facts to replace them by")
    if not (math.isfinite(distances.min()) and math.isfinite(distances.max()) and distances.min() >= 0):
        wrong = np.flatnonzero(~np.isfinite(distances) | (distances < 0)).tolist()
        raise ValueError(
            f"`{name}`: distances must be finite numbers of at least 0, but {show_rows(wrong)} have others, first "
            f"{distances[wrong[0]]}. Measure them again, or leave those rows out."
        )
    return distances, columns


def check_mask(mask: Sequence[bool] | np.ndarray, size: int) -> np.ndarray:
    """The mask as (m,) bool; a `ValueError` where it is none."""
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != (size,):
        raise ValueError(
            f"`pool_exclude` must be {size} booleans, one a row of the pool, but {mask.dtype} of shape {mask.shape} "
            "was passed"
        )
    return mask


def need(pool: Columns | None, names: list[str], argument: str) -> None:
    """Raise a `ValueError` where the pool lacks columns that an argument needs."""
    if pool is None:
        raise ValueError(
            f"{argument} needs {' and '.join(f'`{name}`' for name in names)}, but `pool` holds distances alone. Pass "
            "a Dataset or Parquet files with them, or give `pool_exclude`."
        )
    pool.require(names, f"{argument} needs it.")


def describe_added(pool: Columns | None, added: np.ndarray, distances: np.ndarray) -> dict[str, float | None]:
    """Shares of what was added: at distance 1 or more, known, flagged; `None` where the columns do not tell."""
    shares: dict[str, float | None] = {"at_1_or_more": float((distances >= 1).mean()) if len(added) else None}
    names = set(pool.names) if pool else set()
    for share, needed, tell in (
        ("known", {"old_answer", "target"}, exclusion.is_known),
        ("flagged", {"old_answer", "old_answer_truncated"}, exclusion.is_flagged),
    ):
        told = needed <= names and len(added)
        shares[share] = float(tell(Columns(pool.take(added), "pool")).mean()) if told else None
    return shares
