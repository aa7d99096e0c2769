"""`semantic-trainer compare`: differences that can be worked out by hand, and one clear sentence."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from semantic_trainer.cli import main
from semantic_trainer.commands.comparable import COMPARED, Comparison, compare_arms, read_arm
from semantic_trainer.commands.compare import corrected, verdict
from semantic_trainer.evaluation.comparison import Difference, paired_facts
from semantic_trainer.evaluation.significance import holm, mcnemar
from semantic_trainer.evaluation.statistics import undefined
from semantic_trainer.report.comparison_figure import differences_figure

QUICK_HELP = """
import sys
from semantic_trainer.cli import main
try:
    main(["compare", "--help"])
except SystemExit as end:
    assert not end.code
heavy = {"torch", "transformers", "datasets", "peft", "trl", "numpy", "scipy", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
pytestmark = pytest.mark.usefixtures("wide", "here")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder is the test's own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def other(spoilt: Path, tmp_path: Path) -> Path:
    """A second copy."""
    return Path(shutil.copytree(spoilt, tmp_path / "other"))


@pytest.fixture
def learnt(spoilt: Path) -> Path:
    """A run whose weighted arm knows 11 of 12 facts, the plain one 1, and whose locality is half gone in one arm."""
    change(spoilt, "plain_knowledge_accuracy", lambda i, _: i == 0)
    change(spoilt, "weighted_knowledge_accuracy", lambda i, _: i > 0)
    change(spoilt, "plain_generality", lambda i, _: [])
    change(spoilt, "weighted_generality", lambda i, _: [])
    change(spoilt, "plain_locality", lambda i, _: [True, i % 2 == 0])
    change(spoilt, "weighted_locality", lambda i, _: [False, i % 2 == 0])
    change(spoilt, "plain_deviation", lambda i, _: i < 2)
    change(spoilt, "weighted_deviation", lambda i, _: i < 3)
    return spoilt


def change(folder: Path, column: str, value: Callable[[int, object], object]) -> None:
    """Write facts.parquet again with other values in one column."""
    table = pyarrow.parquet.read_table(folder / "facts.parquet")
    values = [value(i, old) for i, old in enumerate(table[column].to_pylist())]
    place = table.schema.get_field_index(column)
    pyarrow.parquet.write_table(table.set_column(place, column, pyarrow.array(values)), folder / "facts.parquet")


def keep(folder: Path, start: int, stop: int) -> None:
    """Keep some facts only."""
    table = pyarrow.parquet.read_table(folder / "facts.parquet").slice(start, stop - start)
    pyarrow.parquet.write_table(table, folder / "facts.parquet")


def change_summary(folder: Path, edit: Callable[[dict], object]) -> None:
    path = folder / "semantic_summary.json"
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def other_protocol(folder: Path) -> None:
    change_summary(folder, lambda data: data["runs"]["weighted"]["locality"].update(protocol="token, cloze"))


def cells(printed: str) -> dict[str, list[str]]:
    """First cell of each row -> the other ones."""
    rows = [[cell.strip() for cell in re.split(r"  +", line) if cell.strip()] for line in printed.splitlines()]
    return {row[0]: row[1:] for row in rows if len(row) > 2}


def error_line(capsys: pytest.CaptureFixture) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    return line


def test_help_is_quick() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", QUICK_HELP], capture_output=True, text=True, timeout=60, cwd=root)
    assert done.returncode == 0, done.stderr
    assert "RUN" in done.stdout
    assert "95 % intervals" in done.stdout


def test_two_arms_of_one_run(learnt: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """p-values by hand: 1 lost and 11 gained of 12, 12 of 12 halves lost, 1 of 12 gained; three metrics for Holm."""
    monkeypatch.setattr("semantic_trainer.evaluation.statistics.RESAMPLES", 2**12)
    assert main(["compare", str(learnt)]) == 0
    printed = capsys.readouterr().out
    exact = holm([2 * (1 + 12) / 2**12, 2 / 2**12, 1.0])
    rows = cells(printed)
    assert rows["Knowledge accuracy"][:2] == ["8.3 %", "91.7 %"]
    assert rows["Knowledge accuracy"][2].startswith("+83.3 [")
    assert rows["Knowledge accuracy"][3:] == [f"{exact[0]:.3f}", "12"]
    assert rows["Generality"] == ["–", "–", "–", "–", "0"]
    assert rows["Locality"][:2] == ["75.0 %", "25.0 %"]
    assert rows["Deviation, all facts (less is better)"][3:] == ["1.00", "12"]
    assert "corrected for 3 metrics (Holm)" in printed
    assert "max_new_tokens 9" in printed
    assert "weighted is better than plain in knowledge accuracy (+83.3 [" in printed
    assert "and is worse than plain in locality (-50.0 [" in printed
    assert "no evidence of a difference in deviation." in printed
    picture = matplotlib.image.imread("compare.png")
    assert (picture[..., :3].reshape(-1, 3) == 1).all(axis=1).mean() > 0.5
    assert (picture[..., 3] == 1).all()  # white, so that it can be read on a dark page


def test_two_runs(spoilt: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Named by their folders, and by the arm where that differs."""
    assert main(["compare", str(finished), "--output", "figures/a.png", str(spoilt)]) == 0
    printed = capsys.readouterr().out
    assert printed.split()[:2] == ["out", "run"]
    assert "Drawn to figures/a.png" in printed
    assert (tmp_path / "figures" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert main(["compare", str(finished), str(spoilt), "--arm_a", "plain"]) == 0
    assert capsys.readouterr().out.split()[:4] == ["out", "plain", "run", "weighted"]


def test_folders_of_one_name_are_told_apart(learnt: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.copytree(learnt, "b/run")
    assert main(["compare", "run", "b/run"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["run", "b/run"]


def test_exchanged_sides_turn_the_sign(learnt: Path) -> None:
    plain, weighted = (read_arm(learnt, arm, "--arm_a", arm) for arm in ("plain", "weighted"))
    for there, back in zip(compare_arms(plain, weighted), compare_arms(weighted, plain), strict=True):
        if there.difference:
            assert there.difference.value == -back.difference.value
            assert there.difference.p_value == back.difference.p_value


def test_figures_are_those_of_the_files_scores(finished: Path) -> None:
    """Compared with what the summary holds of the whole runs."""
    arms = [read_arm(finished, arm, "--arm_a", arm) for arm in ("plain", "weighted")]
    summary = json.loads((finished / "semantic_summary.json").read_text())["runs"]
    found = compare_arms(*arms)
    assert [c.metric for c in found] == list(COMPARED)
    for c in found:
        assert c.a["value"] == pytest.approx(summary["plain"][c.metric]["value"])
        assert c.b["value"] == pytest.approx(summary["weighted"][c.metric]["value"])
        assert c.difference.value == pytest.approx(c.b["value"] - c.a["value"])


def test_only_shared_facts_are_compared(
    learnt: Path, other: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    """In another order, too."""
    keep(learnt, 0, 9)
    table = pyarrow.parquet.read_table(other / "facts.parquet").slice(4)
    pyarrow.parquet.write_table(table.take(list(reversed(range(8)))), other / "facts.parquet")
    assert main(["compare", str(learnt), str(other)]) == 0
    assert "5 facts are shared, of 9 in run and 8 in other; only these are compared" in caplog.text
    rows = cells(capsys.readouterr().out)
    assert [row[-1] for row in rows.values() if row[-1].isdigit()] == ["5", "0", "5", "5"]
    plain = [read_arm(folder, "weighted", "", "").rows for folder in (learnt, other)]
    shared = [fact for fact in plain[0] if fact in plain[1]]
    expected = [[row[fact]["knowledge_accuracy"] for fact in shared] for row in plain]
    (accuracy, *_) = compare_arms(*(read_arm(f, "weighted", "", "") for f in (learnt, other)))
    assert accuracy.difference.p_value == mcnemar(*(np.array(side, dtype=float) for side in expected))
    assert accuracy.difference.value == pytest.approx(np.mean(expected[1]) - np.mean(expected[0]))


def test_other_questions_about_a_fact_are_left_out(
    finished: Path, spoilt: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    change(spoilt, "paraphrases", lambda i, old: ["Another question?"] if i < 4 else old)
    assert main(["compare", str(finished), str(spoilt)]) == 0
    assert "generality: 4 of 12 facts have other paraphrases in either run and are left out" in caplog.text
    rows = cells(capsys.readouterr().out)
    assert rows["Generality"][-1] == "8"
    assert rows["Locality"][-1] == "12"


def test_other_models_are_said(finished: Path, spoilt: Path, caplog: pytest.LogCaptureFixture) -> None:
    change_summary(spoilt, lambda data: data["config"].update(model="org/other", prompt_text="Q: {prompt}"))
    assert main(["compare", str(finished), str(spoilt)]) == 0
    assert "the runs differ in `model`" in caplog.text
    assert "'org/other'" in caplog.text
    assert "the runs differ in `prompt_text`" in caplog.text


def test_a_run_against_its_copy_is_no_evidence(
    finished: Path, spoilt: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    assert main(["compare", str(finished), str(spoilt)]) == 0
    words = "Between out and run there is no evidence of a difference in knowledge accuracy, generality, locality, de"
    assert words in capsys.readouterr().out
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "semantic_summary.json").unlink(), ["holds no semantic_summary.json", "has not ended"]),
        (lambda f: (f / "semantic_summary.json").write_text("{"), ["semantic_summary.json", "torn"]),
        (lambda f: (f / "facts.parquet").unlink(), ["lacks its file", "facts.parquet"]),
        (lambda f: (f / "facts.parquet").write_bytes(b"PAR1 torn"), ["facts.parquet", "is torn"]),
        (lambda f: change_columns(f, "weighted_locality"), ["lacks the columns ['weighted_locality']"]),
        (lambda f: change_columns(f, "fact_id"), ["lacks the columns ['fact_id']"]),
        (lambda f: change(f, "fact_id", lambda i, old: "one"), ["12 rows but 1 fact_ids"]),
        (lambda f: change(f, "fact_id", lambda i, old: str(i)), ["no fact in common", "out (12 facts)", "run (12"]),
        (lambda f: change(f, "weighted_locality", lambda i, old: [None]), ["locality of run", "is no score"]),
        (
            lambda f: change(f, "weighted_locality", lambda i, old: [0.5, 0.5]),
            ["locality of out (`a`) and run (`b`)", "as many scores for each fact"],
        ),
        (
            lambda f: change(f, "weighted_deviation", lambda i, old: float("nan") if i else 1.0),
            ["scores in [0, 1]", "undefined"],
        ),
        (other_protocol, ["locality of out and run", "'token, cloze'", "'strict, greedy, chat with 0 shots"]),
    ],
)
def test_a_run_that_cannot_be_compared(
    spoil: Callable[[Path], object], words: list[str], finished: Path, spoilt: Path, capsys: pytest.CaptureFixture
) -> None:
    spoil(spoilt)
    assert main(["compare", str(finished), str(spoilt)]) == 2
    line = error_line(capsys)
    for word in words:
        assert word in line
    assert not Path("compare.png").exists()


def change_columns(folder: Path, column: str) -> None:
    table = pyarrow.parquet.read_table(folder / "facts.parquet")
    pyarrow.parquet.write_table(table.drop_columns([column]), folder / "facts.parquet")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["RUN"]),
        (["nowhere"], ["'nowhere' does not exist"]),
        (["RUN", "nowhere"], ["'nowhere' does not exist"]),
        (["a_file"], ["'a_file' is a file"]),
        (["RUN", "RUN", "RUN"], ["one or two RUNs, not 3"]),
        (["RUN", "--arm_a", "weighted"], ["both the arm 'weighted'", "two RUNs"]),
        (["RUN", "RUN", "--arm_a", "plain", "--arm_b", "plain"], ["both the arm 'plain'"]),
        (["RUN", "--arm_a", "heavy"], ["`--arm_a` 'heavy'", "holds the arms plain, weighted"]),
        (["RUN", "--arm_b", "before"], ["`--arm_b` 'before'", "plain, weighted"]),
        (["RUN", "--output", "a.pdf"], ["`--output` 'a.pdf' must end in .png"]),
        (["RUN", "--output", "folder.png"], ["`--output` 'folder.png' is a folder"]),
        (["RUN", "--output", "a_file/x.png"], ["`--output`", "'a_file' is a file"]),
        (["RUN", "--outputs", "x.png"], ["--outputs"]),
    ],
    ids=str,
)
def test_a_users_mistake_is_one_sentence(
    arguments: list[str], words: list[str], finished: Path, capsys: pytest.CaptureFixture
) -> None:
    Path("a_file").write_text("")
    Path("folder.png").mkdir()
    assert main(["compare", *(str(finished) if argument == "RUN" else argument for argument in arguments)]) == 2
    line = error_line(capsys)
    for word in words:
        assert word in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    assert main(["compare", str(finished), "--output", "shut/x.png"]) == 2
    assert "cannot be written to. Choose another file with --output" in error_line(capsys)


def test_an_old_figure_stays_where_writing_fails(
    learnt: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    Path("compare.png").write_bytes(b"old")
    monkeypatch.setattr(os, "replace", lambda *args: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert main(["compare", str(learnt)]) == 2
    assert "disk is full" in error_line(capsys)
    assert Path("compare.png").read_bytes() == b"old"
    assert not list(Path().glob(".compare*"))


def one(metric: str, value: float, p: float) -> Comparison:
    found = Difference(value, (value - 0.05, value + 0.05), p, 100, "a test", "strict")
    return Comparison(metric, undefined("strict"), undefined("strict"), found)


def test_the_verdict_knows_that_less_deviation_is_better() -> None:
    found = [one("deviation", -0.2, 0.001), one("locality", -0.2, 0.001), one("generality", 0.2, 0.2)]
    assert verdict(found, "a", "b") == (
        "b is better than a in deviation (-20.0 [-25.0, -15.0], p = 0.001) and is worse than a in locality "
        "(-20.0 [-25.0, -15.0], p = 0.001); no evidence of a difference in generality."
    )


def test_p_values_are_corrected_for_the_metrics_that_are_defined() -> None:
    nothing = Comparison("generality", undefined("strict"), undefined("strict"), None)
    found = corrected([one("knowledge_accuracy", 0.2, 0.02), nothing, one("locality", 0.2, 0.03)])
    assert [c.difference and c.difference.p_value for c in found] == [0.04, None, 0.04]


def test_brackets_and_dollars_in_names_are_names(learnt: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.copytree(learnt, "a [bold]$x$")
    assert main(["compare", "run", "a [bold]$x$"]) == 0
    assert "a [bold]$x$" in capsys.readouterr().out


def test_the_figure_shows_value_interval_and_zero() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.integers(0, 2, (40, 3)), rng.integers(0, 2, (40, 3))
    certain = paired_facts([[0]] * 40, [[1]] * 40, "", "")
    figure = differences_figure({"One": paired_facts(before, after, "", ""), "Two": certain}, "a", "b")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["One", "Two"]
    zero, *lines = axes.lines
    assert list(zero.get_xdata()) == [0, 0]
    drawn = [path.vertices[:, 0] for collection in axes.collections for path in collection.get_paths()]
    assert drawn[1] == pytest.approx([100 * bound for bound in certain.ci95])
    assert [text.get_text().startswith(("+", "-")) for text in axes.texts] == [True, True]
    assert lines[0].get_markerfacecolor() == "white"
    assert any(line.get_markerfacecolor() == "#4477aa" for line in lines)
