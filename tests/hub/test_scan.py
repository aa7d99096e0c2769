"""No secret and no path of this machine goes out, wherever it stands."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from safetensors.numpy import save

from semantic_trainer.hub.plan import Upload
from semantic_trainer.hub.scan import LeakError, check_leaks, without_paths

PLANTED = "correct-horse-battery"


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One secret in the environment, one among those that `hf` keeps."""
    monkeypatch.setenv("MY_SERVICE_TOKEN", PLANTED)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false-or-true")
    (tmp_path / "stored").write_text("[work]\nhf_token = kept-by-hf-0123\n")
    monkeypatch.setattr("huggingface_hub.constants.HF_STORED_TOKENS_PATH", str(tmp_path / "stored"))


def parquet(rows: list[dict]) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer, compression="zstd")
    return buffer.getvalue()


def refused(file: Upload, folder: Path) -> str:
    with pytest.raises(LeakError) as caught:
        check_leaks([Upload("README.md", b"nothing here"), file], folder)
    assert PLANTED not in str(caught.value)
    assert "aB3aB3" not in str(caught.value)
    assert "kept-by-hf-0123" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("secret", [PLANTED, "kept-by-hf-0123", "hf_" + "aB3" * 11, "ghp_" + "x1" * 18])
def test_secrets_are_found_wherever_they_stand(secret: str, tmp_path: Path) -> None:
    summary = json.dumps({"config": {"shots": ["a => b", f"use {secret} => c"]}}).encode()
    assert "semantic_summary.json was not published: config.shots[1] holds" in refused(
        Upload("semantic_summary.json", summary), tmp_path
    )
    named = json.dumps({"config": {f"x {secret}": 1}}).encode()
    assert "a.json was not published: a name in config holds" in refused(Upload("a.json", named), tmp_path)
    assert "README.md was not published: line 2" in refused(Upload("README.md", f"a\n{secret}\n".encode()), tmp_path)
    facts = parquet([{"prompt": "p", "aliases": ["a", secret]}, {"prompt": "q", "aliases": []}])
    assert "[0].aliases[1]" in refused(Upload("facts.parquet", facts), tmp_path)
    weights = save({"a": np.ones(2, np.float32)}, metadata={"from": secret})
    assert "adapter_model.safetensors" in refused(Upload("adapter_model.safetensors", weights), tmp_path)
    (tmp_path / "a").write_bytes(weights)
    assert "its header holds" in refused(Upload("adapter_model.safetensors", tmp_path / "a"), tmp_path)
    assert "its name" in refused(Upload(f"figures/{secret}.png", b"png"), tmp_path)


def test_a_private_key(tmp_path: Path) -> None:
    assert "private key" in refused(Upload("README.md", b"-----BEGIN OPENSSH PRIVATE KEY-----"), tmp_path)


def test_paths_of_this_machine_are_found(tmp_path: Path) -> None:
    for text in (f"see {tmp_path}/x", f"in {Path.home()}", "from /home/jane/data", "C:\\Users\\jane\\data"):
        assert "a path of this machine" in refused(Upload("README.md", text.encode()), tmp_path)
    config = {"config": {"facts": ["org/name", "/srv/facts.jsonl"]}}
    assert "config.facts[1]" in refused(Upload("semantic_summary.json", json.dumps(config).encode()), tmp_path)


def test_what_may_go_out(tmp_path: Path) -> None:
    relations = {"relations": {"/people/person/place_of_birth": 3}}
    examples = {"facts": relations | {"examples": [{"prompt": "What is in /home/user/?", "old": "/usr/bin/x"}]}}
    card = "https://huggingface.co/home/x and runs/demo, a/b, 5 /home of TOKENIZERS false-or-true"
    check_leaks(
        [
            Upload("semantic_summary.json", json.dumps(examples).encode()),
            Upload("facts.parquet", parquet([{"old_answer": "/usr/bin/env"}])),
            Upload("README.md", card.encode()),
        ],
        tmp_path,
    )


def test_paths_are_cut_to_their_last_part() -> None:
    given = {"facts": ["/data/mine.jsonl", "org/name"], "deepspeed": "C:\\x\\zero.json", "n": 3, "model": "~/m/"}
    found = {"facts": ["mine.jsonl", "org/name"], "deepspeed": "zero.json", "n": 3, "model": "m"}
    assert without_paths(given) == found
    spaced = {"deepspeed": "/data/My Configs/zero.json", "shots": ["Is 1/2 half? => Yes"], "format": "Q: {prompt}"}
    assert without_paths(spaced) == spaced | {"deepspeed": "zero.json"}
