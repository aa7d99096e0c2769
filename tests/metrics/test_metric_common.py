"""What every folder of metrics/ must be: found by glob, so a new metric is held to it by being there."""

import ast
import doctest
import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

import evaluate
import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(
    path for path in (ROOT / "metrics").glob("*") if path.is_dir() and not path.name.startswith((".", "_"))
)
TEXT_METRICS = ("generality", "knowledge_accuracy", "locality")
ALLOWED = {*sys.stdlib_module_names, "evaluate", "datasets"}
SECTIONS = [
    "# Metric Card for ",
    "## Metric Description",
    "## How to Use",
    "### Inputs",
    "### Output Values",
    "### Examples",
    "## Limitations and Bias",
    "## Citation",
    "## Further References",
]
FRONT_MATTER = ("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "app_file", "tags", "description")
Load = Callable[..., evaluate.EvaluationModule]

every_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def source(folder: Path) -> str:
    return (folder / f"{folder.name}.py").read_text(encoding="utf-8")


def card(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def run_examples(text: str, name: str) -> doctest.TestResults:
    """Run the examples of a text; the fences of Markdown end an expected output."""
    text = re.sub(r"^```.*$", "", text, flags=re.MULTILINE)
    runner = doctest.DocTestRunner()
    runner.run(doctest.DocTestParser().get_doctest(text, {"evaluate": evaluate}, name, name, 0))
    return runner.summarize(verbose=False)


def test_the_four_metrics_are_found() -> None:
    assert {folder.name for folder in FOLDERS} >= {"deviation", *TEXT_METRICS}


@every_folder
def test_loads_and_describes_itself(folder: Path, load: Load) -> None:
    metric = load(folder.name)
    assert metric.name == folder.name
    assert metric.module_type == "metric"
    assert metric.citation
    assert metric.description
    assert set(metric.features) == {"predictions", "references"}
    for method in (metric.compute, metric.add, metric.add_batch):
        assert "Examples:" in method.__doc__


@every_folder
def test_has_the_files_of_a_space(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {
        f"{folder.name}.py",
        "README.md",
        "app.py",
        "requirements.txt",
    }
    requirements = (folder / "requirements.txt").read_text(encoding="utf-8").split()
    assert {re.match(r"[a-z-]+", line)[0] for line in requirements} == {"evaluate", "datasets"}


@every_folder
def test_module_is_short_and_stands_alone(folder: Path) -> None:
    text = source(folder)
    assert len(text.splitlines()) <= 80
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    for node in imports:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "."]
        assert len(names) == 1, f"evaluate reads one import a line, found {names}"
        assert not getattr(node, "level", 0)
        assert names[0].split(".")[0] in ALLOWED


@every_folder
def test_options_are_keywords_of_compute(folder: Path) -> None:
    functions = [node for node in ast.walk(ast.parse(source(folder))) if isinstance(node, ast.FunctionDef)]
    (compute,) = [node for node in functions if node.name == "_compute"]
    assert compute.args.kwarg is None
    assert compute.args.vararg is None
    names = [arg.arg for arg in compute.args.args + compute.args.kwonlyargs]
    assert names[:3] == ["self", "predictions", "references"]
    assert len(compute.args.defaults) == len(names) - 3


@every_folder
def test_docstrings_run(folder: Path, load: Load) -> None:
    module = importlib.import_module(type(load(folder.name)).__module__)
    tests = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    assert sum("compute(" in example.source for test in tests for example in test.examples) >= 2
    runner = doctest.DocTestRunner()
    for test in tests:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


@every_folder
def test_card_runs(folder: Path) -> None:
    results = run_examples(card(folder), f"metrics/{folder.name}/README.md")
    assert results.attempted >= 3
    assert results.failed == 0


def test_documentation_runs() -> None:
    results = run_examples((ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"), "docs/metrics.md")
    assert results.attempted >= 8
    assert results.failed == 0


@every_folder
def test_card_has_the_sections_of_evaluate_in_order(folder: Path) -> None:
    text = card(folder)
    _, front, body = text.split("---\n", 2)
    assert all(re.search(rf"^{key}:", front, re.MULTILINE) for key in FRONT_MATTER)
    assert "sdk: gradio" in front
    assert "app_file: app.py" in front
    assert {"- evaluate", "- metric"} <= set(front.splitlines())
    found = [line for line in body.splitlines() if any(line.startswith(section) for section in SECTIONS)]
    assert [line.startswith(section) for line, section in zip(found, SECTIONS, strict=True)] == [True] * len(found)


@every_folder
def test_card_names_the_pinned_gradio(folder: Path) -> None:
    pinned = re.search(r"^gradio==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    assert f"sdk_version: {pinned}\n" in card(folder)


def test_text_metrics_share_their_code() -> None:
    """They stand alone, so the code is there three times: it must stay the same but for names and docstrings."""

    def skeleton(name: str, text: str) -> str:
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef)):
                node.body = [line for line in node.body if ast.get_docstring(node) is None or line is not node.body[0]]
            if isinstance(node, ast.ClassDef):
                node.name = "Metric"
        return ast.unparse(tree).replace(name, "NAME")

    folders = [ROOT / "metrics" / name for name in TEXT_METRICS]
    assert len({skeleton(folder.name, source(folder)) for folder in folders}) == 1
    apps = [(folder / "app.py").read_text(encoding="utf-8").replace(folder.name, "NAME") for folder in folders]
    assert len({re.sub(r"^EXAMPLE = .*$", "", app, flags=re.MULTILINE) for app in apps}) == 1
