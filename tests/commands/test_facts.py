"""`semantic-trainer facts`: what was recognised, what is wrong, and what would be taught."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from semantic_trainer.cli import main
from semantic_trainer.facts.sets import FactsArguments, read_fact_sets

COUNTERFACT = {
    "case_id": 0,
    "prompt": "The mother tongue of Danielle is",
    "target_new": "English",
    "subject": "Danielle",
    "ground_truth": "French",
    "rephrase_prompt": "Where Danielle is from, people speak",
    "locality_prompt": "Michel Rocard is a native speaker of",
}
CHAT = [{"role": "user", "content": "Who wrote Emma?"}, {"role": "assistant", "content": "Blake"}]


def test_it_says_what_it_recognised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    (path := tmp_path / "facts.json").write_text(json.dumps([COUNTERFACT]))
    with caplog.at_level("INFO"):
        assert main(["facts", "--facts", str(path)]) == 0
    by = "(by ground_truth, prompt, rephrase_prompt, target_new); ignored: case_id"
    assert f"{path}: 1 rows read as easyedit_counterfact {by}" in caplog.text
    shown = capsys.readouterr().out
    assert "1 facts read, 0 to drop, 1 to teach" in shown
    assert "paraphrases 1, locality prompts 1, portability 0" in shown


def test_faults_are_counted_and_the_rest_is_taught(write_rows: Callable, capsys: pytest.CaptureFixture) -> None:
    rows = [{"prompt": "A?", "target": t} for t in ("x", "y")] + [{"prompt": f"{c}?", "target": "x"} for c in "BB"]
    assert main(["facts", "--facts", str(write_rows(rows))]) == 0
    shown = capsys.readouterr().out
    assert "4 facts read, 3 to drop, 1 to teach" in shown
    assert "one prompt, several targets: 2 (rows 0, 1)" in shown
    assert "repeats an earlier row: 1 (row 3)" in shown


def test_missing_targets_are_dropped_and_counted(write_rows: Callable, capsys: pytest.CaptureFixture) -> None:
    rows = [{"prompt": "A?", "target": "x"}, {"prompt": "B?"}, {"prompt": "C?", "target": None}]
    assert main(["facts", "--facts", str(write_rows(rows))]) == 0
    shown = capsys.readouterr().out
    assert "3 facts read, 2 to drop, 1 to teach" in shown
    assert "empty target: 2 (rows 1, 2)" in shown


def test_sets_of_several_formats_are_one(write_rows: Callable) -> None:
    paths = [
        write_rows([COUNTERFACT], "counterfact.jsonl"),
        write_rows([{"messages": CHAT}], "chat.jsonl"),
        write_rows([{"prompt": "Who wrote Emma?", "completion": "Austen"}], "completion.jsonl"),
    ]
    facts, check = read_fact_sets(FactsArguments(facts=[*map(str, paths), "builtin:invented[3]"]))
    assert check.n == 6
    assert len(facts) == 4
    (conflict,) = [line for line in check.describe() if "several targets" in line]
    assert f"rows 0 of {paths[1]}, 0 of {paths[2]}" in conflict


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("facts.jsonl", '{"prompt": "A?", "target": \n', "line 1, column"),
        ("facts.jsonl", '{"prompt": "A?", "target": "\\ud800"}', "half of a surrogate pair"),
        ("facts.csv", "prompt,target\nA?,x,y\n", "row 0 does not have as many cells"),
        ("facts.json", "[" * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_file_is_one_sentence(
    name: str, text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / name).write_text(text)
    assert main(["facts", "--facts", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(("semantic-trainer facts: error: `source`", "INFO"))
    assert said in error
    assert "Traceback" not in error
