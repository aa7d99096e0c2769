"""The cut, the prompt formats, completion ids against a slow reference, and training tokens."""

import copy

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from semantic_trainer import PromptFormat, tokenize_facts
from semantic_trainer.facts.prompts import cut

SHOTS = [("How many legs has a spider?", "Eight"), ("Who wrote Faust? ", " Goethe")]
PROMPTS = ["What is the capital of France?", " Who wrote Emma? ", "Çeşme — où?", "", "Two\nlines?"]
COMPLETIONS = ["Paris", "Jane Austen", "Emma", " Lyon, 14 March 1951 ", "über «x»", "42", "-5", "x", "“Emma”.", "日本"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Paris", "Paris"),
        ("\n \n  Paris \nis big", "Paris"),
        ("Paris.", "Paris"),
        ("Washington D.C.", "Washington D.C"),
        ('"Paris."', "Paris"),
        ('"Paris".', "Paris"),
        (" “« Paris ». ” ", "Paris"),
        ("Paris . ", "Paris"),
        ("'Paris'", "'Paris'"),
        ("O'Hara", "O'Hara"),
        ('"Paris', '"Paris'),
        ('Paris "Texas"', 'Paris "Texas"'),
        ('"', '"'),
        ('""', ""),
        ("...", ""),
        ("", ""),
        (" \n\t\n", ""),
        ("\r\nParis\r\nLyon", "Paris"),
        ("Paris!", "Paris!"),
        ("St. Paul", "St. Paul"),
    ],
)
def test_cut(text: str, expected: str) -> None:
    assert cut(text) == expected
    assert PromptFormat.cut(text) == expected


@given(st.text(alphabet=' ."“”«»a\n\t\u2028\xa0', max_size=20) | st.text(max_size=20))
def test_cut_is_idempotent_and_one_line_of_the_text(text: str) -> None:
    short = cut(text)
    assert cut(short) == short
    assert short in text
    assert short == short.strip()
    assert "\n" not in short
    assert not short.endswith(".")


def test_quotes_of_two_quotations_are_no_pair_around_the_whole() -> None:
    assert cut('"Emma" and "Persuasion"') == '"Emma" and "Persuasion"'


def test_the_texts_of_each_format(tokenizer: PreTrainedTokenizerFast) -> None:
    qa, cloze = PromptFormat.question_answer(SHOTS), PromptFormat.cloze(SHOTS)
    shots = "Question: How many legs has a spider?\nAnswer: Eight\n\nQuestion: Who wrote Faust?\nAnswer: Goethe\n\n"
    assert qa.prompt_text(" Who? ") == shots + "Question: Who?\nAnswer:"
    assert cloze.prompt_text("The sea is") == "How many legs has a spider? Eight\nWho wrote Faust? Goethe\nThe sea is"
    assert qa.completion_text(" Rome ") == cloze.completion_text("Rome") == " Rome"
    chat = PromptFormat.chat(tokenizer, "Be brief.", SHOTS)
    turns = [{"role": "system", "content": "Be brief."}]
    for question, answer in SHOTS:
        turns += [{"role": "user", "content": question.strip()}, {"role": "assistant", "content": answer.strip()}]
    turns += [{"role": "user", "content": "Who?"}]
    assert chat.prompt_text("Who? ") == tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True
    )
    assert chat.completion_text(" Rome ") == "Rome"
    assert chat.shots == tuple((question.strip(), answer.strip()) for question, answer in SHOTS)


@pytest.mark.parametrize(
    ("prompts", "template", "kind"),
    [
        (["A is", "Who? "], True, "chat"),
        (["A is", "Who?"], False, "question_answer"),
        (["A is", "Why? Because"], True, "cloze"),
    ],
)
def test_auto_looks_at_the_prompts_and_the_template(
    prompts: list[str],
    template: bool,
    kind: str,
    tokenizer: PreTrainedTokenizerFast,
    sentencepiece: PreTrainedTokenizerFast,
) -> None:
    assert PromptFormat.resolve("auto", prompts, tokenizer if template else sentencepiece).kind == kind


