"""The matrix is measured once for all the tests that read it."""

import pytest

from .cells import Cell
from .measuring import Measured
from .running import measure_all


@pytest.fixture(scope="session", params=["some", pytest.param("all", marks=pytest.mark.slow)])
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[Cell, Measured]:
    """What each cell gave: some cells in the fast tests, all of them in the slow ones."""
    return measure_all(request.param, tmp_path_factory.mktemp("matrix"))
