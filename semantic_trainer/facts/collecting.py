"""Facts as Arrow columns: rows come one by one, are checked a chunk at a time, and take little memory from then on."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features

from .answered import ANSWER_FEATURES
from .cells import Row
from .checks import FactCheck
from .messages import shown
from .schema import FACT_FEATURES, fact_id
from .texts import broken_text, check_text

logger = logging.getLogger(__name__)
CHUNK = 1000  # rows that are Python objects at one time


def features_of(answers: Sequence[str] = ()) -> Features:
    """A fact's columns, and those of the old answers that come with it."""
    return Features({**FACT_FEATURES, **{name: ANSWER_FEATURES[name] for name in answers}})


def schema_of(answers: Sequence[str] = ()) -> pa.Schema:
    """The same as Arrow has it, and `row`, its number in its file counted from 0."""
    return features_of(answers).arrow_schema.append(pa.field("row", pa.int64()))


def _read_row(read: Callable[[Row], dict], row: Row, number: int, source: str) -> dict:
    """One row as a fact, with `row`, its number; or a `ValueError` that names it."""
    try:
        return {**read(row), "row": number}
    except ValueError as error:
        raise ValueError(f"{source}: row {number} (counted from 0) is not as its format says: {error}.") from error


def _batch(facts: list[dict], source: str, schema: pa.Schema) -> pa.RecordBatch:
    """One chunk of facts, checked, as Arrow."""
    check_text(facts, source)
    try:
        for fact in facts:
            fact["fact_id"] = fact_id(fact["prompt"], fact["target"])
        columns = [pa.array([fact[field.name] for fact in facts], field.type) for field in schema]
    except UnicodeEncodeError as error:
        raise broken_text(facts, source) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def collect_facts(
    rows: Iterable[Row], read: Callable[[Row], dict], source: str, answers: Sequence[str] = ()
) -> pa.Table:
    """Rows -> a table of facts; system messages are counted and said.

    Args:
        rows: any number of rows, gone through once.
        read: one row -> one fact, as in `FORMATS`.
        source: what errors call the whole.
        answers: columns of old answers that `read` gives too.
    """
    schema = schema_of(answers)
    facts = (_read_row(read, row, number, source) for number, row in enumerate(rows))
    batches, systems = [], []
    while chunk := list(islice(facts, CHUNK)):
        batches.append(_batch(chunk, source, schema))
        systems += [fact["system"] for fact in chunk if "system" in fact]
    if systems:
        logger.warning(
            "%s: %d rows have a system message, first %s. It is not kept with the facts, since one prompt format "
            "serves them all: set it with system_prompt=",
            source,
            len(systems),
            shown(systems[0]),
        )
    return pa.Table.from_batches(batches, schema)


def join_tables(tables: Sequence[pa.Table], names: Sequence[str]) -> pa.Table:
    """Several sources as one; a row is called `3 of NAME` from then on. Old answers stay where each has them."""
    common = [name for name in tables[0].column_names if all(name in table.column_names for table in tables)]
    at, joined = common.index("row"), []
    for table, name in zip(tables, names, strict=True):
        table = table.select(common)
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
    features = features_of([name for name in ANSWER_FEATURES if name in table.column_names])
    table = table.select(list(features)).replace_schema_metadata(features.arrow_schema.metadata)
    return Dataset(table, fingerprint=_fingerprint(table))
