"""Which facts of a pool must not enter a training set: repeats, conflicts, facts of a test, known and flagged ones."""

from collections.abc import Callable, Collection, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..facts.cutting import cut
from ..facts.messages import shown
from .columns import Columns
from .weighting import known_answers

SAME = 1e-6  # distances up to this are 0


def rows_where(pool: Columns, names: list[str], test: Callable[[pa.Table], np.ndarray]) -> np.ndarray:
    """(N,) of what `test` gives, batch by batch."""
    parts = [test(table) for table in pool.batches(names)]
    return np.concatenate(parts) if parts else np.zeros(0, bool)


def is_taught(pool: Columns, train: Columns) -> np.ndarray:
    """(N,) bool: the row's prompt is one of `train`'s, with the same target or another."""
    parts = [_stripped(table["prompt"]).unique() for table in train.batches(["prompt"])]
    taught = pa.concat_arrays(parts) if parts else pa.array([], pa.string())
    return rows_where(
        pool, ["prompt"], lambda table: pc.is_in(_stripped(table["prompt"]), value_set=taught).to_numpy()
    )


def is_repeated(pool: Columns, keep: np.ndarray) -> np.ndarray:
    """(N,) bool: an earlier row, of those that are kept, has the same prompt, with the same target or another."""
    hashes = rows_where(pool, ["prompt"], lambda table: _hashes(_stripped(table["prompt"])))
    rows = np.flatnonzero(keep)
    repeated = keep.copy()
    repeated[rows[np.unique(hashes[rows], return_index=True)[1]]] = False
    return repeated


def _stripped(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_trim_whitespace(texts.cast(pa.string()))


def _hashes(texts: pa.ChunkedArray) -> np.ndarray:
    """64 bits a text: 10 million of them collide once in 370,000 times."""
    from pandas.util import hash_array

    return hash_array(texts.to_numpy(zero_copy_only=False).astype(object), categorize=False)


def has_id(pool: Columns, ids: Iterable[str]) -> np.ndarray:
    """(N,) bool: the row's `fact_id` is one of these."""
    wanted = pa.array(sorted(set(ids)), pa.string())
    return rows_where(
        pool, ["fact_id"], lambda table: pc.is_in(table["fact_id"].cast(pa.string()), value_set=wanted).to_numpy()
    )


def is_known(pool: Columns) -> np.ndarray:
    """(N,) bool: the base model gives the target already (strictly; aliases count)."""
    names = [name for name in ("old_answer", "target", "aliases") if name in pool.names]
    return rows_where(pool, names, _known)


def _known(table: pa.Table) -> np.ndarray:
    aliases = table["aliases"].to_pylist() if "aliases" in table.column_names else None
    return known_answers(table["old_answer"].to_pylist(), table["target"].to_pylist(), aliases)


def is_flagged(pool: Columns) -> np.ndarray:
    """(N,) bool: the distance says little: the old answer is empty or cut off, or has the target's tokens permuted."""
    wanted = ("old_answer", "old_answer_truncated", "distance", "target", "aliases")
    return rows_where(pool, [name for name in wanted if name in pool.names], _flagged)


def _flagged(table: pa.Table) -> np.ndarray:
    flagged = np.zeros(len(table), bool)
    if "old_answer_truncated" in table.column_names:
        flagged |= pc.fill_null(table["old_answer_truncated"], False).to_numpy().astype(bool)
    if "old_answer" not in table.column_names:
        return flagged
    answers = pc.fill_null(table["old_answer"], "")
    # an answer whose first line has a letter or a digit is not empty, whatever the cut takes off
    doubtful = np.flatnonzero(~pc.match_substring_regex(answers, r"^[^\n]*[\pL\pN]").to_numpy())
    flagged[[row for row in doubtful.tolist() if not cut(answers[row].as_py())]] = True
    if {"distance", "target"} <= set(table.column_names):
        near = np.flatnonzero((table["distance"].to_numpy() <= SAME) & ~flagged)
        flagged[near[~_known(table.take(pa.array(near)))]] = True
    return flagged


def check_overlap(pool: Columns, train: Columns, excluded: Collection[str]) -> None:
    """Raise a `ValueError` where a fact is in both sets and is not excluded."""
    own = {value.as_py() for table in train.batches(["fact_id"]) for value in table["fact_id"]} - set(excluded)
    rows = np.flatnonzero(has_id(pool, own))
    if len(rows):
        first = next(iter(pool.take(rows[:1])["fact_id"]))
        raise ValueError(
            f"`pool` and `train` share {len(rows)} facts, first row {rows[0]} of `pool` with fact_id {shown(first)}: "
            'they would be taught twice. Leave them out with exclude_ids=train["fact_id"].'
        )