def test_wrong_formats_are_refused(tokenizer: PreTrainedTokenizerFast, sentencepiece: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match=r"`prompt_format` 'cloz' is unknown\. Did you mean 'cloze'\?"):
        PromptFormat.resolve("cloz", ["A?"], tokenizer)
    for kind in ("question_answer", "cloze"):
        with pytest.raises(ValueError, match=f"`system_prompt` is for chat templates.*'{kind}'. Leave it out"):
            PromptFormat.resolve(kind, ["A?"], tokenizer, system="Be brief.")
    with pytest.raises(ValueError, match="chat template, but this one has none.*question_answer"):
        PromptFormat.chat(sentencepiece)
    shouting = copy.deepcopy(tokenizer)
    shouting.chat_template = "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}"
    with pytest.raises(ValueError, match="chat template changes the prompt's own text.*question_answer"):
        PromptFormat.chat(shouting)


def every_format(tokenizer: PreTrainedTokenizerFast) -> list[PromptFormat]:
    plain = [PromptFormat.question_answer(), PromptFormat.cloze(), PromptFormat.question_answer(SHOTS)]
    return [*plain, PromptFormat.cloze(SHOTS), PromptFormat.chat(tokenizer, "Be brief.", SHOTS)]


@pytest.fixture(params=["byte_level", "metaspace"])
def any_tokenizer(
    request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerFast, sentencepiece: PreTrainedTokenizerFast
) -> PreTrainedTokenizerFast:
    if request.param == "byte_level":
        return tokenizer
    with_template = copy.deepcopy(sentencepiece)
    with_template.chat_template = "<s>" + tokenizer.chat_template
    return with_template


def test_completion_ids_are_what_follows_the_prompts_own(any_tokenizer: PreTrainedTokenizerFast) -> None:
    merged = []
    for form in every_format(any_tokenizer):
        special = form.kind != "chat"
        for prompt in PROMPTS:
            head = any_tokenizer(form.prompt_text(prompt), add_special_tokens=special)["input_ids"]
            assert form.prompt_ids(any_tokenizer, [prompt]) == [head]
            for completion in COMPLETIONS:
                text = form.prompt_text(prompt) + form.completion_text(completion)
                whole = any_tokenizer(text, add_special_tokens=special)["input_ids"]
                if whole[: len(head)] != head:
                    merged.append(form.kind)
                    with pytest.raises(ValueError, match="merges the end of the prompt"):
                        form.completion_ids(any_tokenizer, [completion], [prompt])
                else:
                    assert form.completion_ids(any_tokenizer, [completion], [prompt]) == [whole[len(head) :]]
    assert set(merged) <= {"chat"}


def test_without_prompts_completions_follow_the_empty_question(any_tokenizer: PreTrainedTokenizerFast) -> None:
    for form in every_format(any_tokenizer):
        got = form.completion_ids(any_tokenizer, [*COMPLETIONS, " "])
        assert got == form.completion_ids(any_tokenizer, [*COMPLETIONS, " "], [""] * (len(COMPLETIONS) + 1))
        assert got[-1] == []
        assert form.completion_ids(any_tokenizer, []) == []


def test_special_tokens_behind_a_text_are_left_out(sentencepiece: PreTrainedTokenizerFast) -> None:
    from tokenizers import processors

    closing = copy.deepcopy(sentencepiece)
    special = [("<s>", 1), ("</s>", 2)]
    closing.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=special
    )
    assert closing("Rome")["input_ids"][-1] == closing.eos_token_id
    form = PromptFormat.question_answer()
    assert form.prompt_ids(closing, ["Who?"]) == form.prompt_ids(sentencepiece, ["Who?"])
    assert form.completion_ids(closing, ["Rome"]) == form.completion_ids(sentencepiece, ["Rome"])


