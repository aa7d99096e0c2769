"""A training that diverges leaves the base as it was for the runs after it."""

from pathlib import Path

import pytest

from semantic_trainer.facts.sets import FactsArguments
from semantic_trainer.study.arms import parse_arms
from semantic_trainer.study.results import read_study
from semantic_trainer.study.runner import Study, run_study
from semantic_trainer.study.settings import Setting
from semantic_trainer.training.training_args import SemanticTrainingArguments
from semantic_trainer.tuners.arguments import ModelArguments

from .conftest import SHORT

TOO_FAST = "learning_rate=1e30 max_grad_norm=0"


def run_arms(inputs: Path, folder: Path, *arms: str) -> dict[str, list[dict]]:
    setting = Setting(
        "tiny",
        FactsArguments(facts=[str(inputs / "facts.jsonl")]),
        ModelArguments(model=str(inputs / "model"), dtype="float32", lora_r=2),
        SemanticTrainingArguments(str(folder), use_cpu=True, **SHORT),
        parse_arms(arms),
        size=4,
        runs=2,
    )
    run_study(Study((setting,), folder, keep_diverged=True))
    return read_study(folder, "tiny")


@pytest.mark.parametrize("weighting", ["plain", "self_paced"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_run_after_one_that_diverged_equals_one_alone(
    weighting: str, method: str, inputs: Path, tmp_path: Path
) -> None:
    diverging = f"diverging: {weighting} {TOO_FAST} method={method}"
    found = run_arms(inputs, tmp_path / "both", "plain", diverging)
    assert all("diverged" in result for result in found["diverging"])
    for ours, alone in zip(found["plain"], run_arms(inputs, tmp_path / "alone", "plain")["plain"], strict=True):
        assert (ours["rows"], ours["training"]) == (alone["rows"], alone["training"])
