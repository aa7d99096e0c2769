"""What `source` names: a built-in set, a file, a dataset on the Hub, or rows that are in memory already."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from datasets import Dataset

from . import builtin
from .builtin import BUILTIN
from .hub import open_hub, parse_hub_source
from .messages import shown, suggest
from .schema import FACT_COLUMNS, require_dataset
from .tables import Rows, explained, is_missing, open_table

BATCH = 1000  # rows of a dataset that are Python objects at one time
Source = str | os.PathLike | Dataset | list


def parse_source(source: str) -> tuple[str, int | None]:
    """`"builtin:invented[32]"` -> `("builtin:invented", 32)`: a number in brackets is a sample size."""
    match = None if os.path.isfile(source) else re.fullmatch(r"(.+)\[(\d{1,18})\]", source, re.DOTALL)
    if match and int(match[2]) < 1:
        raise ValueError(
            f"`source` {shown(source)} asks for a sample of {int(match[2])}; a sample must be at least 1, as in "
            f"{shown(match[1] + '[1]')}. Without brackets all facts are read."
        )
    return (match[1], int(match[2])) if match else (source, None)


def _dataset_rows(dataset: Dataset, name: str) -> Rows:
    def read() -> Iterator[dict]:
        with explained(f"`source` {name!r}"):
            for table in dataset.with_format("arrow").iter(BATCH):
                yield from table.to_pylist()

    return Rows(name, read, tuple(dataset.column_names))


def _open_name(source: str) -> Rows:
    if source.startswith(BUILTIN):
        return replace(open_table(str(builtin.path(source.removeprefix(BUILTIN)))), name=source)
    path = os.path.expanduser(source)
    if is_missing(path) and parse_hub_source(source):
        return _dataset_rows(open_hub(source), source)
    return open_table(path)


def open_source(source: Source) -> tuple[Rows, int | None]:
    """The rows that `source` names, not read yet, and the size of the sample that was asked for.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: it is no source.
        ValueError: an unknown ending or built-in set, no regular file, a sample of 0, or a dataset that the Hub does
            not give.
    """
    if isinstance(source, os.PathLike):
        name, sample = parse_source(os.fspath(source))
        return open_table(os.path.expanduser(name)), sample
    if isinstance(source, str):
        name, sample = parse_source(source)
        return _open_name(name), sample
    if not isinstance(source, list):
        return _dataset_rows(require_dataset(source, "source"), "a dataset"), None
    if not all(isinstance(row, Mapping) for row in source):
        raise TypeError("`source` as a list must hold one dict a fact. To read files, call load_facts once for each.")
    return Rows("a list", lambda: iter(source)), None


def map_columns(rows: Rows, columns: Mapping[str, str] | None) -> Rows:
    """The same rows with your columns under the names of fact columns too."""
    if not columns:
        return rows
    unknown = [ours for ours in columns if ours not in FACT_COLUMNS]
    if unknown:
        raise ValueError(
            f"`columns` maps a fact column to your column, but {unknown[0]!r} is no fact column."
            f"{suggest(str(unknown[0]), FACT_COLUMNS)} Fact columns: {', '.join(FACT_COLUMNS[1:])}."
        )
    found = rows.keys()
    for theirs in columns.values():
        if theirs not in found:
            raise ValueError(f"`columns` names {theirs!r}; found {shown(found)}.{suggest(str(theirs), found)}")

    def read() -> Iterator[dict]:
        for row in rows.read():
            yield {**row, **{ours: row.get(theirs) for ours, theirs in columns.items()}}

    return Rows(rows.name, read, tuple(dict.fromkeys([*found, *columns])))
