"""Which files are published: those that are named, and no others."""

import json
from pathlib import Path

import pytest

from semantic_trainer.hub.plan import MODEL, Upload, files_to_push, is_path, select, with_base

NEVER = (
    *("training_args.bin", "optimizer.pt", "rng_state.pth", "trainer_state.json", "run_config.json", "report.html"),
    *("checkpoints/weighted/checkpoint-3/adapter_model.safetensors", "pytorch_model.bin", ".env", "figures/notes.txt"),
)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    names = ("adapter_config.json", "adapter_model.safetensors", "plain/adapter_config.json", "facts.parquet")
    for name in (*names, "plain/adapter_model.safetensors", "figures/distances.png", "config.json", *NEVER):
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "run"


def names(files: list[Upload]) -> list[str]:
    return [file.path for file in files]


def test_an_arm_and_its_figures(run_dir: Path) -> None:
    adapter = ["adapter_config.json", "adapter_model.safetensors"]
    assert names(files_to_push(run_dir)) == [*adapter, "figures/distances.png"]
    assert names(files_to_push(run_dir, include_facts=True)) == [*adapter, "figures/distances.png", "facts.parquet"]
    plain = files_to_push(run_dir, "plain")
    assert names(plain) == [*adapter, "figures/distances.png"]
    assert plain[0].read() == b"plain/adapter_config.json"
    assert plain[0].size == len(b"plain/adapter_config.json")


def test_a_link_out_of_the_folder_is_not_followed(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_text("mine")
    (run_dir / "figures" / "more.png").symlink_to(tmp_path / "secret.png")
    assert "figures/more.png" not in names(files_to_push(run_dir))


def test_no_pickle_is_a_model(run_dir: Path) -> None:
    assert names(select(run_dir, MODEL)) == ["config.json"]


def test_a_base_is_named_instead_of_a_path() -> None:
    adapter = Upload("adapter_config.json", json.dumps({"base_model_name_or_path": "mine", "r": 8}).encode())
    assert json.loads(with_base(adapter, "a/b").read()) == {"base_model_name_or_path": "a/b", "r": 8}
    config = Upload("tokenizer_config.json", json.dumps({"name_or_path": "/home/jane/m", "x": 1}).encode())
    assert json.loads(with_base(config, "a/b").read()) == {"name_or_path": "a/b", "x": 1}
    for file in (
        Upload("config.json", b'{"_name_or_path": "c/d"}'),
        Upload("vocab.json", b'{"name_or_path": "/a/b"}'),
    ):
        assert with_base(file, "a/b") is file


@pytest.mark.parametrize(
    ("text", "path"),
    [
        *(("/home/jane/x.json", True), ("~/x", True), ("C:\\Users\\jane", True), ("\\\\server\\share", True)),
        *(
            ("org/name", False),
            ("x.json", False),
            ("/", False),
            ("/ and /", False),
            ("https://a/b", False),
            ("~5", False),
        ),
    ],
)
def test_what_a_path_is(text: str, path: bool) -> None:
    assert is_path(text) is path
