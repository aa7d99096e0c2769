"""docs/comparing.md: its Python prints what its comments say, its tables are those of the JSON in results/."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "comparing.md").read_text(encoding="utf-8")


def test_the_python_prints_its_comments(capsys: pytest.CaptureFixture) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "comparing.md", "exec"), {})
    comments = [comment.partition(";")[0].strip() for comment in re.findall(r"# (.*)", code)]
    assert capsys.readouterr().out.splitlines() == comments
    assert len(comments) == 3


def test_the_tables_are_those_of_the_results() -> None:
    path = ROOT / "benchmarks" / "type_one_error.py"
    spec = importlib.util.spec_from_file_location("type_one_error", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = json.loads((ROOT / "results" / "type_one_error.json").read_text(encoding="utf-8"))
    lines = module.markdown(result)
    assert len(lines) > 25
    on_page = [line for line in PAGE.splitlines() if line.endswith("% |")]
    assert on_page == [line for line in lines if line.endswith("% |")]
    assert f"{result['config']['simulations']:,} simulated comparisons" in PAGE
