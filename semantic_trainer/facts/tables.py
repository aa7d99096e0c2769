"""Rows of a file: a JSON array, JSONL, CSV or Parquet, as dicts."""

import csv
import json
from pathlib import Path

from . import builtin
from .schema import show_rows


def _read_csv(path: Path) -> list[dict]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        rows = list(reader)
    if reader.fieldnames is None:
        raise ValueError("it is empty; its first line must name the columns")
    ragged = [i for i, row in enumerate(rows) if None in row or None in row.values()]
    if ragged:
        raise ValueError(f"{show_rows(ragged)} do(es) not have as many cells as the first line has columns")
    return rows


def _read_lines(text: str) -> list[object]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            rows += [json.loads(line)] if line.strip() else []
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return rows


def read_rows(path: Path) -> list[dict]:
    """The rows of a JSON array, JSONL, CSV or Parquet file as dicts.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the ending is unknown or the content is not what the ending says.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        names = ", ".join(f"{builtin.BUILTIN}{name}" for name in builtin.NAMES)
        raise FileNotFoundError(f"`source` {str(path)!r} {what}. Give a file, or one of the built-in sets: {names}.")
    try:
        if path.suffix == ".json":
            rows = json.loads(path.read_text(encoding="utf-8-sig"))
        elif path.suffix == ".jsonl":
            rows = _read_lines(path.read_text(encoding="utf-8-sig"))
        elif path.suffix == ".csv":
            rows = _read_csv(path)
        elif path.suffix == ".parquet":
            import pyarrow.parquet

            rows = pyarrow.parquet.read_table(path).to_pylist()
        else:
            raise ValueError(f"the ending {path.suffix!r} is unknown; use .json, .jsonl, .csv or .parquet")
    except (ValueError, OSError, csv.Error) as error:
        raise ValueError(f"`source` {str(path)!r} could not be read: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"`source` {str(path)!r} must hold a list of records, one object a fact")
    if not rows:
        raise ValueError(f"`source` {str(path)!r} holds no rows")
    return rows
