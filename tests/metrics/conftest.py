"""Loading of the metric folders, offline, with rows kept in the test's own folder."""

from collections.abc import Callable
from pathlib import Path

import evaluate
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _root(monkeypatch: pytest.MonkeyPatch) -> None:
    """`metrics/NAME`, as cards and docstrings write it, is relative to the repository."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., evaluate.EvaluationModule]:
    """`load(name, ...)`: the metric of that name."""

    def load_metric(name: str, **options: object) -> evaluate.EvaluationModule:
        return evaluate.load(f"metrics/{name}", cache_dir=str(tmp_path / "rows"), **options)

    return load_metric
