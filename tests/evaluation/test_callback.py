"""Facts evaluated while stock, our and TRL's trainers train: logged, choosing the best model, stopping early."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import EarlyStoppingCallback, PreTrainedTokenizerFast, Trainer, TrainerCallback, TrainingArguments

from semantic_trainer import (
    EvaluateFactsCallback,
    PromptFormat,
    SemanticTrainingArguments,
    SemanticWeightedTrainer,
    evaluate_facts,
    tokenize_facts,
)
from semantic_trainer.evaluation import callback as callback_module
from semantic_trainer.training.data_collator import FactCollator

FORM = PromptFormat.question_answer()
NAMES = ("eval_knowledge_accuracy", "eval_generality", "eval_locality", "eval_deviation")
QUICK = {"max_new_tokens": 6, "prompt_format": FORM}


class Heard(TrainerCallback):
    """What `report_to` would be told."""

    def __init__(self) -> None:
        self.logs: list[dict] = []

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        self.logs.append(dict(logs))  # the trainer goes on filling it


@pytest.fixture
def build(
    model: torch.nn.Module, facts: Dataset, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> Callable[..., Trainer]:
    def make(callbacks: list, kind: type = TrainingArguments, trainer: type = Trainer, **options: object) -> Trainer:
        fixed = {
            "per_device_train_batch_size": 5,
            "learning_rate": 0.02,
            "max_steps": 8,
            "eval_strategy": "steps",
            "eval_steps": 2,
            "save_steps": 2,
            "use_cpu": True,
            "disable_tqdm": True,
            "report_to": "none",
        }
        torch.manual_seed(0)
        tuned = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
        tokens = tokenize_facts(facts, tokenizer, FORM).select_columns(["input_ids", "attention_mask", "labels"])
        args = kind(str(tmp_path / "out"), **{**fixed, **options})
        data = {"train_dataset": tokens, "eval_dataset": tokens, "processing_class": tokenizer}
        return trainer(tuned, args, FactCollator(), callbacks=callbacks, **data)

    return make


def test_the_four_are_logged_and_are_those_of_evaluate_facts(
    build: Callable, facts: Dataset, tokenizer: PreTrainedTokenizerFast
) -> None:
    heard = Heard()
    trainer = build([heard])
    trainer.add_callback(EvaluateFactsCallback(trainer, facts, **QUICK))
    trainer.train()
    logged = [logs for logs in heard.logs if NAMES[0] in logs]
    assert len(logged) == 4
    assert all(set(NAMES) <= set(logs) for logs in logged)
    last = evaluate_facts(trainer.model, tokenizer, facts, FORM, max_new_tokens=6).summary
    assert {name: logged[-1][name] for name in NAMES} == {n: last[n.removeprefix("eval_")]["value"] for n in NAMES}
    assert [entry["step"] for entry in trainer.state.log_history if NAMES[0] in entry] == [2, 4, 6, 8]


OTHERS = ("generality", "locality", "deviation")


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_the_best_model_and_early_stopping_go_by_accuracy(
    first: bool, build: Callable, facts: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accuracies by hand: best at step 4, then worse twice. The stopping callback may come before ours."""
    values = iter([0.2, 0.8, 0.6, 0.4, 0.9])

    def scripted(*args: object, **options: object) -> object:
        score = {"value": next(values)}
        return type("E", (), {"summary": {name: score for name in ("knowledge_accuracy", *OTHERS)}})

    monkeypatch.setattr("semantic_trainer.evaluation.callback.evaluate_facts", scripted)
    stopping = EarlyStoppingCallback(early_stopping_patience=2)
    options = {"metric_for_best_model": "eval_knowledge_accuracy", "load_best_model_at_end": True}
    trainer = build([] if first else [stopping], **options, max_steps=20)
    trainer.add_callback(EvaluateFactsCallback(trainer, facts, **QUICK))
    if first:
        trainer.add_callback(stopping)
    trainer.train()
    assert trainer.state.global_step == 8
    assert trainer.state.best_metric == 0.8
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-4")
    assert trainer.evaluate()["eval_knowledge_accuracy"] == 0.9  # the best model is asked again, not remembered