def test_a_merge_across_the_boundary_is_refused() -> None:
    letters = sorted(set("Question: Who?\nAnswer: Rome"))
    vocab = {text: i for i, text in enumerate(["</s>", *letters, ": "])}
    merging = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocab, [(":", " ")])), eos_token="</s>", pad_token="</s>"
    )
    with pytest.raises(ValueError, match="merges the end of the prompt.*'Rome'.*question_answer.*Try.*chat, cloze"):
        PromptFormat.question_answer().completion_ids(merging, ["Rome"], ["Who?"])
    assert PromptFormat.cloze().completion_ids(merging, ["Rome"], ["Who?"]) == [[vocab[c] for c in " Rome"]]


def test_training_tokens_are_prompt_target_eos(facts: Dataset, any_tokenizer: PreTrainedTokenizerFast) -> None:
    assert any_tokenizer.pad_token_id == any_tokenizer.eos_token_id
    facts = facts.map(lambda row, i: {"target": [" Rome ", '"Emma".', "C\nB", "über", "x"][i]}, with_indices=True)
    for form in every_format(any_tokenizer):
        tokens = tokenize_facts(facts, any_tokenizer, form)
        heads = form.prompt_ids(any_tokenizer, facts["prompt"])
        tails = form.completion_ids(any_tokenizer, facts["target"], facts["prompt"])
        for row, head, tail in zip(tokens, heads, tails, strict=True):
            assert row["input_ids"] == [*head, *tail, any_tokenizer.eos_token_id]
            assert row["labels"] == [-100] * len(head) + [*tail, any_tokenizer.eos_token_id]
            assert row["attention_mask"] == [1] * len(row["input_ids"])
    assert tokenize_facts(tokens, any_tokenizer, form).to_list() == tokens.to_list()
    assert facts.column_names == tokens.column_names[: len(facts.column_names)]


def test_facts_that_cannot_be_tokenised_are_named(facts: Dataset, tokenizer: PreTrainedTokenizerFast) -> None:
    long = facts.map(lambda row, i: {"prompt": row["prompt"] * (40 if i in (1, 3) else 1)}, with_indices=True)
    with pytest.raises(
        ValueError, match=r"`facts` rows 1, 3 do.* not fit.*row 1 has \d+ tokens.*300.*Shorten prompt or target"
    ):
        tokenize_facts(long, tokenizer, PromptFormat.cloze(), max_length=300)
    exact = max(map(len, tokenize_facts(facts, tokenizer)["input_ids"]))
    assert len(tokenize_facts(facts, tokenizer, max_length=exact)) == len(facts)
    with pytest.raises(ValueError, match=r"`facts` row.* not fit"):
        tokenize_facts(facts, tokenizer, max_length=exact - 1)
    with pytest.raises(ValueError, match="`facts` has no column 'target'"):
        tokenize_facts(facts.remove_columns("target"), tokenizer)
    with pytest.raises(TypeError, match="`facts` must be a datasets.Dataset, but list"):
        tokenize_facts(facts.to_list(), tokenizer)


@pytest.mark.parametrize(("name", "fix"), [("eos_token", "add_special_tokens"), ("pad_token", "tokenizer.eos_token")])
def test_a_tokenizer_needs_eos_and_pad(
    name: str, fix: str, facts: Dataset, tokenizer: PreTrainedTokenizerFast
) -> None:
    bare = copy.deepcopy(tokenizer)
    setattr(bare, name, None)
    with pytest.raises(
        ValueError, match=rf"`processing_class` has no {name.split('_')[0]}(?i:.*{fix})|has no EOS.*{fix}"
    ):
        tokenize_facts(facts, bare, PromptFormat.question_answer())
    with pytest.raises(ValueError, match="`processing_class` is needed"):
        tokenize_facts(facts, None, PromptFormat.question_answer())
