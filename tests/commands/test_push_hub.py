"""A run is published and loaded again over HTTP with the real clients; no token gets anywhere but into a header."""

import io
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import snapshot_download
from peft import PeftModel
from transformers import AutoModelForCausalLM

from semantic_trainer.cli import main

from ..hub.server import TOKEN, Fault, Hub, serve, use

SECRETS = (TOKEN, "hf_" + "StOrEd99" * 4, "service-key-0123456789")
BASE = ("--base_model", "org/base")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve() as server:
        use(server, monkeypatch)
        yield server


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_push_then_pull_into_an_empty_cache(hub: Hub, finished: Path, model_dir: Path, tmp_path: Path) -> None:
    before = content(finished)
    assert main(["push", str(finished), "--repo_id", "org/mine", *BASE, "--private"]) == 0
    assert content(finished) == before
    assert hub.private == {"org/mine"}
    pulled = Path(snapshot_download("org/mine", cache_dir=tmp_path / "empty"))
    assert (pulled / "adapter_model.safetensors").read_bytes() == before["adapter_model.safetensors"]
    ids = torch.arange(12)[None]

    def logits(folder: Path) -> torch.Tensor:
        base = AutoModelForCausalLM.from_pretrained(model_dir)
        return PeftModel.from_pretrained(base, folder)(input_ids=ids).logits

    with torch.no_grad():
        assert torch.equal(logits(pulled), logits(finished))
    assert "training_args.bin" not in hub.repos["org/mine"]["main"]


def test_a_push_that_is_cut_is_not_called_done(hub: Hub, finished: Path, capsys: pytest.CaptureFixture) -> None:
    before = content(finished)
    hub.faults = [Fault("PUT", "/upload/", None, 99)]
    assert main(["push", str(finished), "--repo_id", "org/mine", *BASE]) == 2
    printed = capsys.readouterr()
    assert "Published" not in printed.out
    assert "the connection to the Hub failed" in printed.err
    assert hub.repos["org/mine"]["main"] == {}
    hub.faults = []
    assert main(["push", str(finished), "--repo_id", "org/mine", *BASE]) == 0
    assert "Published org/mine" in capsys.readouterr().out
    assert "README.md" in hub.repos["org/mine"]["main"]
    assert content(finished) == before


def test_no_token_in_any_byte(
    hub: Hub,
    call: Callable,
    options: dict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
) -> None:
    home = tmp_path / "hf"
    home.mkdir()
    (home / "token").write_text(SECRETS[1])
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setenv("SOME_API_KEY", SECRETS[2])
    monkeypatch.setattr("semantic_trainer.commands.output.draw_run", lambda folder, facts, tables: [])
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    try:
        assert call("run", hub_token=TOKEN) == 0
        written = content(tmp_path)
        argv = ["push", options["output_dir"], "--repo_id", "org/mine", *BASE, "--include_facts"]
        assert main(argv) == 0
        hub.faults = [Fault("POST", "/commit/", 401)]
        assert main(argv) == 2
    finally:
        logging.getLogger().removeHandler(handler)
    written |= content(tmp_path)
    del written["hf/token"]
    pushed = hub.repos["org/mine"]["main"]
    assert "facts.parquet" in pushed
    printed = "".join(capfd.readouterr()) + log.getvalue()
    for secret in map(str.encode, SECRETS):
        assert not [name for name, data in (written | pushed).items() if secret in data]
        assert not [body for body in hub.received if secret in body]
        assert secret not in printed.encode()


def test_a_secret_in_the_facts_is_not_published(hub: Hub, spoilt: Path, capsys: pytest.CaptureFixture) -> None:
    summary = json.loads((spoilt / "semantic_summary.json").read_text())
    summary["facts"]["examples"][3]["plain"] = f"it is {TOKEN}"
    (spoilt / "semantic_summary.json").write_text(json.dumps(summary))
    assert main(["push", str(spoilt), "--repo_id", "org/mine", *BASE]) == 2
    error = capsys.readouterr().err
    assert "semantic_summary.json was not published: facts.examples[3].plain holds a secret" in error
    assert TOKEN not in error
    assert hub.asked == []
    shutil.rmtree(spoilt)
