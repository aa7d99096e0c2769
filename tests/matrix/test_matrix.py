"""Every method on every architecture, however a step's facts are divided and laid out."""

from semantic_trainer.tuners.methods import METHODS

from .cells import ARCHITECTURES, BATCHINGS, Cell
from .measuring import Measured

TOLERANCE = 1e-6


def test_gradients_equal_a_slow_loops(measured: dict[Cell, Measured]) -> None:
    assert {cell: found.gradients for cell, found in measured.items() if not found.gradients <= TOLERANCE} == {}


def test_rows_share_a_prefix_where_that_is_exact(measured: dict[Cell, Measured]) -> None:
    assert {cell for cell, found in measured.items() if found.shares_prefixes != cell.shares_prefixes} == set()


def test_nothing_is_left_out(measured: dict[Cell, Measured]) -> None:
    for values, known in zip(zip(*measured, strict=True), (METHODS, ARCHITECTURES, None, BATCHINGS), strict=True):
        assert known is None or set(values) == set(known)
