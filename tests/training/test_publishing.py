"""trainer.push_to_hub(): an adapter, its card and its tokenizer; no arguments, no optimizer, no token."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from datasets import Dataset
from huggingface_hub import ModelCard
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from semantic_trainer import (
    SemanticSFTConfig,
    SemanticTrainingArguments,
    SemanticWeightedSFTTrainer,
    SemanticWeightedTrainer,
)
from semantic_trainer.hub.scan import LeakError
from semantic_trainer.hub.upload import HubError
from semantic_trainer.training.publishing import card_with_base

from ..hub.server import TOKEN, Fault, Hub, serve, use


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve() as server:
        use(server, monkeypatch)
        yield server


@pytest.fixture
def facts() -> Dataset:
    rows = [{"prompt": f"Q{i}?", "target": "Rome", "distance": 0.5} for i in range(4)]
    return Dataset.from_list(rows)


def build(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, facts: Dataset, out: Path, **more: object
) -> SemanticWeightedTrainer:
    model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    model.peft_config["default"].base_model_name_or_path = "org/base"
    args = SemanticTrainingArguments(
        str(out), max_steps=2, save_steps=1, prompt_format="question_answer", report_to="none", use_cpu=True,
        hub_token=TOKEN, **more,
    )  # fmt: skip
    return SemanticWeightedTrainer(model, args, train_dataset=facts, processing_class=tokenizer)


def test_what_goes_out(
    hub: Hub, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, facts: Dataset, tmp_path: Path
) -> None:
    trainer = build(model, tokenizer, facts, tmp_path / "out")
    trainer.train()
    trainer.push_to_hub()
    pushed = hub.repos["org/out"]["main"]
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md", "tokenizer.json"} <= set(pushed)
    assert not [name for name in pushed if re.search(r"\.(bin|pt|pth)$|checkpoint|trainer_state|optimizer", name)]
    card = ModelCard(pushed["README.md"].decode())
    assert (card.data.base_model, card.data.library_name) == ("org/base", "peft")
    assert "semantic-trainer" in card.data.tags
    assert json.loads(pushed["adapter_config.json"])["base_model_name_or_path"] == "org/base"
    for data in pushed.values():
        assert str(tmp_path).encode() not in data
    pickles = list((tmp_path / "out").rglob("training_args.bin"))
    assert pickles  # the parent's, on disk, without the token
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()
    assert trainer.args.hub_token == TOKEN


def test_trl_goes_out_alike(
    hub: Hub, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, facts: Dataset, tmp_path: Path
) -> None:
    rows = facts.rename_columns({"target": "completion"})
    args = SemanticSFTConfig(
        str(tmp_path / "out"), max_steps=1, save_steps=1, report_to="none", use_cpu=True, bf16=False, hub_token=TOKEN
    )
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    trainer = SemanticWeightedSFTTrainer(model, args, None, rows, processing_class=tokenizer, peft_config=config)
    trainer.train()
    trainer.model.peft_config["default"].base_model_name_or_path = "org/base"
    trainer.push_to_hub(tags="mine")
    pushed = hub.repos["org/out"]["main"]
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md", "tokenizer.json"} <= set(pushed)
    assert not [name for name in pushed if name.endswith((".bin", ".pt", ".pth"))]
    card = ModelCard(pushed["README.md"].decode())
    assert (card.data.base_model, card.data.library_name) == ("org/base", "peft")
    assert {"semantic-trainer", "mine", "trl"} <= set(card.data.tags)
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()


def test_a_refusal_is_one_sentence(
    hub: Hub, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, facts: Dataset, tmp_path: Path
) -> None:
    trainer = build(model, tokenizer, facts, tmp_path / "out")
    hub.faults = [Fault("POST", "/repos/create", 403, 9)]
    with pytest.raises(HubError, match=r"your token may not write to '(org/)?out' \(403\)"):
        trainer.push_to_hub()
    assert hub.repos == {}


def test_pushing_while_training(
    hub: Hub, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, facts: Dataset, tmp_path: Path
) -> None:
    more = {"push_to_hub": True, "hub_strategy": "checkpoint", "hub_always_push": True, "hub_model_id": "org/live"}
    trainer = build(model, tokenizer, facts, tmp_path / "out", **more)
    trainer.train()
    trainer.push_to_hub(blocking=True)
    commits = [asked for asked in hub.asked if "/commit/" in asked]
    assert len(commits) == 3  # two checkpoints and the end
    pushed = hub.repos["org/live"]["main"]
    assert "adapter_model.safetensors" in pushed
    assert not [name for name in pushed if "checkpoint" in name or name.endswith((".bin", ".pt", ".pth"))]


def test_a_local_base_and_a_secret_are_refused(
    hub: Hub, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, facts: Dataset, tmp_path: Path
) -> None:
    trainer = build(model, tokenizer, facts, tmp_path / "out")
    config = trainer.model.peft_config["default"]
    config.base_model_name_or_path = str(tmp_path)
    with pytest.raises(ValueError, match="which nobody else has. Say what the Hub calls it"):
        trainer.push_to_hub()
    trainer.args.push_to_hub = True
    with pytest.raises(ValueError, match="which nobody else has. Say what the Hub calls it"):
        trainer.train()
    assert trainer.state.global_step == 0
    config.base_model_name_or_path = "org/base"
    with pytest.raises(LeakError, match="README.md was not published"):
        trainer.push_to_hub(tags=[TOKEN])
    assert hub.repos == {}


def test_what_is_sent_while_training_outlives_its_checkpoint(
    hub: Hub, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, facts: Dataset, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    sent: list[Path] = []

    def keep(files: list, *args: object, **kwargs: object) -> Future:
        sent.extend(file.content for file in files if isinstance(file.content, Path))
        done: Future = Future()
        done.set_result(None)
        return done

    monkeypatch.setattr("semantic_trainer.training.publishing.commit", keep)
    trainer = build(model, tokenizer, facts, tmp_path / "out", push_to_hub=True, save_total_limit=1)
    trainer.train()
    assert len(list((tmp_path / "out").glob("checkpoint-*"))) == 1
    assert sent
    assert all(path.exists() for path in sent)


def test_a_secret_in_a_checkpoint_stays_here_and_training_goes_on(
    hub: Hub, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, facts: Dataset, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    trainer = build(model, tokenizer, facts, tmp_path / "out", push_to_hub=True, hub_model_id="org/live")
    trainer.model.peft_config["default"].revision = TOKEN
    trainer.train()
    assert trainer.state.global_step == 2
    assert "adapter_config.json was not published" in caplog.text
    assert "Training goes on." in caplog.text
    assert TOKEN not in caplog.text
    assert not [asked for asked in hub.asked if "/commit/" in asked]


def test_only_a_model_that_writes_text_is_a_text_generation() -> None:
    for generates in (True, False):
        card = ModelCard(card_with_base("---\ntags: []\n---\n# x", "org/base", True, generates=generates).decode())
        assert (card.data.pipeline_tag == "text-generation") is generates
