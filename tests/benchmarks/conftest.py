"""The scripts in benchmarks/, loaded by path: on the import path evaluate.py would hide the library of that name."""

import importlib.util
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SHARED = ("side_by_side", "workload", "products", "decoding")  # what the scripts import by these names
SCRIPTS = ("train_step", "answers", "evaluate", "scaling", "table")


@pytest.fixture(scope="session")
def bench() -> Iterator[SimpleNamespace]:
    """Every module by its name."""
    modules = {}
    for name in (*SHARED, *SCRIPTS):
        spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
        modules[name] = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = modules[name]
        if name in SHARED:
            sys.modules[name] = modules[name]
        spec.loader.exec_module(modules[name])
    yield SimpleNamespace(**modules)
    for name in modules:
        del sys.modules[f"benchmark_{name}"]
        sys.modules.pop(name if name in SHARED else "", None)


@pytest.fixture
def args(bench: SimpleNamespace) -> Namespace:
    """Options for the five facts of the tests."""
    options = bench.side_by_side.parser("")
    options.add_argument("--epochs", type=int, default=1)
    return bench.side_by_side.settle(options.parse_args(["--threads", "1", "--repeats", "2"]), facts=5, repeats=2)
