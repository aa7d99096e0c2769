"""Facts as Arrow columns: rows come one by one, are checked a chunk at a time, and take little memory from then on."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from .cells import Row
from .checks import FactCheck
from .messages import show_rows, shown
from .schema import FACT_COLUMNS, FACT_FEATURES, fact_id

logger = logging.getLogger(__name__)
CHUNK = 1000  # rows that are Python objects at one time
# A fact's columns and `row`, its number in its file counted from 0.
SCHEMA = FACT_FEATURES.arrow_schema.append(pa.field("row", pa.int64()))


def _read_row(read: Callable[[Row], dict], row: Row, number: int, source: str) -> dict:
    """One row as a fact, with `row`, its number; or a `ValueError` that names it."""
    try:
        return {**read(row), "row": number}
    except ValueError as error:
        raise ValueError(f"{source}: row {number} (counted from 0) is not as its format says: {error}.") from error


def _require_text(facts: list[dict], column: str, allowed: tuple[type, ...], what: str, source: str) -> None:
    wrong = [fact for fact in facts if not isinstance(fact[column], allowed)]
    if wrong:
        value = wrong[0][column]
        raise ValueError(
            f"{source}: column {column!r} must hold {what}, but {show_rows([fact['row'] for fact in wrong])} hold(s) "
            f"{type(value).__name__}, first {shown(value)}. Convert it to text before loading."
        )


def _texts(value: object) -> Iterable[str]:
    """Every text in a cell of a fact."""
    if isinstance(value, str):
        return (value,)
    entries = value if isinstance(value, list) else ()
    return chain.from_iterable(entry.values() if isinstance(entry, dict) else (entry,) for entry in entries)


def _encodable(value: object) -> bool:
    try:
        "".join(_texts(value)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_text(facts: list[dict], source: str) -> None:
    """`prompt` and `target` are texts; a blank target is `check_facts`'s business, a blank prompt is ours."""
    for column in ("prompt", "target"):
        _require_text(facts, column, (str,), "strings", source)
    for column in ("subject", "relation", "ground_truth"):
        _require_text(facts, column, (str, type(None)), "strings or nothing", source)
    blank = [fact["row"] for fact in facts if not fact["prompt"].strip()]
    if blank:
        raise ValueError(
            f"{source}: column 'prompt' is empty in {show_rows(blank)}. Fill it in or leave those rows out."
        )


def _broken_text(facts: list[dict], source: str) -> ValueError:
    """Names the column and the rows of a text that UTF-8 cannot hold."""
    column = next(name for name in FACT_COLUMNS[1:] if not all(_encodable(fact[name]) for fact in facts))
    rows = [fact["row"] for fact in facts if not _encodable(fact[column])]
    return ValueError(
        f"{source}: column {column!r} holds half of a surrogate pair, such as \\ud800, in {show_rows(rows)}: no text "
        "that can be written as UTF-8. Take it out, or write the whole character."
    )


def _batch(facts: list[dict], source: str) -> pa.RecordBatch:
    """One chunk of facts, checked, as Arrow."""
    _check_text(facts, source)
    try:
        for fact in facts:
            fact["fact_id"] = fact_id(fact["prompt"], fact["target"])
        columns = [pa.array([fact[field.name] for fact in facts], field.type) for field in SCHEMA]
    except UnicodeEncodeError as error:
        raise _broken_text(facts, source) from error
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def collect_facts(rows: Iterable[Row], read: Callable[[Row], dict], source: str) -> pa.Table:
    """Rows -> a table of facts; system messages are counted and said.

    Args:
        rows: any number of rows, gone through once.
        read: one row -> one fact, as in `FORMATS`.
        source: what errors call the whole.
    """
    facts = (_read_row(read, row, number, source) for number, row in enumerate(rows))
    batches, systems = [], []
    while chunk := list(islice(facts, CHUNK)):
        batches.append(_batch(chunk, source))
        systems += [fact["system"] for fact in chunk if "system" in fact]
    if systems:
        logger.warning(
            "%s: %d rows have a system message, first %s. It is not kept with the facts, since one prompt format "
            "serves them all: set it with system_prompt=",
            source,
            len(systems),
            shown(systems[0]),
        )
    return pa.Table.from_batches(batches, SCHEMA)


def join_tables(tables: Sequence[pa.Table], names: Sequence[str]) -> pa.Table:
    """Several sources as one; a row is called `3 of NAME` from then on."""
    at = SCHEMA.get_field_index("row")
    joined = []
    for table, name in zip(tables, names, strict=True):
        labels = pc.binary_join_element_wise(table["row"].cast(pa.string()), name, " of ")
        joined.append(table.set_column(at, "row", labels))
    return pa.concat_tables(joined)


class FactRows:
    """A table of facts as rows that can be gone through more than once, a chunk of them at a time in Python."""

    def __init__(self, table: pa.Table, columns: Sequence[str] = ("prompt", "target", "ground_truth", "row")) -> None:
        self.table = table.select([*columns, "locality_prompts"] if _any_list(table["locality_prompts"]) else columns)

    def __iter__(self) -> Iterator[dict]:
        for batch in self.table.to_batches(CHUNK):
            yield from batch.to_pylist()


def _any_list(column: pa.ChunkedArray) -> bool:
    """Whether any list in a column of lists has an entry."""
    return any(len(chunk.flatten()) for chunk in column.chunks)


def _without(prompts: pa.ChunkedArray, taught: Sequence[tuple[int, str]]) -> pa.ChunkedArray:
    """The locality prompts of each row without those that are taught."""
    rows = prompts.to_pylist()
    for i, prompt in taught:
        rows[i] = [other for other in rows[i] if other != prompt]
    return pa.chunked_array([pa.array(rows, prompts.type)])


def _fingerprint(table: pa.Table) -> str:
    """Names the content for the caches of `datasets`, which by itself would pickle the whole table to hash it."""
    digest = hashlib.sha256()
    for batch in table.to_batches():
        digest.update(batch.serialize())
    return digest.hexdigest()[:16]


def to_dataset(table: pa.Table, check: FactCheck) -> Dataset:
    """The facts that can be taught, without the locality prompts that are taught."""
    if check.taught_locality:
        at = table.schema.get_field_index("locality_prompts")
        kept = _without(table["locality_prompts"], check.taught_locality)
        table = table.set_column(at, table.schema.field(at), kept)
    if check.dropped:
        keep = np.ones(len(table), dtype=bool)
        keep[check.dropped] = False
        table = table.filter(pa.array(keep))
    table = table.select(FACT_COLUMNS).replace_schema_metadata(FACT_FEATURES.arrow_schema.metadata)
    return Dataset(table, fingerprint=_fingerprint(table))
