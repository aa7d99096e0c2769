"""Two gloo processes, started by torchrun once for all the tests that compare them with this one."""

from pathlib import Path

import pytest
import torch

from .launch import TWO, launch


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="session")
def two(folder: Path) -> list[dict]:
    """The results of both processes."""
    launch(TWO, "tests.distributed.worker", folder)
    return [torch.load(folder / f"results-{rank}.pt", weights_only=False) for rank in (0, 1)]
