"""A tiny model on disk, a dozen facts on disk, and the command line as a function."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from semantic_trainer.cli import main

CITIES = ["Rome", "Berlin", "Paris", "Lisbon", "Madrid", "Oslo"]


@pytest.fixture(autouse=True)
def single_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model_dir(
    _tiny_llama: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("model")
    _tiny_llama.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
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


@pytest.fixture
def options(facts_file: Path, model_dir: Path, tmp_path: Path) -> dict[str, object]:
    """Options of a run that takes about two seconds."""
    return {
        "facts": [str(facts_file)],
        "model": str(model_dir),
        "dtype": "float32",
        "output_dir": str(tmp_path / "out"),
        "max_new_tokens": 10,
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


@pytest.fixture
def argv(options: dict[str, object]) -> Callable[..., list[str]]:
    """`["run", "--facts", ...]`; an option of None is left out."""

    def make(command: str = "run", *flags: str, **more: object) -> list[str]:
        out = [command]
        for name, value in {**options, **more}.items():
            if value is not None:
                out += [f"--{name}", *(map(str, value) if isinstance(value, list) else [str(value)])]
        return [*out, *flags]

    return make


@pytest.fixture
def call(argv: Callable) -> Callable[..., int]:
    def run(command: str = "run", *flags: str, **more: object) -> int:
        return main(argv(command, *flags, **more))

    return run
