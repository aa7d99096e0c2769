"""Records of JSON, JSONL, CSV and Parquet, one by one."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from json.decoder import WHITESPACE
from typing import TextIO

from .messages import shown

BATCH = 1000  # rows of a Parquet file that are held at once
LONGEST_CELL = 2**31 - 1  # characters; the csv module's own limit is 131072


def _one_of_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object as a dict; json would silently keep the last of two values of one key."""
    found = dict(pairs)
    if len(found) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {shown(twice)} stands twice in one object; keep one of them")
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_one_of_each)


def json_values(file: TextIO) -> Iterator[object]:
    """The elements of an array, or objects one after another, decoded in turn: all at once would fill the memory."""
    text = file.read()
    at = WHITESPACE.match(text, 0).end()
    array = text.startswith("[", at)
    at = WHITESPACE.match(text, at + array).end()
    closed = array and text.startswith("]", at)
    while not closed and (array or at < len(text)):
        value, at = DECODER.raw_decode(text, at)
        yield value
        at = WHITESPACE.match(text, at).end()
        closed = array and text.startswith("]", at)
        if array and not closed:
            if not text.startswith(",", at):
                raise json.JSONDecodeError("Expecting ',' or ']'", text, at)
            at = WHITESPACE.match(text, at + 1).end()
    if array and WHITESPACE.match(text, at + 1).end() < len(text):
        raise json.JSONDecodeError("Extra data after the array", text, at + 1)


def json_lines(file: TextIO) -> Iterator[object]:
    """The value on each line that is not blank; an error names the line, counted from 1."""
    for number, line in enumerate(file, start=1):
        try:
            if line.strip():
                yield DECODER.decode(line.rstrip("\r\n"))
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number}, column {error.colno}: {error.msg}; correct that line") from error
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error


def csv_rows(file: TextIO) -> Iterator[dict]:
    """Rows under the names of the first line, with cells of any length."""
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        reader = csv.DictReader(file, strict=True)
        names = reader.fieldnames
        if names is None:
            raise ValueError("it is empty; its first line must name the columns")
        if len(set(names)) < len(names):
            raise ValueError(f"its first line names a column twice: {shown(names)}; rename one of them")
        for number, row in enumerate(reader):
            if None in row or None in row.values():
                raise ValueError(
                    f"row {number} does not have as many cells as the first line has columns, {len(names)}; put texts "
                    "with a comma, a quote or a line break in double quotes"
                )
            yield row
    finally:
        csv.field_size_limit(before)


def parquet_columns(path: str) -> tuple[str, ...]:
    """Its column names, without reading its rows."""
    import pyarrow.parquet

    names = pyarrow.parquet.read_schema(path).names
    if len(set(names)) < len(names):
        raise ValueError(f"it names a column twice: {shown(names)}; rename one of them")
    return tuple(names)


def parquet_rows(path: str) -> Iterator[dict]:
    """Its rows as dicts."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH):
            yield from batch.to_pylist()
