"""The stage of old answers: asked once, kept, gone on with after a kill, adapters off."""

import copy
import logging
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from semantic_trainer import PromptFormat, add_old_answers
from semantic_trainer.answers import answer_prompts
from semantic_trainer.answers.decoder import Decoder
from semantic_trainer.answers.decoding import GenerationSettings
from semantic_trainer.answers.reading import Answer

from .conftest import PROMPTS

FORM = PromptFormat.question_answer()
SHORT = GenerationSettings(max_new_tokens=6)


def count_prompts(model: torch.nn.Module, monkeypatch: pytest.MonkeyPatch, fail_after: int | None = None) -> list[int]:
    """The sizes of the batches asked from now on; the model fails after so many."""
    sizes, answer = [], Decoder._answer

    def counted(self: Decoder, prompts: list[list[int]], *more: object) -> list[Answer]:
        assert self.model is model
        if fail_after is not None and len(sizes) >= fail_after:
            raise KeyboardInterrupt
        sizes.append(len(prompts))
        return answer(self, prompts, *more)

    monkeypatch.setattr(Decoder, "_answer", counted)
    return sizes


def ask(model: object, tokenizer: PreTrainedTokenizerFast, **options: object) -> dict[str, Answer]:
    options = {"prompts": PROMPTS, "prompt_format": FORM, "settings": SHORT, **options}
    return answer_prompts(model, tokenizer, **options)


