"""Teacher-forced tokens and next-token divergences against slow references, one prompt at a time."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from semantic_trainer import PromptFormat, evaluate_facts, tokenize_facts
from semantic_trainer.evaluation.forward import next_token_divergences, teacher_forced

FORM = PromptFormat.question_answer()
PROMPTS = ["Who wrote Emma?", "What is the capital of France, the country?", "Who?", "Where is it?"]
TARGETS = ["Jane Austen", "Rome", "Me", "In the far north of Portugal"]


@pytest.fixture
def tuned(model: torch.nn.Module) -> PeftModel:
    torch.manual_seed(3)
    config = LoraConfig(r=4, lora_alpha=64, target_modules="all-linear", init_lora_weights=False)
    return get_peft_model(model, config)


@torch.no_grad()
def slow_share(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, prompt: str, target: str) -> float:
    (head,), (tail,) = FORM.prompt_ids(tokenizer, [prompt]), FORM.completion_ids(tokenizer, [target], [prompt])
    hits = [
        int(model(input_ids=torch.tensor([head + tail[:i]])).logits[0, -1].argmax()) == token
        for i, token in enumerate(tail)
    ]
    return sum(hits) / len(hits)


@torch.no_grad()
def slow_divergence(model: PeftModel, tokenizer: PreTrainedTokenizerFast, prompt: str) -> float:
    ids = torch.tensor(FORM.prompt_ids(tokenizer, [prompt]))
    new = model(input_ids=ids).logits[0, -1].double().softmax(-1)
    with model.disable_adapter():
        old = model(input_ids=ids).logits[0, -1].double().softmax(-1)
    return float((old * (old / new).log()).sum())


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_shares_are_the_slow_references(batch_size: int, tuned: PeftModel, tokenizer: PreTrainedTokenizerFast) -> None:
    tuned.eval()
    with torch.no_grad():  # louder target tokens: the tiny model gets some of them right
        for ids in FORM.completion_ids(tokenizer, TARGETS):
            tuned.get_base_model().lm_head.weight[ids] *= 8
    expected = [slow_share(tuned, tokenizer, *pair) for pair in zip(PROMPTS, TARGETS, strict=True)]
    assert teacher_forced(tuned, tokenizer, PROMPTS, TARGETS, FORM, batch_size)[0].tolist() == pytest.approx(expected)
    assert len(set(expected)) > 1


@pytest.mark.parametrize("batch_size", [1, 3])
def test_losses_are_those_that_training_begins_with(
    batch_size: int, tuned: PeftModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    tuned.eval()
    expected = []
    facts = tokenize_facts(Dataset.from_dict({"prompt": PROMPTS, "target": TARGETS}), tokenizer, FORM)
    for row in facts:
        ids, labels = (torch.tensor([row[name]]) for name in ("input_ids", "labels"))
        with torch.no_grad():
            expected.append(float(tuned(input_ids=ids, labels=labels).loss))
    _, found = teacher_forced(tuned, tokenizer, PROMPTS, TARGETS, FORM, batch_size)
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_divergences_are_the_slow_references(
    batch_size: int, tuned: PeftModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    tuned.eval()
    expected = [slow_divergence(tuned, tokenizer, prompt) for prompt in PROMPTS]
    found = next_token_divergences(tuned, tokenizer, PROMPTS, FORM, batch_size)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert min(expected) > 0.01


def test_an_adapter_that_changes_nothing_does_not_diverge(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast
) -> None:
    same = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    assert next_token_divergences(same, tokenizer, PROMPTS, FORM).tolist() == [0.0] * len(PROMPTS)


def test_virtual_tokens_do_not_shift_the_positions(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast) -> None:
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    prompted = get_peft_model(model, config).eval()
    expected = [slow_share(prompted, tokenizer, *pair) for pair in zip(PROMPTS, TARGETS, strict=True)]
    assert teacher_forced(prompted, tokenizer, PROMPTS, TARGETS, FORM)[0].tolist() == pytest.approx(expected)


def test_a_model_with_positions_of_its_own(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    gpt2 = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(tokenizer), n_positions=128, n_embd=32, n_layer=2, n_head=4)
    ).eval()
    expected = [slow_share(gpt2, tokenizer, *pair) for pair in zip(PROMPTS, TARGETS, strict=True)]
    assert teacher_forced(gpt2, tokenizer, PROMPTS, TARGETS, FORM)[0].tolist() == pytest.approx(expected)


def test_the_leak_gap_is_token_minus_strict(tuned: PeftModel, tokenizer: object, facts: Dataset) -> None:
    found = evaluate_facts(tuned, tokenizer, facts, FORM, max_new_tokens=6)
    gaps = np.array(found.table["token"][:]) - np.array(found.table["knowledge_accuracy"][:], dtype=float)
    assert found.summary["leak_gap"]["value"] == pytest.approx(gaps.mean())
    expected = [slow_share(tuned.eval(), tokenizer, f["prompt"], f["target"]) for f in facts]
    assert found.table["token"][:] == pytest.approx(expected)
    protocols = {found.summary[name]["protocol"] for name in ("knowledge_accuracy", "normalized", "contains", "token")}
    assert len(protocols) == 4


def test_the_noise_floor_in_float32_is_one(tuned: PeftModel, tokenizer: object, facts: Dataset) -> None:
    found = evaluate_facts(tuned, tokenizer, facts, FORM, max_new_tokens=6, batch_size=2, noise_floor=True)
    floor = found.summary["locality_noise_floor"]
    assert (floor["value"], floor["n"]) == (1.0, 5)
    assert "reshuffled" in floor["protocol"]
    without = evaluate_facts(tuned, tokenizer, facts, FORM, max_new_tokens=6).summary["locality_noise_floor"]
    assert without["value"] is None


def test_portability_is_strict_on_its_own_answers(model: torch.nn.Module, tokenizer: object, facts: Dataset) -> None:
    said = evaluate_facts(model, tokenizer, facts, FORM, max_new_tokens=6).table["new_answer"][:]
    prompts = facts["prompt"][:]
    hops = [[{"prompt": prompts[0], "answer": said[0]}, {"prompt": prompts[1], "answer": "never"}], [], [], [], []]
    rows = [{**row, "portability": hop} for row, hop in zip(facts, hops, strict=True)]
    found = evaluate_facts(model, tokenizer, Dataset.from_list(rows), FORM, max_new_tokens=6)
    assert found.summary["portability"]["value"] == 0.5
    assert found.summary["portability"]["n"] == 1
    assert found.table["portability"][0] == [True, False]
    assert found.table["portability_answers"][0] == [said[0], said[1]]


@pytest.mark.parametrize("cell", [[{"x": "y"}], [{"prompt": "Who?"}], [{"prompt": "Who?", "answer": None}], {"a": []}])
def test_a_portability_cell_of_another_shape_is_named(
    cell: object, model: torch.nn.Module, tokenizer: object, facts: Dataset
) -> None:
    rows = [{**row, "portability": cell if i == 2 else None} for i, row in enumerate(facts)]
    with pytest.raises(ValueError, match=r"`facts` column 'portability', row 2: .*texts prompt and answer, but"):
        evaluate_facts(model, tokenizer, Dataset.from_list(rows), FORM, max_new_tokens=6)


def test_breakdowns_add_up(tuned: PeftModel, tokenizer: object, facts: Dataset) -> None:
    found = evaluate_facts(tuned, tokenizer, facts, FORM, max_new_tokens=6)
    for metric in ("knowledge_accuracy", "generality", "token"):
        bins = found.by_distance(metric)
        total = sum(row["n"] * row["value"] for row in bins if row["n"])
        assert sum(row["n"] for row in bins) == 5
        assert total / 5 == pytest.approx(found.summary[metric]["value"])
    (relation,) = found.by_relation("generality")
    assert (relation["relation"], relation["n"]) == ("capital", 5)
    assert relation["value"] == pytest.approx(found.summary["generality"]["value"])
    with pytest.raises(ValueError, match="`table` has no column 'accuracy'"):
        found.by_distance("accuracy")


def test_answers_that_are_not_kept_leave_no_file(
    tuned: PeftModel, tokenizer: object, facts: Dataset, cache: object
) -> None:
    evaluate_facts(tuned, tokenizer, facts, FORM, max_new_tokens=6, keep=False)
    (base,) = (cache / "answers").iterdir()  # the base's answers alone
    assert '"adapter": null' in (base / "key.json").read_text()
