"""Greedy answers against a slow reference, where they stop, and that the model is left as it was."""

import copy
import logging
from collections.abc import Callable

import pytest
import torch
from peft import PeftModel
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from semantic_trainer import PromptFormat
from semantic_trainer.answers import decoding
from semantic_trainer.answers.decoder import Decoder, NewlineAfterText
from semantic_trainer.answers.decoding import GenerationSettings, answering, greedy_answers
from semantic_trainer.answers.reading import Answer, Ended, end_ids, read_answer

from .conftest import PROMPTS

FORM = PromptFormat.question_answer()
SHORT = GenerationSettings(max_new_tokens=10)


def up_to_newline(text: str) -> tuple[str, bool]:
    """Text before the first newline that follows a non-blank character, and whether there is one."""
    seen = False
    for i, character in enumerate(text):
        if character == "\n" and seen:
            return text[:i], True
        seen = seen or not character.isspace()
    return text, False


@torch.no_grad()
def slow_answer(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, prompt: str, limit: int) -> Answer:
    """One prompt, no cache, no padding, argmax by hand."""
    ids, out = tokenizer(FORM.prompt_text(prompt))["input_ids"], []
    for _ in range(limit):
        token = int(model(torch.tensor([ids + out])).logits[0, -1].argmax())
        if token == tokenizer.eos_token_id:
            return Answer(tokenizer.decode(out, skip_special_tokens=True), False)
        out.append(token)
        text, ended = up_to_newline(tokenizer.decode(out, skip_special_tokens=True))
        if ended:
            return Answer(text, False)
    return Answer(tokenizer.decode(out, skip_special_tokens=True), True)


def ask(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, prompts: list[str] = PROMPTS, **options: object
) -> dict[str, Answer]:
    options = {"settings": SHORT, **options}
    return dict(pair for batch in greedy_answers(model, tokenizer, prompts, FORM, **options) for pair in batch)