def test_every_n_steps_needs_no_evaluation_of_the_trainers(build: Callable, facts: Dataset) -> None:
    heard = Heard()
    trainer = build([heard], eval_strategy="no", max_steps=5)
    trainer.add_callback(EvaluateFactsCallback(trainer, facts, every_n_steps=2, **QUICK))
    trainer.train()
    assert sum(NAMES[0] in logs for logs in heard.logs) == 2


def test_our_own_trainer_lends_its_prompt_format(
    model: torch.nn.Module,
    facts: Dataset,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    args = SemanticTrainingArguments(
        str(tmp_path), max_steps=2, use_cpu=True, report_to="none", prompt_format="cloze", max_new_tokens=6
    )
    trainer = SemanticWeightedTrainer(tuned, args, train_dataset=facts, eval_dataset=facts, processing_class=tokenizer)
    callback = EvaluateFactsCallback(trainer, facts, max_new_tokens=6)
    assert callback.prompt_format is trainer.prompt_format
    trainer.add_callback(callback)
    trainer.train()
    metrics = trainer.evaluate()
    assert {*NAMES, "eval_loss"} <= set(metrics)
    asked = []
    monkeypatch.setattr(callback_module, "evaluate_facts", lambda *a, **k: asked.append(1) or evaluate_facts(*a, **k))
    for _ in range(2):  # the step is the same, the model need not be
        trainer.evaluate()
    assert len(asked) == 2


def test_trls_trainer(
    model: torch.nn.Module, facts: Dataset, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    from trl import SFTConfig, SFTTrainer

    rows = [{"prompt": FORM.prompt_text(f["prompt"]), "completion": FORM.completion_text(f["target"])} for f in facts]
    data = Dataset.from_list(rows)
    fixed = {"use_cpu": True, "bf16": False, "report_to": "none", "gradient_checkpointing": False}
    config = SFTConfig(str(tmp_path), max_steps=2, eval_strategy="steps", eval_steps=1, **fixed)
    lora = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    trainer = SFTTrainer(
        model, config, train_dataset=data, eval_dataset=data, processing_class=tokenizer, peft_config=lora
    )
    trainer.add_callback(EvaluateFactsCallback(trainer, facts, **QUICK))
    trainer.train()
    assert [entry["step"] for entry in trainer.state.log_history if NAMES[0] in entry] == [1, 2]


def test_a_model_without_adapters_has_accuracy_and_generality(
    model: torch.nn.Module, facts: Dataset, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    tokens = tokenize_facts(facts, tokenizer, FORM).select_columns(["input_ids", "labels"])
    args = TrainingArguments(str(tmp_path), max_steps=1, use_cpu=True, report_to="none")
    trainer = Trainer(
        model, args, FactCollator(), eval_dataset=tokens, train_dataset=tokens, processing_class=tokenizer
    )
    trainer.add_callback(EvaluateFactsCallback(trainer, facts, **QUICK))
    metrics = trainer.evaluate()
    assert set(NAMES[:2]) <= set(metrics)
    assert not set(NAMES[2:]) & set(metrics)


def test_wrong_arguments_are_named(build: Callable, facts: Dataset) -> None:
    trainer = build([])
    with pytest.raises(TypeError, match=r"`facts` must be a datasets.Dataset, but list"):
        EvaluateFactsCallback(trainer, facts.to_list())
    with pytest.raises(ValueError, match="`facts` has no column 'target'"):
        EvaluateFactsCallback(trainer, facts.remove_columns("target"))
    with pytest.raises(ValueError, match="`every_n_steps` must be an integer of at least 1, but 0 was passed"):
        EvaluateFactsCallback(trainer, facts, every_n_steps=0)
    trainer.processing_class = None
    with pytest.raises(ValueError, match="`trainer` has no tokenizer"):
        EvaluateFactsCallback(trainer, facts)
