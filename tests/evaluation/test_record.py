"""A model whose weights are all tuned, scored against a record of its base: as an adapter is against its own."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedTokenizerFast, TrainerCallback

from semantic_trainer import (
    EvaluateFactsCallback,
    PromptFormat,
    SemanticTrainingArguments,
    SemanticWeightedTrainer,
    evaluate_facts,
    record_base,
)
from semantic_trainer.evaluation.forward import next_token_divergences

FORM = PromptFormat.question_answer()
QUICK = {"max_new_tokens": 6, "batch_size": 3}


@pytest.fixture
def tuned(model: torch.nn.Module) -> PeftModel:
    torch.manual_seed(3)
    return get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False))


@pytest.fixture
def ask(facts: Dataset, tokenizer: PreTrainedTokenizerFast) -> Callable:
    return lambda model, **more: evaluate_facts(model, tokenizer, facts, FORM, **{**QUICK, **more})


def test_it_is_what_an_adapter_and_its_base_give(
    tuned: PeftModel, facts: Dataset, tokenizer: PreTrainedTokenizerFast, ask: Callable
) -> None:
    record = record_base(tuned, tokenizer, facts, FORM, **QUICK)
    expected = ask(tuned)
    found = ask(copy.deepcopy(tuned).merge_and_unload(), base=record)
    moved = [np.concatenate(e.table["next_token_kl"][:]) for e in (expected, found)]
    assert moved[1] == pytest.approx(moved[0], rel=1e-3)
    assert found.table["target_loss"][:] == pytest.approx(expected.table["target_loss"][:], rel=1e-4)
    rounded = ["next_token_kl", "target_loss"]
    assert found.table.remove_columns(rounded).to_list() == expected.table.remove_columns(rounded).to_list()
    assert {name: s for name, s in found.summary.items() if name != "next_token_kl"} == {
        name: s for name, s in expected.summary.items() if name != "next_token_kl"
    }
    assert found.summary["locality"]["value"] < 1


def test_the_base_has_not_moved_from_itself(
    model: torch.nn.Module, facts: Dataset, tokenizer: PreTrainedTokenizerFast, ask: Callable
) -> None:
    record = record_base(model, tokenizer, facts, FORM, **QUICK)
    summary = ask(model, base=record).summary
    assert (summary["locality"]["value"], summary["deviation"]["value"]) == (1.0, 0.0)
    prompts = list(record.next_token)
    same = next_token_divergences(model, tokenizer, prompts, FORM, 3, base=record.next_token)
    assert same.tolist() == [0.0] * len(prompts)
    assert next_token_divergences(model, tokenizer, prompts[::-1], FORM, 2, base=record.next_token) == (
        pytest.approx([0.0] * len(prompts), abs=1e-6)
    )


def test_a_record_of_something_else_is_refused(
    model: torch.nn.Module, facts: Dataset, tokenizer: PreTrainedTokenizerFast, ask: Callable
) -> None:
    record = record_base(model, tokenizer, facts.select(range(3)), FORM, **QUICK)
    with pytest.raises(ValueError, match=r"`base` holds no answer to 4 prompts, first .What is the capital of"):
        ask(model, base=record)
    record = record_base(model, tokenizer, facts, FORM, **QUICK)
    with pytest.raises(ValueError, match="recorded under another settings .*max_new_tokens=6.*max_new_tokens=7"):
        ask(model, base=record, max_new_tokens=7)
    with pytest.raises(ValueError, match="recorded under another prompt_format"):
        evaluate_facts(model, tokenizer, facts, PromptFormat.cloze(), base=record, **QUICK)
    with pytest.raises(ValueError, match="`noise_floor` asks the base, which is only recorded"):
        ask(model, base=record, noise_floor=True)


def test_full_fine_tuning_is_scored_against_its_base_while_it_goes_on(
    model: torch.nn.Module, facts: Dataset, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    class Heard(TrainerCallback):
        logs: list[dict] = []

        def on_log(self, args, state, control, logs=None, **kwargs) -> None:
            self.logs.append(dict(logs))

    args = SemanticTrainingArguments(
        str(tmp_path),
        max_steps=6,
        learning_rate=0.01,
        eval_strategy="steps",
        eval_steps=3,
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        report_to="none",
        prompt_format="question_answer",
        max_new_tokens=6,
    )
    data = {"train_dataset": facts, "eval_dataset": facts, "processing_class": tokenizer}
    trainer = SemanticWeightedTrainer(model, args, callbacks=[Heard()], **data)
    record = record_base(model, tokenizer, facts, trainer.prompt_format, max_new_tokens=6)
    trainer.add_callback(EvaluateFactsCallback(trainer, facts, max_new_tokens=6, base=record))
    trainer.train()
    localities = [entry["eval_locality"] for entry in Heard.logs if "eval_locality" in entry]
    assert len(localities) == 2
    assert localities[-1] < 1
    assert all("eval_deviation" in entry for entry in Heard.logs if "eval_locality" in entry)
