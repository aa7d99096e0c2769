"""One process publishes, another pulls and scores again with an empty cache, over HTTP with the real clients."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from semantic_trainer.cli import main

from ..hub.server import Fault, Hub, environment, serve, use

REPO, BASE = "org/mine", "org/base"
PULL = """
import sys
import torch
from peft import AutoPeftModelForCausalLM
from semantic_trainer.cli import main
argv = ["evaluate", "--adapter", "org/mine"]
status = main(argv) or main([*argv, "--revision", "named"])
with torch.no_grad():
    logits = AutoPeftModelForCausalLM.from_pretrained("org/mine")(input_ids=torch.arange(12)[None]).logits
torch.save(logits, sys.argv[1])
sys.exit(status)
"""
Said = tuple[int, str, str]  # exit status, standard output, standard error
Call = Callable[..., Said]


@pytest.fixture(autouse=True)
def few_resamples() -> None:
    """The run's intervals are of the usual number, and so are these."""


@pytest.fixture(scope="module")
def hub(model_dir: Path) -> Iterator[Hub]:
    """A Hub that has the base model."""
    with serve({BASE: {path.name: path.read_bytes() for path in model_dir.iterdir()}}) as server:
        yield server


def python(hub: Hub, home: Path, *argv: object) -> subprocess.CompletedProcess:
    """A process of its own, whose caches are empty."""
    env = environment(hub, home) | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, argv)], env=env, cwd=home, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def pushed(hub: Hub, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process has published, with its facts."""
    argv = ("push", finished, "--repo_id", REPO, "--base_model", BASE, "--include_facts")
    done = python(hub, tmp_path_factory.mktemp("pusher"), "-m", "semantic_trainer.cli", *argv)
    assert done.returncode == 0, done.stderr
    return dict(hub.repos[REPO]["main"])


@pytest.fixture
def evaluate(
    hub: Hub,
    pushed: dict[str, bytes],
    tmp_path: Path,
    wide: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
) -> Iterator[Call]:
    """`evaluate` in this process, with an empty cache; a test's changes to the repository are undone."""
    use(hub, monkeypatch)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def call(*argv: object) -> Said:
        capfd.readouterr()
        status = main(["evaluate", "--adapter", REPO, *map(str, argv)])
        return status, *capfd.readouterr()

    yield call
    hub.repos[REPO] = {"main": dict(pushed)}
    hub.faults = []


def sentence(said: Said) -> str:
    """The one sentence of an error."""
    status, out, err = said
    assert status == 2, out + err
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if "evaluate: error: " in line]
    return line


def test_pulled_by_another_process(
    hub: Hub, pushed: dict[str, bytes], finished: Path, model_dir: Path, tmp_path: Path
) -> None:
    """The same bytes, the same logits, and the table holds, on the facts beside it or in a dataset that it names."""
    summary = json.loads(pushed["semantic_summary.json"])
    summary["config"]["facts"] = ["org/facts"]
    hub.repos["datasets/org/facts"] = {"main": {"train.jsonl": (finished.parent / "facts.jsonl").read_bytes()}}
    named = {**pushed, "semantic_summary.json": json.dumps(summary).encode()}
    del named["facts.parquet"]
    hub.repos[REPO]["named"] = named
    done = python(hub, tmp_path, "-c", PULL, tmp_path / "logits.pt")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"The published table of {REPO} holds.") == 2
    rows = [line.split() for line in done.stdout.splitlines() if line.rstrip().endswith("holds")]
    assert len(rows) == 2 * 9  # three of before, six of the weighted adapter
    assert {row[-2] for row in rows} == {"+0.0", "+0.000"}
    assert "Also" not in done.stdout
    assert "not compared" not in done.stderr  # the base's weights were
    (pulled,) = [path.parent for path in (tmp_path / "hub" / "models--org--mine").glob("snapshots/*/facts.parquet")]
    weights = (pulled / "adapter_model.safetensors").read_bytes()
    assert weights == (finished / "adapter_model.safetensors").read_bytes() == pushed["adapter_model.safetensors"]
    assert sorted(path.name for path in pulled.iterdir()) == [
        *("README.md", "adapter_config.json", "adapter_model.safetensors", "facts.parquet", "semantic_summary.json")
    ]
    base = AutoModelForCausalLM.from_pretrained(model_dir)
    with torch.no_grad():
        own = PeftModel.from_pretrained(base, finished)(input_ids=torch.arange(12)[None]).logits
    assert torch.equal(torch.load(tmp_path / "logits.pt"), own)


