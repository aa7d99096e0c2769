"""Old answers that came with facts: those of the same model are taken over, others are asked again, which is said."""

import copy

import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from semantic_trainer import EmbeddingTable, Endpoint, PromptFormat, add_distances, add_old_answers, add_weights
from semantic_trainer.answers.answerer import answerer
from semantic_trainer.answers.decoding import GenerationSettings

from .conftest import PROMPTS
from .test_stage import count_prompts

FORM = PromptFormat.question_answer()
SETTINGS = GenerationSettings(6)
HOW = {"prompt_format": FORM, "max_new_tokens": 6}


@pytest.fixture
def answered(talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Dataset:
    """Facts as they come from the Hub: answered, measured, and with who answered."""
    facts = Dataset.from_dict({"prompt": PROMPTS, "target": ["Rome"] * len(PROMPTS)})
    facts = add_old_answers(facts, talker, tokenizer, **HOW)
    facts = add_distances(facts, EmbeddingTable.from_model(talker), tokenizer, FORM)
    return facts.add_column("answered_by", [answerer(talker, tokenizer, FORM, SETTINGS)] * len(facts))


def test_the_same_model_is_not_asked(
    answered: Dataset,
    talker: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sizes = count_prompts(talker, monkeypatch, fail_after=0)
    with caplog.at_level("INFO"):
        facts = add_old_answers(answered, talker, tokenizer, **HOW, store_dir=tmp_path / "empty")
    assert sizes == []
    assert "the old answers of 24 facts came with them, and are taken over" in caplog.text
    own = answered.remove_columns("answered_by")
    assert set(facts.column_names) == set(own.column_names)
    for name in own.column_names:
        assert facts[name][:] == own[name][:]


def test_who_answers_is_the_base_whatever_it_was_loaded_in(
    talker: LlamaForCausalLM, adapted: PeftModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    half = copy.deepcopy(adapted.unload()).to(torch.bfloat16)
    again = copy.deepcopy(half).float()
    assert answerer(half, tokenizer, FORM, SETTINGS) == answerer(again, tokenizer, FORM, SETTINGS)
    loaded = GenerationSettings(6, "model")
    assert answerer(half, tokenizer, FORM, loaded) != answerer(again, tokenizer, FORM, loaded)


def test_an_adapter_does_not_change_who_answers(
    talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, request: pytest.FixtureRequest
) -> None:
    bare = answerer(talker, tokenizer, FORM, SETTINGS)
    assert answerer(request.getfixturevalue("adapted"), tokenizer, FORM, SETTINGS) == bare


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("weights", "model"),
        ("config", "model"),
        ("format", "prompt format"),
        ("tokens", "generation"),
        ("dtype", "generation"),
        ("tokenizer", "tokenizer"),
    ],
)
def test_another_answerer_is_asked_again(
    change: str,
    named: str,
    answered: Dataset,
    talker: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    caplog: pytest.LogCaptureFixture,
) -> None:
    how = dict(HOW)
    if change == "weights":
        with torch.no_grad():
            talker.lm_head.weight[0, 0] += 1
    elif change == "config":
        talker.config.rms_norm_eps = 0.5
    elif change == "tokenizer":
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.add_tokens("Capital")
        talker.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        named = "model and another tokenizer"
    else:
        how |= {
            "format": {"prompt_format": PromptFormat.cloze()},
            "tokens": {"max_new_tokens": 7},
            "dtype": {"dtype": "model"},
        }[change]
    bare = answered.select_columns(["prompt", "target"])
    facts = add_old_answers(answered, talker, tokenizer, **how)
    assert f"the old answers of 24 of 24 facts were given by another {named}: they are asked again" in caplog.text
    assert facts.to_list() == add_old_answers(bare, talker, tokenizer, **how).to_list()
    assert "distance" not in facts.column_names


def test_of_a_mixture_only_the_others_are_asked(
    answered: Dataset,
    talker: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: object,
) -> None:
    rows = answered.to_list()
    for row in rows[:5]:
        row |= {"old_answer": "wrong", "answered_by": row["answered_by"].replace("model:", "model:0")[:-1]}
    sizes = count_prompts(talker, monkeypatch)
    facts = add_old_answers(Dataset.from_list(rows), talker, tokenizer, **HOW, store_dir=tmp_path / "empty")
    assert sum(sizes) == 5
    assert facts["old_answer"][:] == answered["old_answer"][:]
    assert "distance" not in facts.column_names


def test_a_server_and_bare_distances_cannot_tell(
    answered: Dataset, talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(ValueError, match=r"came with old answers, perhaps of another model.*add_old_answers"):
        add_distances(answered, EmbeddingTable.from_model(talker), tokenizer, FORM)
    with pytest.raises(ValueError, match="came with old answers, perhaps of another model"):
        add_weights(answered)
    with pytest.raises(OSError, match="127"):  # it is asked, although the answers are there
        add_old_answers(answered, Endpoint("http://127.0.0.1:1/v1", "m", retries=0), tokenizer, **HOW)
