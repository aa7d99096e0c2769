"""What the package says of itself in several places: its version, and the lowest Python."""

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import semantic_trainer

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
LOWEST = PROJECT["requires-python"].removeprefix(">=")


@pytest.mark.parametrize("dependency", [Requirement(text).name for text in PROJECT["dependencies"]])
def test_the_lowest_python_is_one_that_every_dependency_takes(dependency: str) -> None:
    assert LOWEST in SpecifierSet(metadata.metadata(dependency)["Requires-Python"] or "")


def test_the_lowest_python_is_said_alike_everywhere() -> None:
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{LOWEST.replace('.', '')}"
    assert f"Python {LOWEST} or newer" in (ROOT / "README.md").read_text(encoding="utf-8")
    of_python = "Programming Language :: Python :: "
    named = [text.removeprefix(of_python) for text in PROJECT["classifiers"] if text.startswith(of_python)]
    minors = [int(name.partition(".")[2]) for name in named if "." in name]
    assert minors == list(range(int(LOWEST.partition(".")[2]), max(minors) + 1))


def test_the_version_stands_in_one_place_and_the_citation_agrees() -> None:
    assert "version" in PROJECT["dynamic"]
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "semantic_trainer.__version__"}
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == semantic_trainer.__version__
