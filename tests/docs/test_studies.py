"""docs/studies.md: its Python runs as a script of its own, its options are those of the command."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from semantic_trainer.commands.recipe import StudyArguments
from semantic_trainer.study.figures import FIGURES
from semantic_trainer.study.tables import TABLES

from ..study.conftest import inputs, recipe

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
__all__ = ["inputs", "recipe"]  # fixtures


@pytest.mark.slow
def test_the_python_runs_as_a_script(recipe, inputs: Path, tmp_path: Path) -> None:  # noqa: F811, ANN001
    written = recipe(settings=[{"name": "zsre-lora"}], runs=1, arms=["plain"], output_dir="made", tables=None)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    wanted = '"examples/paper/table1.yaml", "--scale", "smoke"'
    assert wanted in code
    (tmp_path / "script.py").write_text(code.replace(wanted, repr(str(written))).replace('"DATA"', repr(str(inputs))))
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert 0.0 <= float(done.stdout.splitlines()[-1]) <= 1.0


def test_the_options_are_those_of_the_command() -> None:
    known = {field.name for field in fields(StudyArguments)} | {"settings", "scales"}
    told = [name for row in re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert len(told) > 15
    assert set(told) <= known
    for names, numbered in ((TABLES, "table"), (FIGURES, "figure")):
        assert all(f"`{name}`" in PAGE for name in names if not name.startswith(numbered))
        first, *_, last = (name for name in names if name.startswith(numbered))
        assert f"`{first}` … `{last}`" in PAGE
