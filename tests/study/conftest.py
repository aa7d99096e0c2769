"""A study of a tiny model: two arms with LoRA, one with AdaLoRA, one that tunes everything, one with a filter."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from semantic_trainer.cli import main

CITIES = ["Rome", "Berlin", "Paris", "Lisbon", "Madrid", "Oslo"]
SHORT = {"max_new_tokens": 9, "num_train_epochs": 2, "per_device_train_batch_size": 2, "learning_rate": 0.01}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are tested elsewhere."""
    monkeypatch.setattr("semantic_trainer.evaluation.statistics.RESAMPLES", 100)


@pytest.fixture(scope="session")
def inputs(
    _tiny_llama: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with `model/` and `facts.jsonl`."""
    folder = tmp_path_factory.mktemp("inputs")
    _tiny_llama.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    rows = [
        {
            "prompt": f"What is the capital of land {i}?",
            "target": CITIES[i % 6],
            "subject": f"land {i}",
            "paraphrases": [f"Which city is the seat of land {i}?"],
            "locality_prompts": [f"How many legs has spider {i}?"],
        }
        for i in range(12)
    ]
    (folder / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def recipe(inputs: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a recipe; keyword arguments change its options."""

    def write(name: str = "recipe.yaml", **changes: object) -> Path:
        options = {
            "facts": "facts.jsonl",
            "model": str(inputs / "model"),
            "dtype": "float32",
            "use_cpu": True,
            "tables": ["table3"],
            "lora_r": 2,
            **SHORT,
            "runs": 2,
            "facts_per_run": 4,
            "arms": ["plain", "paper"],
            **changes,
        }
        path = tmp_path / name
        path.write_text(yaml.safe_dump({name: value for name, value in options.items() if value is not None}))
        return path

    return write


@pytest.fixture
def study(inputs: Path, tmp_path: Path) -> Callable[..., Path]:
    """Runs a recipe into a folder of `tmp_path`, and gives the folder."""

    def call(recipe: Path, out: str = "out", *flags: str) -> Path:
        folder = tmp_path / out
        argv = ["study", "--config", str(recipe), "--data_dir", str(inputs), "--output_dir", str(folder), *flags]
        assert main(argv) == 0
        return folder

    return call


def results(folder: Path) -> dict[str, dict]:
    """Every result of a study, without the machine and its seconds."""
    found = {str(path.relative_to(folder)): json.loads(path.read_text()) for path in sorted(folder.rglob("*.json"))}
    return {name: {k: v for k, v in result.items() if k != "environment"} for name, result in found.items()}


def tables(folder: Path) -> dict[str, bytes]:
    """Every table of a study."""
    return {path.name: path.read_bytes() for path in sorted((folder / "tables").iterdir())}
