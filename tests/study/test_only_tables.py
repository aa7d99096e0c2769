"""Tables of results that are there already: of this recipe, each in its place, and what is lacking is said."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from semantic_trainer.cli import main


@pytest.fixture
def finished(recipe: Callable, study: Callable) -> tuple[Path, Path]:
    """A recipe of two arms with two runs each, and the folder of its results."""
    written = recipe()
    return written, study(written)


def only_tables(recipe: Path, folder: Path, *flags: str) -> int:
    return main(["study", "--config", str(recipe), "--output_dir", str(folder), "--only_tables", "true", *flags])


def test_a_copied_run_is_none_of_its_own(finished: tuple[Path, Path], capsys: pytest.CaptureFixture) -> None:
    written, folder = finished
    before = (folder / "tables" / "table3.md").read_bytes()
    place = folder / "main" / "paper" / "0000.json"
    shutil.copy(folder / "main" / "plain" / "0000.json", place)
    assert only_tables(written, folder) == 2
    assert "weighting (was 'none', is 'paper')" in capsys.readouterr().err
    shutil.copy(folder / "main" / "paper" / "0001.json", place)
    assert only_tables(written, folder) == 2
    assert "seed (was 43, is 42)" in capsys.readouterr().err
    place.unlink()
    shutil.copy(folder / "main" / "paper" / "0001.json", folder / "main" / "paper" / "0007.json")
    assert only_tables(written, folder) == 2
    assert "0007.json' is no result of a study (it holds run 0001 of paper). Delete it" in capsys.readouterr().err
    assert (folder / "tables" / "table3.md").read_bytes() == before


def test_results_are_of_the_recipe_and_of_the_same_facts(
    finished: tuple[Path, Path], capsys: pytest.CaptureFixture
) -> None:
    written, folder = finished
    assert only_tables(written, folder) == 0
    assert only_tables(written, folder, "--learning_rate", "0.02") == 2
    assert "learning_rate (was 0.01, is 0.02)" in capsys.readouterr().err
    path = folder / "main" / "paper" / "0001.json"
    result = json.loads(path.read_text())
    result["config"]["pool_hash"] = "of others"
    path.write_text(json.dumps(result))
    assert only_tables(written, folder) == 2
    assert "main/paper/0001.json: the facts themselves" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "held", "message"),
    [
        ("draw", {"run": 0}, "is no result of a study (its draw is {'run': 0})"),
        ("draw", {"group": "all", "run": "x", "seed": 1}, "is no result of a study (its draw is {'group'"),
        ("config", {}, "holds results with other options, first main/paper/0001.json"),
    ],
)
def test_a_result_without_its_parts_is_named(
    finished: tuple[Path, Path], capsys: pytest.CaptureFixture, part: str, held: dict, message: str
) -> None:
    written, folder = finished
    path = folder / "main" / "paper" / "0001.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {part: held}))
    assert only_tables(written, folder) == 2
    assert message in capsys.readouterr().err


def test_an_arm_without_runs_is_named(finished: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    written, folder = finished
    with caplog.at_level(logging.WARNING):
        assert only_tables(written, folder) == 0
        assert not [record for record in caplog.records if "no runs yet" in record.message]
        assert only_tables(written, folder, "--arms", "plain", "paper", "constant", "inverse") == 0
    assert "main: no runs yet of constant, inverse" in caplog.text
