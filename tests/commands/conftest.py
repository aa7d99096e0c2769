"""A tiny model on disk, a dozen facts on disk, and the command line as a function."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from semantic_trainer.cli import main

CITIES = ["Rome", "Berlin", "Paris", "Lisbon", "Madrid", "Oslo"]

# A run of a few seconds.
OPTIONS = [
    *("--dtype", "float32", "--max_new_tokens", "9", "--num_train_epochs", "8", "--learning_rate", "0.01"),
    *("--per_device_train_batch_size", "4", "--lora_r", "2", "--use_cpu", "true", "--output_dir"),
]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are tested elsewhere."""
    monkeypatch.setattr("semantic_trainer.evaluation.statistics.RESAMPLES", 100)


@pytest.fixture(scope="session")
def model_dir(
    _tiny_llama: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("model")
    _tiny_llama.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def rows() -> list[dict]:
    return [
        {
            "prompt": f"What is the capital of land {i}?",
            "target": CITIES[i % len(CITIES)],
            "subject": f"land {i}",
            "relation": "capital" if i % 3 else "seat",
            "paraphrases": [f"Which city is the seat of land {i}?"],
            "locality_prompts": [f"How many legs has spider {i}?"],
        }
        for i in range(12)
    ]


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[[list[dict]], Path]:
    def write(rows: list[dict], name: str = "facts.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def facts_file(rows: list[dict], write_rows: Callable) -> Path:
    return write_rows(rows)


def run_options(facts: Path, model: Path, out: Path) -> dict[str, object]:
    """Options of a run that takes about two seconds."""
    return {
        "facts": [str(facts)],
        "model": str(model),
        "dtype": "float32",
        "output_dir": str(out),
        "max_new_tokens": 9,
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "learning_rate": 0.01,
        "lora_r": 2,
        "save_strategy": "epoch",
        "logging_steps": 1,
        "disable_tqdm": True,
        "use_cpu": True,
        "report_to": "none",
    }


def to_argv(command: str, options: dict[str, object], *flags: str) -> list[str]:
    out = [command]
    for name, value in options.items():
        if value is not None:
            out += [f"--{name}", *(map(str, value) if isinstance(value, list) else [str(value)])]
    return [*out, *flags]


@pytest.fixture
def options(facts_file: Path, model_dir: Path, tmp_path: Path) -> dict[str, object]:
    return run_options(facts_file, model_dir, tmp_path / "out")


@pytest.fixture
def argv(options: dict[str, object]) -> Callable[..., list[str]]:
    """`["run", "--facts", ...]`; an option of None is left out."""
    return lambda command="run", *flags, **more: to_argv(command, {**options, **more}, *flags)


@pytest.fixture
def call(argv: Callable) -> Callable[..., int]:
    return lambda command="run", *flags, **more: main(argv(command, *flags, **more))


@pytest.fixture(scope="session")
def unbroken(rows: list[dict], model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """facts.parquet of a run that nobody disturbed; its stored answers are of no help to others."""
    folder = tmp_path_factory.mktemp("unbroken")
    facts = folder / "facts.jsonl"
    facts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMANTIC_TRAINER_CACHE", str(folder / "cache"))
        torch.set_num_threads(1)
        assert main(to_argv("run", run_options(facts, model_dir, folder / "out"))) == 0
        torch.set_num_threads(threads)
    return (folder / "out" / "facts.parquet").read_bytes()


@pytest.fixture(scope="session")
def finished(rows: list[dict], model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has ended; tests that spoil it copy it first."""
    folder = tmp_path_factory.mktemp("finished")
    facts = folder / "facts.jsonl"
    facts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMANTIC_TRAINER_CACHE", str(folder / "cache"))
        patch.setattr("semantic_trainer.commands.output.draw_run", lambda folder, facts, tables: [])
        torch.set_num_threads(1)
        assert main(["run", "--facts", str(facts), "--model", str(model_dir), *OPTIONS, str(folder / "out")]) == 0
        torch.set_num_threads(threads)
    return folder / "out"


@pytest.fixture
def spoilt(finished: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal in which nothing wraps."""
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def no_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `evaluate` refuses is refused before the base model is loaded."""
    monkeypatch.setattr(
        "semantic_trainer.commands.rescoring.load_model", lambda *a, **k: pytest.fail("the model was loaded")
    )


def error_of(capsys: pytest.CaptureFixture, *argv: object) -> str:
    """The one sentence with which `evaluate` refuses."""
    assert main(["evaluate", *map(str, argv)]) == 2
    error = capsys.readouterr().err
    (line,) = [line for line in error.splitlines() if "evaluate: error: " in line]
    assert line.isprintable()
    return line


def change(folder: Path, keys: str, value: object, file: str = "semantic_summary.json") -> None:
    """Set one entry of a JSON file."""
    data = json.loads((folder / file).read_text())
    *path, last = keys.split(".")
    at = data
    for key in path:
        at = at[key]
    at[last] = value
    (folder / file).write_text(json.dumps(data))
