"""Every method on every architecture, however a step's facts are divided and laid out."""

import pytest

from semantic_trainer.tuners.methods import METHODS

from .cells import ARCHITECTURES, BATCHINGS, GEOMETRIES, Cell
from .measuring import Measured

TOLERANCE = 1e-6


def test_gradients_equal_a_slow_loops(measured: dict[Cell, Measured]) -> None:
    assert {cell: found.gradients for cell, found in measured.items() if not found.gradients <= TOLERANCE} == {}


@pytest.mark.parametrize("what", ["base", "resumed", "reloaded"])
def test_bit_for_bit(what: str, measured: dict[Cell, Measured]) -> None:
    """Without its adapter it is the base, after a checkpoint the unbroken training, in a new process the same.

    What AdaLoRA has pruned is zero in memory and gone on disk, and on some processors products of other shapes round
    otherwise.
    """
    values = {cell: getattr(found, what) for cell, found in measured.items()}
    allowed = {cell: TOLERANCE if (cell.method, what) == ("adalora", "reloaded") else 0.0 for cell in values}
    assert {cell: value for cell, value in values.items() if value and value > allowed[cell]} == {}
    assert {cell.method for cell, value in values.items() if value is None} == ({"full"} if what == "base" else set())


def test_rows_share_a_prefix_where_that_is_exact(measured: dict[Cell, Measured]) -> None:
    assert {cell for cell, found in measured.items() if found.shares_prefixes != cell.shares_prefixes} == set()


def test_nothing_is_left_out(measured: dict[Cell, Measured]) -> None:
    for values, known in zip(
        zip(*measured, strict=True), (METHODS, ARCHITECTURES, GEOMETRIES, BATCHINGS), strict=True
    ):
        assert set(values) == set(known)