@pytest.mark.parametrize("batch_size", [1, 3, 5, 32])
def test_answers_are_the_slow_references(
    batch_size: int, talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    expected = {prompt: slow_answer(talker, tokenizer, prompt, 10) for prompt in PROMPTS}
    assert ask(talker, tokenizer, batch_size=batch_size) == expected
    ends = [answer.truncated for answer in expected.values()]
    assert 3 < sum(ends) < len(ends) - 3
    assert len({answer.raw for answer in expected.values()}) > 10


def test_batches_are_sorted_by_length_and_repeats_are_asked_once(
    talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    prompts = [*PROMPTS, *PROMPTS[:5]]
    batches = list(greedy_answers(talker, tokenizer, prompts, FORM, SHORT, batch_size=10))
    assert [len(batch) for batch in batches] == [10, 10, 4]
    asked = [prompt for batch in batches for prompt, _ in batch]
    assert sorted(asked) == sorted(PROMPTS)
    lengths = [len(ids) for ids in FORM.prompt_ids(tokenizer, asked)]
    assert lengths == sorted(lengths)
    assert list(greedy_answers(talker, tokenizer, [], FORM, SHORT)) == []


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_processes_share_the_batches_of_one(
    world_size: int, talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    alone = list(greedy_answers(talker, tokenizer, PROMPTS, FORM, SHORT, batch_size=5))
    shares = [
        list(greedy_answers(talker, tokenizer, PROMPTS, FORM, SHORT, 5, rank, world_size))
        for rank in range(world_size)
    ]
    assert len({len(share) for share in shares}) == 1  # as many rounds in every process
    assert [batch for together in zip(*shares, strict=True) for batch in together if batch] == alone


def test_what_wrong_drafts_leave_open_is_decoded_together(
    scripted: Callable[[dict], LlamaForCausalLM],
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = dict(zip("ABCDEFGHIJKL", [" Ro", " Lyon", " Bern"] * 4, strict=True))
    model = scripted({key: [*tokenizer(name)["input_ids"], tokenizer.eos_token_id] for key, name in names.items()})
    expected = {key: Answer(name, False) for key, name in names.items()}
    wrong = {"A": " Lima", "E": " Ro", "I": " Lynx", "J": ""}
    how, asked, answer = (model, tokenizer, list(names), FORM, SHORT), [], Decoder._answer

    def noted(self: Decoder, prompts: list[list[int]], drafts: list[list[int]], later: bool) -> list[Answer | None]:
        found = answer(self, prompts, drafts, later)
        asked.append((len(prompts), found.count(None)))
        return found

    monkeypatch.setattr(Decoder, "_answer", noted)
    monkeypatch.setattr(decoding, "SPREAD", 100)
    for batch_size, world_size, sizes in ((6, 1, [6, 6, 4]), (6, 2, [6, 2, 6, 2]), (64, 1, [12, 4])):
        asked.clear()
        shares = [
            list(greedy_answers(*how, batch_size, rank, world_size, drafts=names | wrong))
            for rank in range(world_size)
        ]
        pairs = [pair for share in shares for batch in share for pair in batch]
        assert dict(pairs) == expected
        assert len(pairs) == len(names)
        assert len({len(share) for share in shares}) == 1  # as many rounds in every process
        assert [size for size, _ in asked] == sizes


@pytest.mark.parametrize(
    ("text", "end", "raw", "truncated"),
    [
        (" Rome", True, " Rome", False),
        (" Rome", False, " Rome", True),
        (" Rome\nIt is", False, " Rome", False),
        ("\n\n Rome", False, "\n\n Rome", True),
        ("\n \nRome\nLyon", False, "\n \nRome", False),
        ("\n\n", False, "\n\n", True),
        ("\n", True, "\n", False),
        ("", True, "", False),
        ("Washington D.C. is", True, "Washington D.C. is", False),
    ],
)
def test_read_answer(text: str, end: bool, raw: str, truncated: bool, tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer(text)["input_ids"] + ([tokenizer.eos_token_id] * 3 if end else [])
    assert read_answer(ids, [tokenizer.eos_token_id], tokenizer) == Answer(raw, truncated)
    with_special = [*ids[:1], tokenizer.convert_tokens_to_ids("<|im_start|>"), *ids[1:]]
    assert read_answer(with_special, [tokenizer.eos_token_id], tokenizer) == Answer(raw, truncated)


def test_the_criterion_looks_at_new_text_only(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = tokenizer("A\n\nB\n")["input_ids"]
    for text, stops in (("Rome", False), ("\n\n", False), ("\n Rome", False), ("\n Rome\n", True), ("D.C.", False)):
        ids = torch.tensor([prompt + tokenizer(text)["input_ids"]])
        criterion = NewlineAfterText(tokenizer, len(prompt))
        assert criterion(ids, torch.empty(0)).tolist() == [stops]
        assert Ended(tokenizer, [tokenizer.eos_token_id])(tokenizer(text)["input_ids"]) == stops


def test_generation_stops_where_the_answer_ends(
    scripted: Callable[[dict], LlamaForCausalLM], tokenizer: PreTrainedTokenizerFast
) -> None:
    def said(text: str, end: bool = False) -> list[int]:
        return tokenizer(text)["input_ids"] + [tokenizer.eos_token_id] * end

    scripts = {"EOS": said(" Ro", True), "LINE": said("\n \nx\n"), "LONG": said("\n" * 40)}
    model = scripted(scripts)
    prompts = {"EOS": Answer(" Ro", False), "LINE": Answer("\n \nx", False)}
    assert ask(model, tokenizer, list(prompts), settings=GenerationSettings(32)) == prompts
    assert model.steps == 1 + max(len(scripts["EOS"]), len(scripts["LINE"]))  # the common head is read once
    assert ask(model, tokenizer, ["LONG"], settings=GenerationSettings(32)) == {"LONG": Answer("\n" * 32, True)}
    assert ask(model, tokenizer, ["EOS"], settings=GenerationSettings(len(scripts["EOS"]))) == {"EOS": prompts["EOS"]}
    assert Answer("\n “Rome”. ", False).text == "Rome"


def test_the_models_own_eos_ids_end_answers_too(
    scripted: Callable[[dict], LlamaForCausalLM], tokenizer: PreTrainedTokenizerFast
) -> None:
    model = scripted({"Q": [*tokenizer(" Rome")["input_ids"], 0, *tokenizer(" Lyon")["input_ids"]]})
    model.generation_config.eos_token_id = [0, tokenizer.eos_token_id]
    assert end_ids(model, tokenizer) == [tokenizer.eos_token_id, 0]
    assert ask(model, tokenizer, ["Q"]) == {"Q": Answer(" Rome", False)}


def test_the_models_own_generation_config_does_not_leak_in(
    talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    expected = ask(talker, tokenizer)
    options = {"do_sample": True, "temperature": 3.0, "repetition_penalty": 5.0, "no_repeat_ngram_size": 1}
    more = {"min_new_tokens": 9, "suppress_tokens": [tokenizer.eos_token_id], "num_beams": 2, "max_length": 3}
    config = GenerationConfig(**options, **more)
    talker.generation_config = config
    before = copy.deepcopy(config.to_dict())
    assert ask(talker, tokenizer) == expected
    assert talker.generation_config is config
    assert config.to_dict() == before


def test_bfloat16_weights_are_upcast_and_put_back_bit_for_bit(
    talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    half = talker.to(torch.bfloat16)
    whole = copy.deepcopy(half).float()
    before = {name: tensor.clone() for name, tensor in half.state_dict().items()}
    with answering(half, "float32"):
        assert {p.dtype for p in half.parameters()} == {torch.float32}
    assert ask(half, tokenizer) == ask(whole, tokenizer)
    for name, tensor in half.state_dict().items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor, before[name])
    with answering(half, "model"):
        assert {p.dtype for p in half.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("training", [True, False])
def test_everything_is_put_back_also_after_an_error(training: bool, talker: LlamaForCausalLM) -> None:
    talker.to(torch.bfloat16).train(training)
    config = talker.generation_config
    inside = answering(talker, "float32")
    inside.__enter__()
    assert not talker.training
    assert inside.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None) is False
    assert talker.training == training
    assert talker.generation_config is config
    assert next(talker.parameters()).dtype == torch.bfloat16


def test_the_model_is_as_it_was_between_two_batches(
    talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    talker.to(torch.bfloat16).train()
    for _ in greedy_answers(talker, tokenizer, PROMPTS, FORM, SHORT, batch_size=12):
        assert talker.training
        assert next(talker.parameters()).dtype == torch.bfloat16


def test_modules_keep_their_own_mode(talker: LlamaForCausalLM) -> None:
    talker.train()
    talker.model.layers[0].eval()
    with answering(talker, "float32"):
        pass
    assert not talker.model.layers[0].training


def test_memory_running_out_halves_the_batch(
    adapted: PeftModel,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected, answer, sizes = ask(adapted, tokenizer), Decoder._answer, []

    def small(self: Decoder, prompts: list[list[int]], *more: object) -> list[Answer]:
        sizes.append(len(prompts))
        if len(prompts) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return answer(self, prompts, *more)

    monkeypatch.setattr(Decoder, "_answer", small)
    with caplog.at_level(logging.WARNING):
        assert ask(adapted, tokenizer, batch_size=16) == expected
    assert sizes == [16, 8, 4, 4, 4, 4, 4, 4]
    assert "out of memory while answering: going on with batches of 4" in caplog.text


@pytest.mark.parametrize("message", ["CUDA out of memory. Tried.", "shapes do not match"])
def test_other_errors_and_a_batch_of_one_are_raised(
    message: str, talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def fail(self: Decoder, prompts: list[list[int]], *more: object) -> None:
        sizes.append(len(prompts))
        raise RuntimeError(message)

    monkeypatch.setattr(Decoder, "_answer", fail)
    with pytest.raises(RuntimeError, match=message):
        ask(talker, tokenizer, batch_size=4)
    assert sizes == ([4, 2, 1] if "memory" in message else [4])


def test_wrong_settings_are_named(talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match="`max_new_tokens` must be at least 1, but 0 was passed"):
        GenerationSettings(0)
    with pytest.raises(ValueError, match="`dtype` must be auto, float32 or model, but 'int8' was passed"):
        GenerationSettings(dtype="int8")
    assert GenerationSettings().resolve(talker) == GenerationSettings(32, "float32")
    with pytest.raises(ValueError, match=r"1 prompt\(s\) do not fit the model's context of 512 tokens.*Shorten"):
        ask(talker, tokenizer, ["A?", "é" * 400])


def test_a_batch_of_none_is_named(talker: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        ask(talker, tokenizer, batch_size=0)
