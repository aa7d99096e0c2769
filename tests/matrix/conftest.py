"""The matrix is measured once for all the tests that read it."""

from pathlib import Path

import pytest
import torch

from .cells import ALL, FAST, Cell
from .measuring import Measured, measure


@pytest.fixture(scope="session", params=[FAST, pytest.param(ALL, marks=pytest.mark.slow)], ids=["some", "all"])
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[Cell, Measured]:
    """What each cell gave: some cells in the fast tests, all of them in the slow ones."""
    folder: Path = tmp_path_factory.mktemp("matrix")
    torch.set_num_threads(1)
    cells = [cell for cell in request.param if cell.processes == 1]
    return {cell: measure(cell, folder / "-".join(cell)) for cell in cells}
