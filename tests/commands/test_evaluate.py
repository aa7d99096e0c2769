"""`semantic-trainer evaluate` on folders: every arm and every method holds, and mistakes are one sentence."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from semantic_trainer.cli import main

from .conftest import change, error_of

QUICK_HELP = """
import sys
from semantic_trainer.cli import main
try:
    main(["evaluate", "--help"])
except SystemExit as end:
    assert not end.code
heavy = {"torch", "transformers", "datasets", "peft", "trl", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.fixture(autouse=True)
def few_resamples() -> None:
    """The run's intervals are of the usual number, and so are these."""


def test_help_needs_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", QUICK_HELP], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "0 the table holds" in " ".join(done.stdout.split())


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("arm", ["plain", "weighted"])
def test_both_arms_of_a_run_hold(arm: str, finished: Path, capsys: pytest.CaptureFixture) -> None:
    before = {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()}
    assert main(["evaluate", "--adapter", str(finished), "--arm", arm, "--tolerance", "0"]) == 0
    printed = capsys.readouterr().out
    assert [line.strip() for line in printed.splitlines() if line.strip() in ("before", "plain", "weighted")] == [
        *("before", arm)
    ]
    assert "holds." in printed
    assert {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    "method",
    [
        {"method": "houlsby", "lora_r": None},
        pytest.param({"method": "adalora"}, marks=pytest.mark.slow),
        pytest.param({"method": "full", "lora_r": None, "learning_rate": 0.002}, marks=pytest.mark.slow),
        pytest.param({"method": "lora", "load_in": "4bit"}, marks=pytest.mark.slow),
    ],
    ids=lambda method: " ".join(map(str, (method["method"], method.get("load_in", "")))),
)
def test_other_methods_hold(method: dict, call: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semantic_trainer.commands.output.draw_run", lambda folder, facts, tables: [])
    assert call("run", num_train_epochs=6, save_strategy="no", **method) == 0
    assert main(["evaluate", "--adapter", str(tmp_path / "out")]) == 0


def test_no_answer_comes_from_the_cache(finished: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    assert main(["evaluate", "--adapter", str(finished)]) == 0
    assert not list((cache / "answers").glob("*"))


def test_a_table_that_does_not_hold(spoilt: Path, capsys: pytest.CaptureFixture) -> None:
    change(spoilt, "runs.before.generality.value", 0.04)
    assert main(["evaluate", "--adapter", str(spoilt)]) == 1
    assert "does not hold: generality (before)." in capsys.readouterr().out
    assert main(["evaluate", "--adapter", str(spoilt), "--tolerance", "5"]) == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "`--adapter` is missing"),
        (["--adapter", "./nowhere"], "`--adapter` './nowhere' is no folder that there is, and not ORG/NAME"),
        (["--adapter", "nowhere"], "`--adapter` 'nowhere' is no folder that there is, and not ORG/NAME on the Hub."),
        (["--adapter", "org/-name"], "`--adapter` 'org/-name' is no name of a repository"),
        (["--adapter", "{run}", "--revision", "main"], "`--revision` is of a repository"),
        (["--adapter", "{run}", "--arm", "before"], "--arm"),
        (["--adapter", "{run}", "--tolerence", "2"], "Did you mean 'tolerance'?"),
        (["--adapter", "{run}", "--tolerance", "-1"], "is in points, from 0 to 100"),
        (["--adapter", "{run}", "--facts", "none.jsonl"], "'none.jsonl' is not here"),
        (["--adapter", "{run}", "--model", "./gone"], "Say where it is with --model"),
        (["--adapter", "org/name"], "HF_HUB_OFFLINE"),
    ],
)
@pytest.mark.usefixtures("no_base")
def test_mistakes_are_one_sentence(
    argv: list[str], message: str, finished: Path, capsys: pytest.CaptureFixture
) -> None:
    assert message in error_of(capsys, *(part.format(run=finished) for part in argv))
