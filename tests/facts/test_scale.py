"""A million facts in under a minute and two gigabytes, without torch: what `benchmarks/readers.py` prints."""

import importlib.util
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "readers.py"
ROWS = 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain_rows", "full_rows"])
def test_a_million_rows(kind: str, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("readers_benchmark", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    found = benchmark.measure(getattr(benchmark, kind)(ROWS), tmp_path)
    assert found["rows"] == ROWS
    assert found["last"] == f"What is the capital of land {ROWS - 1}?"
    assert found["seconds"] < 60
    assert found["megabytes"] < 2048


def test_a_thousand_rows_over_several_batches(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("readers_benchmark", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    assert benchmark.measure(benchmark.full_rows(1000), tmp_path)["rows"] == 1000
