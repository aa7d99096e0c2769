"""Rows of a file, by its ending, and one sentence for whatever is wrong with it."""

import csv
import errno
import gzip
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import pyarrow

from . import builtin
from .messages import shown
from .parsing import csv_rows, json_lines, json_values, parquet_columns, parquet_rows


@dataclass(frozen=True)
class Rows:
    """Rows that can be read more than once.

    Attributes:
        name: what messages call them.
        read: starts at the first row.
        columns: their names, where they are known without reading every row.
    """

    name: str
    read: Callable[[], Iterator[dict]]
    columns: tuple[str, ...] | None = None

    @property
    def label(self) -> str:
        """How an error calls them: `source` and its value."""
        return f"`source` {shown(self.name)}"

    def keys(self) -> list[str]:
        """All column names in order of appearance.

        Raises:
            ValueError: there are no rows.
        """
        rows = self.read()
        first = next(rows, None)
        if first is None:
            raise ValueError(f"{self.label} holds no rows: write one object a fact into it")
        return list(self.columns or dict.fromkeys(chain(first, chain.from_iterable(rows))))


TEXT_READERS = {".json": json_values, ".jsonl": json_lines, ".csv": csv_rows}
LINE_ENDS = {".json": None, ".jsonl": "\n", ".csv": ""}  # csv wants them as they are; JSONL's lines end in \n alone
ENDINGS = (*TEXT_READERS, *(f"{ending}.gz" for ending in TEXT_READERS), ".parquet")


def _text_rows(path: str, ending: str) -> Iterator[object]:
    opening = gzip.open if path.lower().endswith(".gz") else open
    with opening(path, "rt", encoding="utf-8-sig", newline=LINE_ENDS[ending]) as file:
        yield from TEXT_READERS[ending](file)


def _records(values: Iterable[object]) -> Iterator[dict]:
    for number, value in enumerate(values):
        if not isinstance(value, dict):
            raise ValueError(f"it must hold a list of records, one object a fact, but row {number} is {shown(value)}")
        yield value


@contextmanager
def explained(label: str) -> Iterator[None]:
    """What a reader of the standard library or of pyarrow says of a source, as one sentence."""
    try:
        yield
    except UnicodeDecodeError as error:
        what = f"it is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        raise ValueError(f"{label} could not be read: {what}") from error
    except RecursionError as error:
        what = "an object in it is nested too deeply; facts are flat, or nested a few levels"
        raise ValueError(f"{label} could not be read: {what}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        what = f"its gzip stream is torn or none at all ({error}); copy it or compress it again"
        raise ValueError(f"{label} could not be read: {what}") from error
    except (ValueError, OverflowError, OSError, csv.Error, pyarrow.ArrowException) as error:
        raise ValueError(f"{label} could not be read: {error}") from error


def _file_mode(path: str) -> int | None:
    """The mode of what a path leads to, which is not opened; `None` where there is nothing.

    Raises:
        ValueError: a folder on the way may not be entered, or links lead in a circle.
    """
    try:
        return os.stat(path).st_mode
    except PermissionError as error:
        fix = "a folder on its path may not be entered; get the right to, or copy the file elsewhere"
        raise ValueError(f"`source` {shown(path)} may not be read: {fix}.") from error
    except (OSError, ValueError) as error:  # a path with NUL is a ValueError
        if getattr(error, "errno", None) != errno.ELOOP:
            return None
        fix = "its symbolic links lead in a circle; give the file itself"
        raise ValueError(f"`source` {shown(path)} is no regular file: {fix}.") from error


def is_missing(path: str) -> bool:
    """Whether nothing is there; what one may not look at, and a link that leads in a circle, is something."""
    try:
        return _file_mode(path) is None
    except ValueError:
        return False


def _require_file(path: str) -> None:
    """Raise where no regular file is; a pipe or a device is never opened: it can be read once at most, or has no end.

    Raises:
        FileNotFoundError: there is nothing, or a folder.
        ValueError: it is something else.
    """
    mode = _file_mode(path)
    if mode is None or stat.S_ISDIR(mode):
        what = "does not exist" if mode is None else "is a folder"
        names = ", ".join(f"{builtin.BUILTIN}{name}" for name in builtin.NAMES)
        raise FileNotFoundError(
            f"`source` {shown(path)} {what}. Give a file, one of the built-in sets ({names}), or a dataset on the Hub "
            "as ORG/NAME."
        )
    if not stat.S_ISREG(mode):
        raise ValueError(
            f"`source` {shown(path)} is no regular file but a pipe, a device or a socket. Write its facts to a file "
            "first, and give that."
        )


def open_table(path: str) -> Rows:
    """The rows of a file, by its ending.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no regular file, the ending is unknown, or the content is not what it says; for most files,
            while reading.
    """
    _require_file(path)
    ending = next((known for known in ENDINGS if path.lower().endswith(known)), None)
    if ending is None:
        raise ValueError(
            f"`source` {path!r} could not be read: the ending {os.path.splitext(path)[1]!r} is unknown; use .json, "
            ".jsonl, .csv or .parquet; .json.gz, .jsonl.gz and .csv.gz are read too"
        )

    label = f"`source` {path!r}"
    with explained(label):
        columns = parquet_columns(path) if ending == ".parquet" else None

    def read() -> Iterator[dict]:
        with explained(label):
            values = parquet_rows(path) if ending == ".parquet" else _text_rows(path, ending.removesuffix(".gz"))
            yield from _records(values)

    return Rows(path, read, columns)