def test_a_second_call_reads_the_disk(
    talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(talker, tokenizer)
    sizes = count_prompts(talker, monkeypatch, fail_after=0)
    assert ask(talker, tokenizer) == first
    assert list(first) == PROMPTS
    assert ask(talker, tokenizer, prompts=PROMPTS[3:6]) == {p: first[p] for p in PROMPTS[3:6]}
    assert sizes == []
    assert not [file for file in cache.rglob("*") if file.name.endswith(".tmp")]


def test_a_killed_call_goes_on_where_it_stopped(
    talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ask(talker, tokenizer, store_dir=tmp_path / "whole")
    with monkeypatch.context() as patch:
        count_prompts(talker, patch, fail_after=3)
        with pytest.raises(KeyboardInterrupt):
            ask(talker, tokenizer, batch_size=5, store_dir=tmp_path / "killed")
    assert talker.generation_config is not None
    sizes = count_prompts(talker, monkeypatch)
    assert ask(talker, tokenizer, batch_size=5, store_dir=tmp_path / "killed") == expected
    assert sum(sizes) == len(PROMPTS) - 15


def test_adapters_are_off_unless_asked_for(
    adapted: PeftModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    off, on = ask(adapted, tokenizer), ask(adapted, tokenizer, adapters=True)
    merged = copy.deepcopy(adapted).merge_and_unload()
    assert sum(off[prompt] != on[prompt] for prompt in PROMPTS) > len(PROMPTS) // 2
    assert ask(merged, tokenizer, store_dir=tmp_path / "merged") == on
    assert ask(adapted.unload(), tokenizer, store_dir=tmp_path / "base") == off


def test_base_and_peft_model_share_their_answers(
    adapted: PeftModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = copy.deepcopy(adapted).unload()
    apart = ask(base, tokenizer, store_dir=tmp_path / "base")
    assert ask(adapted, tokenizer, store_dir=tmp_path / "peft") == apart
    sizes = count_prompts(adapted, monkeypatch)
    assert ask(adapted, tokenizer, store_dir=tmp_path / "base") == apart
    assert sizes == []
    ask(adapted, tokenizer, store_dir=tmp_path / "base", adapters=True, prompts=PROMPTS[:2])
    assert sizes == [2]


def test_a_frozen_adapter_stays_frozen(adapted: PeftModel, tokenizer: PreTrainedTokenizerFast) -> None:
    adapted.requires_grad_(False)
    ask(adapted, tokenizer, prompts=PROMPTS[:1])
    assert not any(parameter.requires_grad for parameter in adapted.parameters())


def test_a_trainable_adapter_stays_trainable(adapted: PeftModel, tokenizer: PreTrainedTokenizerFast) -> None:
    adapted.train()
    before = {name: p.requires_grad for name, p in adapted.named_parameters()}
    ask(adapted, tokenizer, prompts=PROMPTS[:1])
    assert {name: p.requires_grad for name, p in adapted.named_parameters()} == before
    assert adapted.training


def test_other_settings_and_formats_are_asked_anew(
    talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = count_prompts(talker, monkeypatch)
    one = {"prompts": PROMPTS[:1]}
    settings = [SHORT, GenerationSettings(7), GenerationSettings(6, "model")]
    for setting in settings:
        ask(talker, tokenizer, settings=setting, **one)
    for form in (PromptFormat.cloze(), PromptFormat.question_answer([("A?", "B")]), PromptFormat.chat(tokenizer)):
        ask(talker, tokenizer, prompt_format=form, **one)
    assert sizes == [1] * 6
    ask(talker, tokenizer, settings=GenerationSettings(6, "float32"), **one)
    ask(talker, tokenizer, prompt_format=PromptFormat.chat(tokenizer), batch_size=3, **one)
    assert sizes == [1] * 6
    ask(talker.to(torch.bfloat16), tokenizer, **one)
    assert sizes == [1] * 7


def test_another_tokenizer_is_asked_anew(
    talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenizers import pre_tokenizers

    other = copy.deepcopy(tokenizer)
    other.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert other("Who?")["input_ids"] != tokenizer("Who?")["input_ids"]
    ask(talker, tokenizer, prompts=PROMPTS[:1])
    sizes = count_prompts(talker, monkeypatch)
    ask(talker, other, prompts=PROMPTS[:1])
    assert sizes == [1]


def test_other_eos_ids_are_asked_anew(
    talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(talker, tokenizer, prompts=PROMPTS[:1])
    talker.generation_config.eos_token_id = [tokenizer.eos_token_id, 0]
    sizes = count_prompts(talker, monkeypatch)
    ask(talker, tokenizer, prompts=PROMPTS[:1])
    assert sizes == [1]


def test_the_models_own_eos_ids_end_kept_answers_too(
    talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    """An id that the answers hold, as one more end of the model's own."""
    (answer,) = ask(talker, tokenizer, prompts=PROMPTS[:1]).values()
    ids = tokenizer(answer.raw, add_special_tokens=False)["input_ids"]
    assert len(ids) > 1
    talker.generation_config.eos_token_id = [tokenizer.eos_token_id, ids[-1]]
    (shorter,) = ask(talker, tokenizer, prompts=PROMPTS[:1]).values()
    assert len(shorter.raw) < len(answer.raw)
    assert answer.raw.startswith(shorter.raw)
    assert talker.generation_config.eos_token_id == [tokenizer.eos_token_id, ids[-1]]


def test_an_adapter_inside_the_model_is_no_base(
    adapted: PeftModel, facts: Dataset, talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    talker.save_pretrained(tmp_path / "base")
    adapted.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    adapted.save_pretrained(tmp_path / "adapter")
    with pytest.raises(ValueError, match="adapter loaded into the model itself, so its base cannot be asked"):
        add_old_answers(facts, str(tmp_path / "adapter"), tokenizer, FORM, max_new_tokens=6)


def test_other_answers_take_the_distances_of_the_old_ones_along(
    facts: Dataset, talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    once = add_old_answers(facts, talker, tokenizer, FORM, max_new_tokens=6)
    measured = once.add_column("distance", [0.5] * len(once))
    assert "distance" in add_old_answers(measured, talker, tokenizer, FORM, max_new_tokens=6).column_names
    others = measured.remove_columns("old_answer").add_column("old_answer", ["Somebody else"] * len(once))
    assert "distance" not in add_old_answers(others, talker, tokenizer, FORM, max_new_tokens=6).column_names


def test_a_folder_answers_as_its_model(
    talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    talker.save_pretrained(tmp_path / "model")
    assert ask(str(tmp_path / "model"), tokenizer) == ask(talker, tokenizer, store_dir=tmp_path / "apart")


def test_old_answers_are_two_columns(
    facts: Dataset, talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    once = add_old_answers(facts, talker, tokenizer, FORM, max_new_tokens=6)
    answers = ask(talker, tokenizer, prompts=facts["prompt"][:])
    assert once.column_names == [*facts.column_names, "old_answer", "old_answer_truncated"]
    assert once["old_answer"][:] == [PromptFormat.cut(answers[p].raw) for p in facts["prompt"]]
    assert once["old_answer_truncated"][:] == [answers[p].truncated for p in facts["prompt"]]
    assert add_old_answers(once, talker, tokenizer, FORM, max_new_tokens=6).to_list() == once.to_list()


def test_a_long_target_is_warned_about(
    facts: Dataset, talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    longest = max(map(len, FORM.completion_ids(tokenizer, facts["target"][:])))
    with caplog.at_level(logging.WARNING):
        add_old_answers(facts, talker, tokenizer, FORM, max_new_tokens=longest + 9)
        assert "longest target" not in caplog.text
        add_old_answers(facts, talker, tokenizer, FORM, max_new_tokens=longest + 7)
    assert f"longest target has {longest} tokens and max_new_tokens is {longest + 7}" in caplog.text


def test_wrong_inputs_are_named(facts: Dataset, talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(TypeError, match="`facts` must be a datasets.Dataset, but list"):
        add_old_answers(facts.to_list(), talker, tokenizer)
    with pytest.raises(ValueError, match="`facts` has no column 'prompt'"):
        add_old_answers(facts.remove_columns("prompt"), talker, tokenizer)
    with pytest.raises(ValueError, match="`processing_class` is needed"):
        add_old_answers(facts, talker, None)