def test_another_revision_and_other_tampering(evaluate: Call, hub: Hub, pushed: dict[str, bytes]) -> None:
    """Other numbers in the summary, and in its card, are told apart from those that are measured."""
    summary = json.loads(pushed["semantic_summary.json"])
    summary["runs"]["weighted"]["knowledge_accuracy"]["value"] = 0.75
    hub.repos[REPO]["better"] = {**pushed, "semantic_summary.json": json.dumps(summary).encode()}
    status, out, _ = evaluate("--revision", "better")
    assert status == 1
    assert f"The published table of {REPO} does not hold: knowledge accuracy (weighted)." in out
    assert "Also: the card claims another knowledge accuracy than the summary." in out
    _, row = [line for line in out.splitlines() if line.strip().startswith("Knowledge accuracy")]
    assert row.rstrip().endswith("differs")
    assert "75.0 %" in row
    assert evaluate()[0] == 0  # main is as it was


def test_another_table_in_the_card_is_told(evaluate: Call, hub: Hub, pushed: dict[str, bytes]) -> None:
    """What a reader sees, though metadata and summary are as they were."""
    card = re.sub(rb"\| Locality \|[^\n]*", b"| Locality | 100.0 % | 99.0 % | 99.0 % |", pushed["README.md"])
    hub.repos[REPO]["main"]["README.md"] = card
    status, out, _ = evaluate()
    assert status == 1
    assert "Also: the card claims another locality than the summary." in out
    assert f"The scores of {REPO} hold, but not all that was published is of one run." in out


def test_another_adapter_is_told(evaluate: Call, hub: Hub, finished: Path) -> None:
    other = (finished / "plain" / "adapter_model.safetensors").read_bytes()
    hub.repos[REPO]["main"]["adapter_model.safetensors"] = other
    status, out, _ = evaluate()
    assert status == 1
    assert "the weights are not those that were published with this summary" in out
    assert "answers are not the published ones" in out
    assert re.search(r"does not hold: .*\(weighted\)", out)


def test_another_base_is_refused(
    evaluate: Call, hub: Hub, model_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the same structure; with --any_base it is scored, and the table need not hold."""
    other = AutoModelForCausalLM.from_pretrained(model_dir)
    with torch.no_grad():
        other.model.layers[0].mlp.down_proj.weight.mul_(-1)
    other.save_pretrained(tmp_path / "other")
    for path in model_dir.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / "other" / path.name).write_bytes(path.read_bytes())
    hub.repos["org/other"] = {"main": {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()}}
    for model in ("org/other", tmp_path / "other"):
        assert "does not have the weights that 'org/mine' was trained on" in sentence(evaluate("--model", model))
    status, out, _ = evaluate("--model", "org/other", "--any_base")
    assert status == 1
    assert "the table need not hold on them" in caplog.text


def test_without_published_facts_they_are_looked_for(evaluate: Call, hub: Hub, finished: Path) -> None:
    del hub.repos[REPO]["main"]["facts.parquet"]
    assert "'facts.jsonl' is not here" in sentence(evaluate())
    folder = finished.parent  # where the run's facts.jsonl lies
    assert evaluate("--data_dir", folder)[0] == 0
    few = folder / "few.jsonl"
    few.write_text("".join(line + "\n" for line in (folder / "facts.jsonl").read_text().splitlines()[:5]))
    error = sentence(evaluate("--facts", few))
    assert "these are not the facts that the published table is of (5 facts, published of 12;" in error


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("GET", "/api/models/", 401, 99), "knows no valid token of yours (401): log in"),
        (Fault("GET", "/api/models/", 403, 99), "your token may not read from 'org/mine' (403)"),
        (Fault("GET", "/api/models/", 404, 99, {"X_Error_Code": "RepoNotFound"}), "the Hub has no 'org/mine'"),
        (Fault("GET", "/resolve/", 429, 99, {"Retry_After": "77"}), "slow down (429): pull again in 77 seconds"),
        (Fault("GET", "/resolve/", None, 99), "the connection to the Hub failed"),
    ],
)
def test_faults_are_one_sentence(fault: Fault, said: str, evaluate: Call, hub: Hub) -> None:
    hub.faults = [fault]
    error = sentence(evaluate())
    assert said in error
    assert "Nothing was scored" in error


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("HEAD", "/org/base/", 401, 99), "has no 'org/base' to show, or knows no valid token"),
        (Fault("HEAD", "/org/base/", 429, 99, {"Retry_After": "7"}), "slow down (429): pull again in 7 seconds"),
        (Fault("GET", "/model.safetensors", None, 99), "the connection to the Hub failed"),
    ],
)
def test_faults_while_the_base_is_fetched(fault: Fault, said: str, evaluate: Call, hub: Hub) -> None:
    hub.faults = [fault]
    assert said in sentence(evaluate())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        ("config.json", b'{"model_type": "llama", "hidden_size": "x"}'),
        ("tokenizer.json", b"{}"),
        ("model.safetensors", b"x"),
    ],
)
def test_a_hostile_base(name: str, content: bytes, evaluate: Call, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(hub.repos[BASE]["main"], name, content)
    assert "the base model 'org/base' of 'org/mine' cannot be loaded" in sentence(evaluate())


def test_a_revision_that_is_not_there(evaluate: Call) -> None:
    assert "'org/mine' has no revision 'nine' (404)" in sentence(evaluate("--revision", "nine"))
