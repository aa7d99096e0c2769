"""What is pulled: files of known names and safe kinds, of one commit; what leads elsewhere is refused before it is."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from semantic_trainer.hub.pull import choose, is_safe, local_files, pull
from semantic_trainer.hub.trouble import HubError

from .server import Fault, Hub, serve, use

ADAPTER = ["adapter_config.json", "adapter_model.safetensors", "semantic_summary.json"]
FILES = {name: name.encode() for name in (*ADAPTER, "README.md", "facts.parquet", "run.py", "figures/a.png")}
REPO = "org/mine"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serve({REPO: FILES}) as server:
        use(server, monkeypatch)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield server


def test_known_files_of_one_commit(hub: Hub) -> None:
    pulled = pull(REPO)
    assert {path.name for path in pulled.folder.iterdir()} == {*ADAPTER, "README.md", "facts.parquet"}
    assert all((pulled.folder / name).read_bytes() == FILES[name] for name in ADAPTER)
    asked = [path for path in hub.asked if "/resolve/" in path]
    assert len(asked) == 10  # each file's head and body
    assert all(f"/resolve/{pulled.commit}/" in path for path in asked)
    assert pull(REPO) == pulled
    assert len([path for path in hub.asked if path.startswith("GET") and "/resolve/" in path]) == 5  # not once more


def test_a_revision(hub: Hub) -> None:
    hub.repos[REPO]["dev"] = {**FILES, "adapter_config.json": b"other"}
    assert (pull(REPO, "dev").folder / "adapter_config.json").read_bytes() == b"other"
    assert (pull(REPO).folder / "adapter_config.json").read_bytes() == FILES["adapter_config.json"]
    with pytest.raises(HubError, match="has no revision 'nine'"):
        pull(REPO, "nine")


def test_a_pull_that_is_cut_is_finished_by_the_next(hub: Hub) -> None:
    hub.faults = [Fault("GET", "adapter_model", None, 99)]
    with pytest.raises(HubError, match="the connection to the Hub failed") as caught:
        pull(REPO)
    assert "Nothing was scored" in str(caught.value)
    assert "\n" not in str(caught.value)
    hub.faults, before = [], len(hub.asked)
    folder = pull(REPO).folder
    assert all((folder / name).read_bytes() == FILES[name] for name in ADAPTER)
    got = [path.rpartition("/")[2] for path in hub.asked[before:] if path.startswith("GET") and "/resolve/" in path]
    assert sorted(got) == ["README.md", "adapter_model.safetensors", "facts.parquet"]  # two had arrived


@pytest.mark.parametrize(
    "name", ["../x.json", "/etc/passwd", "a/../../x", "..\\x", "C:\\x", "c:x", "a//b", "./x", "a\x1b[2Jb", "x" * 501]
)
def test_names_that_lead_elsewhere(name: str, hub: Hub) -> None:
    """Although that file itself would not have been asked for."""
    hub.repos[REPO]["main"] = {**FILES, name: b"x"}
    with pytest.raises(
        ValueError, match="leads out of its folder or cannot be printed: nothing of it is read"
    ) as caught:
        pull(REPO)
    assert str(caught.value).isprintable()
    assert not [path for path in hub.asked if "/resolve/" in path]


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt", "adapter_model.pkl", "ADAPTER_MODEL.BIN"])
def test_pickles_are_refused_by_name(name: str, hub: Hub) -> None:
    files = {**FILES, name: b"x"}
    del files["adapter_model.safetensors"]
    hub.repos[REPO]["main"] = files
    with pytest.raises(ValueError, match=f"{name}, a pickle, which can run any code"):
        pull(REPO)
    assert not [path for path in hub.asked if "/resolve/" in path]


def test_a_pickle_beside_safetensors_stays_there(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    hub.repos[REPO]["main"] = {**FILES, "training_args.bin": b"x"}
    with caplog.at_level(logging.WARNING):
        assert not (pull(REPO).folder / "training_args.bin").exists()
    assert "training_args.bin, which can run code when it is read: it is not opened" in caplog.text


def test_a_summary_that_is_far_too_large(hub: Hub) -> None:
    hub.repos[REPO]["main"] = {**FILES, "semantic_summary.json": b" " * 16_000_001}
    with pytest.raises(ValueError, match="would have at most 16,000,000: it is not read"):
        pull(REPO)


def test_what_is_no_published_adapter(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no semantic_summary.json"):
        choose(ADAPTER[:2], "'org/x'")
    with pytest.raises(ValueError, match="holds no adapter_model.safetensors"):
        choose(["adapter_config.json", "semantic_summary.json"], "'org/x'")
    (tmp_path / "semantic_summary.json").write_text(json.dumps({}))
    with pytest.raises(ValueError, match=r"holds no model\*.safetensors"):
        local_files(tmp_path)


def test_a_whole_model_with_its_tokenizer() -> None:
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    names = [
        "semantic_summary.json",
        *shards,
        "model.safetensors.index.json",
        "config.json",
        "tokenizer.json",
        "own.py",
    ]
    assert set(choose(names, "'org/x'")) == set(names) - {"own.py"}


@pytest.mark.parametrize("name", ["figures/distances.png", "README.md", "..a/b..", "日本.json", "a b"])
def test_names_that_are_harmless(name: str) -> None:
    assert is_safe(name)
