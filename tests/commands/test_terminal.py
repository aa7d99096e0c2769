"""No text that somebody else wrote commands the terminal it is shown on."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from semantic_trainer.cli import main
from semantic_trainer.commands.terminal import PrintableFormatter, console, printable

ESCAPES = "\x1b[31mRED\x1b]0;title\x07\x9b2J\x7f\u202eLIVE"


def is_harmless(text: str) -> bool:
    return not {*text} & {*"\x1b\x07\x9b\x7f\r\u202e"}


@pytest.fixture
def hostile(tmp_path: Path, rows: list[dict]) -> Path:
    """Facts that command the terminal, in every column that is shown."""
    path = tmp_path / "hostile.jsonl"
    texts = ("prompt", "target", "relation")
    spoilt = [{**row, **{name: f"{row[name]}{ESCAPES}" for name in texts}, "ground_truth": ESCAPES} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in spoilt))
    return path


def test_words_of_any_writing_stay() -> None:
    text = "Где 東京?\nעברית\u200f می\u200cخواهم \U0001f469\u200d\U0001f52c 10\u00a0km"
    assert printable(text) == text
    assert printable(ESCAPES) == "�[31mRED�]0;title��2J��LIVE"


def test_a_console_shows_no_commands(capsys: pytest.CaptureFixture) -> None:
    from rich.table import Table

    table = Table(ESCAPES, title=ESCAPES, caption=ESCAPES)
    table.add_row(ESCAPES)
    console().print(table)
    console().print(ESCAPES, highlight=False, markup=False)
    shown = capsys.readouterr().out
    assert shown.count("LIVE") >= 2
    assert is_harmless(shown)


def test_a_log_line_shows_no_commands() -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s is no column", (ESCAPES,), None)
    assert is_harmless(PrintableFormatter("%(levelname)s: %(message)s").format(record))


@pytest.mark.parametrize("command", ["facts", "distances"])
def test_commands_show_hostile_facts_as_text(
    command: str, hostile: Path, call: Callable, wide: None, capsys: pytest.CaptureFixture
) -> None:
    assert call(command, facts=[str(hostile)]) == 0
    shown = capsys.readouterr()
    assert "�[31mRED" in shown.out
    assert is_harmless(shown.out + shown.err.replace("\r", ""))


def test_ask_shows_hostile_texts_as_text(finished: Path, wide: None, capsys: pytest.CaptureFixture) -> None:
    assert main(["ask", str(finished), f"What?{ESCAPES}"]) == 0
    shown = capsys.readouterr().out
    assert "What?�[31mRED" in shown
    assert is_harmless(shown)


def test_an_error_shows_no_commands(capsys: pytest.CaptureFixture) -> None:
    assert main(["push", "runs/mine", "--repo_id", f"org/{ESCAPES}"]) == 2
    assert is_harmless(capsys.readouterr().err)
