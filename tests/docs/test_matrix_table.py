"""docs/tuning_methods.md: its matrix is that of results/matrix.json, which has every cell."""

from semantic_trainer.tuners.methods import METHODS

from ..matrix.cells import ALL, ARCHITECTURES, GEOMETRIES
from ..matrix.table import BEGIN, END, PAGE, read, table, with_table

TEXT = PAGE.read_text(encoding="utf-8")


def test_it_names_every_cell() -> None:
    measured = read()
    assert set(measured) == set(ALL)
    assert with_table(TEXT, table(measured)) == TEXT
    shown = TEXT.partition(BEGIN)[2].partition(END)[0]
    assert f"{len(ALL)} cells" in shown
    for name in (*ARCHITECTURES, *(f"| `{method}` |" for method in METHODS), *GEOMETRIES):
        assert name in shown


def test_what_it_shows_holds() -> None:
    for cell, found in read().items():
        assert found.gradients <= 1e-6
        assert not any((found.base, found.resumed, found.reloaded)), cell
