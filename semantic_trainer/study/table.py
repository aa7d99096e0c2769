"""A table of a study: heads, rows of texts, notes; as Markdown and as CSV."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass


def heads(metrics: Iterable[str]) -> tuple[str, ...]:
    """Heads of columns that show these metrics."""
    return tuple(metric.replace("_", " ") for metric in metrics)


@dataclass(frozen=True)
class Table:
    """A table of texts, with notes.

    Attributes:
        title: what it shows.
        columns: heads.
        rows: one text a column.
        notes: how its numbers came about, and what is wrong with the paper's.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def to_markdown(self) -> str:
        """Title, table, notes as a list."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        body = "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)
        notes = "\n".join(f"- {note}" for note in self.notes)
        return f"# {self.title}\n\n{body}\n\n{notes}\n"

    def to_csv(self) -> str:
        """Heads and rows; the notes are in the Markdown."""
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([self.columns, *self.rows])
        return buffer.getvalue()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")  # a "<s>" would be taken for HTML
