"""docs/filtering.md: its Python runs, its table is that of the JSON in results/."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "filtering.md").read_text(encoding="utf-8")


def test_the_python_runs(capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _ = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "filtering.md", "exec"), {})
    described, final = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\d+ of 50 facts replaced \(.*\); mean .* -> .*, variance .* -> .*", described)
    assert final.startswith("50 ")
    assert (tmp_path / "plan.json").exists()


def test_the_table_is_that_of_the_results() -> None:
    spec = importlib.util.spec_from_file_location("filter_benchmark", ROOT / "benchmarks" / "filter.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = json.loads((ROOT / "results" / "filter.json").read_text(encoding="utf-8"))
    assert [line for line in PAGE.splitlines() if line.startswith("|") and " million |" in line] == [
        line for line in module.markdown(result) if " million |" in line
    ]
    assert f"{result['against_a_scan']['ratio']:.0f} times" in PAGE
