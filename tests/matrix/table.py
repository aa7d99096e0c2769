"""Measure the whole matrix and print it as a table: `python -m tests.matrix.table [--write | --page]`.

With `--write` the differences go into results/matrix.json and the table into docs/tuning_methods.md.
"""

import argparse
import json
import tempfile
from pathlib import Path

from semantic_trainer.files import write_atomically
from semantic_trainer.report.summary import describe_environment
from semantic_trainer.tuners.methods import METHODS

from .cells import BATCHINGS, GEOMETRIES, PADDED_ONLY, Cell
from .measuring import Measured

ROOT = Path(__file__).parents[2]
RESULTS, PAGE = ROOT / "results" / "matrix.json", ROOT / "docs" / "tuning_methods.md"
BEGIN, END = "<!-- matrix -->\n", "<!-- /matrix -->\n"
EXACT = {"base": "without the adapter", "resumed": "resumed", "reloaded": "reloaded"}


def row(values: list[str]) -> str:
    return f"| {' | '.join(values)} |"


def table(measured: dict[Cell, Measured]) -> str:
    """A row for each method: the largest difference of any architecture's."""

    def largest(method: str, name: str, **where: str) -> str:
        cells = [c for c in measured if c.method == method and all(getattr(c, k) == v for k, v in where.items())]
        values = [value for cell in cells if (value := getattr(measured[cell], name)) is not None]
        return f"{max(values):.1g}" if values else ""

    names = [name for name in dict.fromkeys(cell.architecture for cell in measured) if name not in PADDED_ONLY]
    where = f"{', '.join(names)}, and, padded only, {', '.join(PADDED_ONLY)}"
    head = ["method", *(f"gradients, {geometry}" for geometry in GEOMETRIES), *EXACT.values()]
    lines = [f"{len(measured)} cells: {len(METHODS)} methods on {where}.\n", row(head), "|---" * len(head) + "|"]
    for method in METHODS:
        gradients = [
            " / ".join(largest(method, "gradients", geometry=g, batching=b) for b in BATCHINGS) for g in GEOMETRIES
        ]
        exact = [largest(method, name) for name in EXACT]
        lines.append(row([f"`{method}`", *gradients, *exact]))
    return "\n".join(lines) + "\n"


def with_table(page: str, text: str) -> str:
    """The page with another text between the marks."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + text + END + rest.partition(END)[2]


def read(path: Path = RESULTS) -> dict[Cell, Measured]:
    rows = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = [[{name: row[name] for name in kind._fields} for kind in (Cell, Measured)] for row in rows]
    return {Cell(**cell): Measured(**found) for cell, found in parts}


def dumped(measured: dict[Cell, Measured]) -> str:
    rows = [{**cell._asdict(), **found._asdict()} for cell, found in measured.items()]
    return json.dumps({"cells": rows, "environment": describe_environment()}, indent=1) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write results/matrix.json and docs/tuning_methods.md")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page from the results")
    args = parser.parse_args()
    if args.page:
        measured = read()
    else:
        from .running import measure_all

        with tempfile.TemporaryDirectory() as folder:
            measured = measure_all("all", Path(folder))
        print(table(measured))
    if args.write:
        write_atomically(RESULTS, dumped(measured).encode())
    if args.write or args.page:
        page = with_table(PAGE.read_text(encoding="utf-8"), table(measured))
        write_atomically(PAGE, page.encode())


if __name__ == "__main__":
    main()
