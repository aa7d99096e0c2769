"""The outer command line, and the commands that train nothing."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from semantic_trainer.cli import main
from semantic_trainer.commands import COMMANDS

WITHOUT_TORCH = """
import sys
from semantic_trainer.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert not end.code
heavy = {"torch", "transformers", "datasets", "peft", "trl", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_needs_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert command in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert f"usage: semantic-trainer {command}" in capsys.readouterr().out


def test_an_unknown_command(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main(["rum"])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "'rum'" in error
    assert "distances" in error


def test_no_command(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMANTIC_TRAINER_DEBUG", "1")
    with pytest.raises(ValueError, match="`facts` is empty"):
        main(["facts"])


def test_facts_prints_counts_and_drops(rows: list[dict], write_rows: Callable, capsys: pytest.CaptureFixture) -> None:
    conflict, empty = {**rows[0], "target": "Vienna"}, {"prompt": "What is nothing?", "target": " "}
    path = write_rows([*rows, conflict, empty, rows[3]])
    assert main(["facts", "--facts", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "15 facts read, 4 to drop, 11 to teach" in printed
    assert "one prompt, several targets: 2 (rows 0, 12)" in printed
    assert "empty target: 1 (row 13)" in printed
    assert "repeats an earlier row: 1 (row 14)" in printed
    assert "paraphrases 11, locality prompts 11, portability 0" in printed
    assert "capital" in printed


def test_facts_takes_a_column_mapping_and_a_limit(write_rows: Callable, capsys: pytest.CaptureFixture) -> None:
    path = write_rows([{"q": f"Who is {i}?", "a": "Me"} for i in range(4)])
    assert main(["facts", "--facts", str(path), "--columns", "prompt=q", "target=a", "--limit", "2"]) == 0
    printed = capsys.readouterr().out
    assert "Who is 1?" in printed
    assert "Who is 2?" not in printed


def test_facts_without_the_columns(write_rows: Callable, capsys: pytest.CaptureFixture) -> None:
    assert main(["facts", "--facts", str(write_rows([{"q": "Who?", "a": "Me"}]))]) == 2
    error = capsys.readouterr().err
    assert "['q', 'a']" in error
    assert "columns" in error


@pytest.mark.parametrize("prompt", ["Who wrote [/x]?", "Who wrote [bold]?"])
def test_facts_with_brackets_are_printed(prompt: str, write_rows: Callable, capsys: pytest.CaptureFixture) -> None:
    assert main(["facts", "--facts", str(write_rows([{"prompt": prompt, "target": "Me"}]))]) == 0
    assert prompt in capsys.readouterr().out


def test_distances_writes_a_histogram_and_names_the_hardest(
    call: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert call("distances") == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "out" / "distances.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert "12 facts: mean distance" in printed
    assert "distances.png" in printed.replace("\n", "")
    for word in ("Hardest by distance", "known", "truncated", "above 1"):
        assert word in printed
    assert "capital" in printed


def test_the_hardest_facts_lie_farthest_from_one_half() -> None:
    from datasets import Dataset

    from semantic_trainer.commands.distances import hardest

    distance = [0.0, 0.45, 1.3, 0.95, 0.1]
    old = ["known", "b", "c", "d", "e"]
    facts = Dataset.from_dict({"distance": distance, "old_answer": old, "target": ["known", "x", "x", "x", "x"]})
    assert hardest(facts, 3)["distance"][:] == [1.3, 0.95, 0.1]
    assert "known" not in hardest(facts, 10)["old_answer"][:]


def test_an_old_answer_with_brackets_is_printed(capsys: pytest.CaptureFixture) -> None:
    from datasets import Dataset

    from semantic_trainer.commands.distances import show

    row = {"prompt": "Who?", "target": "Me", "old_answer": "[/INST]", "distance": 0.9, "weight": 1.5}
    show(Dataset.from_list([row]), {"n": 1, "mean": 0.9, "std": 0.0, "shares": {"known": 0.0}})
    assert "[/INST]" in capsys.readouterr().out


def test_self_paced_weights_of_a_training_are_a_dash_before_it(capsys: pytest.CaptureFixture) -> None:
    from datasets import Dataset

    from semantic_trainer.commands.distances import show
    from semantic_trainer.commands.run import weigh
    from semantic_trainer.training.training_args import SemanticTrainingArguments

    row = {"prompt": "Who?", "target": "Me", "old_answer": "You", "distance": 0.9}
    facts = weigh(Dataset.from_list([row]), SemanticTrainingArguments("out", weighting="self_paced", use_cpu=True))
    show(facts, {"n": 1, "mean": 0.9, "std": 0.0, "shares": {"known": 0.0}})
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "Who?" in line]
    assert "–" in line


def test_run_goes_on_in_the_folder_of_distances(
    call: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One YAML serves both."""
    from semantic_trainer.commands.output import OutputFolder

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "distances.png").write_bytes(b"")
    assert OutputFolder(tmp_path / "out", {}).prepare(resume=False, overwrite=False) is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_distances_do_not_depend_on_where_they_are_written(
    dtype: str, call: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    printed = []
    for name in ("a", "b"):
        assert call("distances", output_dir=str(tmp_path / name), dtype=dtype) == 0
        printed.append(capsys.readouterr().out.partition("histogram")[0])
    assert printed[0] == printed[1]
    assert torch.get_num_threads() == 1
