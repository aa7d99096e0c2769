"""A full disk, a read-only folder, a vanished cache: one clear sentence, and nothing lost."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from semantic_trainer.commands import run
from semantic_trainer.files import disk_trouble, sweep, temporary_path, write_atomically


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """`disk("size=64k")` mounts a small disk, and a second call changes it; skipped where only root may mount."""
    folder, mounted = tmp_path / "disk", []
    folder.mkdir()

    def mount(options: str) -> Path:
        more = ["-o", f"remount,{options}"] if mounted else ["-t", "tmpfs", "-o", options, "tmpfs"]
        done = subprocess.run(["mount", *more, str(folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
        mounted.append(options)
        return folder

    if not shutil.which("mount"):
        pytest.skip("there is no mount command here")
    yield mount
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a traceback may hold a file open


@pytest.fixture
def error(capsys: pytest.CaptureFixture) -> Callable[[], str]:
    """The one sentence that a command ended with."""

    def read() -> str:
        lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
        assert len(lines) == 1, lines
        return lines[0]

    return read


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "load_model", lambda *args: pytest.fail("the model was loaded"))


@pytest.mark.parametrize("kilobytes", [4, 12, 24, 48, 96, 160, 240])
def test_a_full_disk_loses_nothing(
    kilobytes: int, disk: Callable, call: Callable, error: Callable, unbroken: bytes, tmp_path: Path
) -> None:
    out = str(disk(f"size={kilobytes}k") / "out")
    assert call("run", output_dir=out) == 2
    sentence = error()
    assert "the disk is full or cannot be written to: " in sentence
    assert "what is finished is kept, go on with: semantic-trainer run " in sentence
    assert sentence.endswith("--resume")
    disk("size=64m")
    assert call("run", "--resume", output_dir=out) == 0
    assert (Path(out) / "facts.parquet").read_bytes() == unbroken


def test_a_full_disk_under_the_cache_loses_nothing(
    disk: Callable, call: Callable, error: Callable, unbroken: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMANTIC_TRAINER_CACHE", str(disk("size=20k")))
    assert call("run") == 2
    assert "the disk is full or cannot be written to: cannot write" in error()
    disk("size=64m")
    assert call("run", "--resume") == 0
    assert (tmp_path / "out" / "facts.parquet").read_bytes() == unbroken


def test_a_read_only_output_dir_is_refused_before_any_work(
    disk: Callable, call: Callable, error: Callable, no_model: None
) -> None:
    disk("size=1m")
    out = disk("ro,size=1m") / "some" / "out"
    assert call("run", output_dir=str(out)) == 2
    sentence = error()
    assert f"`output_dir` '{out}': '{out.parents[1]}' cannot be written to. Choose another folder." in sentence


def test_a_read_only_cache_is_refused_before_any_answer(
    disk: Callable, call: Callable, error: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk("size=1m")
    monkeypatch.setenv("SEMANTIC_TRAINER_CACHE", str(disk("ro,size=1m")))
    monkeypatch.setattr("semantic_trainer.answers.stage.greedy_answers", lambda *args: pytest.fail("it was asked"))
    assert call("run") == 2
    assert "cannot be written to. Set SEMANTIC_TRAINER_CACHE to a folder you may write to." in error()


def test_an_output_dir_in_a_file(call: Callable, error: Callable, tmp_path: Path, no_model: None) -> None:
    (tmp_path / "notes").write_text("mine")
    assert call("run", output_dir=str(tmp_path / "notes" / "out")) == 2
    assert "notes' is a file. Choose another folder." in error()
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_cache_that_vanishes_costs_time_only(
    nth: int, call: Callable, cache: Path, unbroken: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate, calls = run.evaluate_facts, []

    def and_gone(*args: object, **options: object) -> object:
        calls.append(1)
        found = evaluate(*args, **options)
        if len(calls) == nth:
            shutil.rmtree(cache)
        return found

    monkeypatch.setattr(run, "evaluate_facts", and_gone)
    assert call() == 0
    assert (tmp_path / "out" / "facts.parquet").read_bytes() == unbroken


def test_temporary_files_of_the_dead_are_swept_and_those_of_the_living_stay(tmp_path: Path) -> None:
    ours = temporary_path(tmp_path / "facts.parquet")
    dead, alive, other, mine = (
        tmp_path / ours.name.replace(f".{ours.name.split('.')[-2]}.", f".{pid}.") for pid in (2**22 + 1, 1, "x", 0)
    )
    mine = tmp_path / "notes.tmp"
    for path in (ours, dead, alive, other, mine):
        path.write_text("")
    (tmp_path / "below").mkdir()
    nested = tmp_path / "below" / dead.name
    nested.mkdir()
    sweep(tmp_path)
    assert not ours.exists()  # this process is not writing now
    assert not dead.exists()
    assert alive.exists()
    assert other.exists()
    assert mine.exists()
    assert nested.exists()
    sweep(tmp_path, recursive=True)
    assert not nested.exists()


def test_a_failed_write_names_the_file_and_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match=r"cannot write '.*/a': Is a directory"):
        write_atomically(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (OSError(28, "No space left on device"), True),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"), True),
        (Exception("Error while serializing: I/O error: No space left on device (os error 28)"), True),
        (OSError(2, "No such file or directory"), False),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_errors_of_a_disk_are_told_apart(raised: Exception, expected: bool) -> None:
    assert disk_trouble(raised) is expected
