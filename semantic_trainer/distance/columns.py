"""Columns of a set of facts, one at a time and in batches: a dataset in memory or on disk, or Parquet files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset
from datasets import Dataset

from ..facts.messages import meant, show_rows

ROWS = 1 << 16
Source = Dataset | str | Path | Sequence[str | Path]


class Columns:
    """Reads one column of a source without the others.

    Args:
        source: a `datasets.Dataset`, or the path of a Parquet file, of a folder of them, or a list of files.
        argument: what errors call it.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: it is none of these.
        ValueError: it is no Parquet.
    """

    def __init__(self, source: Source, argument: str) -> None:
        self.source, self.argument = source, argument
        if isinstance(source, Dataset):
            self.names = source.column_names
            return
        paths = [source] if isinstance(source, (str, Path)) else list(source)
        if not paths or not all(isinstance(path, (str, Path)) for path in paths):
            raise TypeError(
                f"`{argument}` must be distances, a datasets.Dataset or paths of Parquet files, but "
                f"{type(source).__name__} was passed."
            )
        missing = [str(path) for path in paths if not Path(path).exists()]
        if missing:
            raise FileNotFoundError(
                f"`{argument}` {missing[0]!r} does not exist. Give a Parquet file, or a folder of them."
            )
        files = [
            str(file)
            for path in paths
            for file in (sorted(Path(path).glob("*.parquet")) if Path(path).is_dir() else [path])
        ]
        try:
            self.source = pyarrow.dataset.dataset(files, format="parquet")
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ValueError(f"`{argument}` {str(paths[0])!r} could not be read as Parquet: {error}") from error
        self.names = self.source.schema.names

    def __len__(self) -> int:
        return len(self.source) if isinstance(self.source, Dataset) else self.source.count_rows()

    def batches(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """The named columns, a stretch of rows at a time, in order."""
        if isinstance(self.source, Dataset):
            if len(self.source):
                yield from self.source.select_columns(list(names)).with_format("arrow").iter(ROWS)
        else:
            for batch in self.source.to_batches(columns=list(names), batch_size=ROWS):
                yield pa.Table.from_batches([batch])

    def numbers(self, name: str, hint: str = "") -> np.ndarray:
        """A column of numbers: (N,) float64.

        Raises:
            ValueError: there is no such column, or it holds something else or nothing in some rows.
        """
        self.require([name], hint)
        out, at = np.empty(len(self)), 0
        for table in self.batches([name]):
            column = table[name]
            if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
                raise ValueError(f"`{self.argument}` column {name!r} must hold numbers, but it holds {column.type}.")
            if column.null_count:
                rows = at + np.flatnonzero(column.is_null().to_numpy())
                raise ValueError(
                    f"`{self.argument}` column {name!r} is empty in {show_rows(rows.tolist())}. Fill it in."
                )
            out[at : at + len(table)] = column.to_numpy()
            at += len(table)
        return out

    def require(self, names: Sequence[str], hint: str = "") -> None:
        """Raise a `ValueError` that names what is missing and what there is."""
        missing = [name for name in names if name not in self.names]
        if missing:
            near = "".join(meant(name, self.names) for name in missing)
            what = f"`{self.argument}` has no column {', '.join(map(repr, missing))}; found {self.names}.{near}"
            raise ValueError(f"{what} {hint}".rstrip())

    def rows(self) -> Dataset:
        """All of them, as a dataset in memory."""
        return self.source if isinstance(self.source, Dataset) else Dataset(self.source.to_table())

    def take(self, rows: np.ndarray) -> Dataset:
        """The rows of these numbers, in their order."""
        if isinstance(self.source, Dataset):
            return self.source.select(rows)
        return Dataset(self.source.take(pa.array(rows)))
