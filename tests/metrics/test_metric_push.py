"""The metrics are pushed as Spaces over HTTP, and another process with an empty cache loads them by their names."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ..hub.server import TOKEN, Fault, Hub, environment, serve

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "metrics" / "push_spaces.py"
COMMIT = "spaces/org/locality/commit/"
NAMES = ["deviation", "generality", "knowledge_accuracy", "locality"]
LOAD = """
import evaluate
for name in ("knowledge_accuracy", "generality", "locality"):
    metric = evaluate.load(f"org/{name}")
    print(metric.compute(predictions=["Rome.", "Pisa"], references=["Rome", "Oslo"]))
print(evaluate.load("org/deviation").compute(predictions=[0.75, 0.25], references=[0.5, 0.5]))
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("push_spaces", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as server:
        yield server


def push(hub: Hub, home: Path, *argv: str) -> subprocess.CompletedProcess:
    """The script in a process of its own, started from elsewhere."""
    env = environment(hub, home)
    return subprocess.run(
        [sys.executable, str(SCRIPT), *argv], env=env, cwd=home, capture_output=True, text=True, timeout=120
    )


def test_spaces_are_pushed_and_loaded_elsewhere(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "pusher").mkdir()
    (tmp_path / "puller").mkdir()
    done = push(hub, tmp_path / "pusher", "org", "--private")
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [f"Published org/{n}" for n in NAMES]
    assert sorted(hub.repos) == hub_names(NAMES)
    assert hub.private == set(hub_names(NAMES))
    assert {asked["sdk"] for asked in hub.made.values()} == {"gradio"}
    for name in NAMES:
        folder = ROOT / "metrics" / name
        files = {"README.md", "app.py", "requirements.txt", f"{name}.py"}
        assert hub.repos[f"spaces/org/{name}"]["main"] == {file: (folder / file).read_bytes() for file in files}

    env = environment(hub, tmp_path / "puller") | {"HF_UPDATE_DOWNLOAD_COUNTS": "0"}
    argv = [sys.executable, "-c", LOAD]
    loaded = subprocess.run(argv, env=env, cwd=tmp_path / "puller", capture_output=True, text=True, timeout=120)
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.splitlines()[:3] == [f"{{'{n}': 0.5}}" for n in ("knowledge_accuracy", *NAMES[1::2])]
    assert "'deviation': 0.5" in loaded.stdout.splitlines()[3]


def hub_names(names: list[str]) -> list[str]:
    return [f"spaces/org/{name}" for name in names]


def test_a_dry_run_sends_nothing(script: ModuleType, capsys: pytest.CaptureFixture) -> None:
    assert script.main(["org", "--dry_run", "--metrics", "locality"]) == 0
    printed = capsys.readouterr().out
    size = f"{(ROOT / 'metrics/locality/locality.py').stat().st_size:,}"
    assert f"{size}  org/locality/locality.py" in printed
    assert "Dry run: nothing was sent." in printed


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("POST", COMMIT, 401), "no valid token of yours (401)"),
        (Fault("POST", COMMIT, 403), "may not write to 'org/locality' (403)"),
        (Fault("POST", COMMIT, 404), "has no 'org/locality'"),
        (Fault("POST", COMMIT, 429, 9, {"Retry_After": "0"}), "slow down (429): push again in 0 seconds"),
    ],
)
def test_a_refusal_is_one_sentence_and_the_next_call_finishes(
    fault: Fault, said: str, hub: Hub, tmp_path: Path
) -> None:
    hub.faults = [fault]
    done = push(hub, tmp_path, "org")
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.startswith("push_spaces: error: org/locality: ")
    assert len(done.stderr.splitlines()) == 1
    assert TOKEN not in done.stderr
    assert "Published org/knowledge_accuracy" in done.stdout
    assert "org/locality" not in done.stdout
    hub.faults = []
    assert "Published org/locality" in push(hub, tmp_path, "org").stdout
    assert "locality.py" in hub.repos["spaces/org/locality"]["main"]


def test_what_is_no_space_is_refused_before_anything_is_sent(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="'recall' is unknown; there are deviation, generality"):
        script.push_spaces("org", ["recall"])
    with pytest.raises(ValueError, match="`repo_id`"):
        script.push_spaces("an org", dry_run=True)
    shutil.copytree(ROOT / "metrics" / "locality", tmp_path / "locality")
    monkeypatch.setenv("A_SECRET", "correct-horse-battery")
    (tmp_path / "locality" / "notes.txt").write_text("correct-horse-battery")  # which is none of a Space's files
    assert len(script.space_files("locality", tmp_path)) == 4
    card = tmp_path / "locality" / "README.md"
    for text, said in (
        (card.read_text() + "\ncorrect-horse-battery", "README.md was not published: line"),
        (card.read_text().replace("sdk: gradio", "sdk: docker"), "must say `sdk: gradio`"),
    ):
        card.write_text(text)
        with pytest.raises(ValueError, match=said):
            script.push_spaces("org", root=tmp_path)
        shutil.copy(ROOT / "metrics" / "locality" / "README.md", card)
    (tmp_path / "locality" / "app.py").unlink()
    with pytest.raises(ValueError, match=r"has no app\.py, which a Space needs"):
        script.push_spaces("org", root=tmp_path)
