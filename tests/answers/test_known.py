"""Known before training: examples that never give the answer away, and shares counted by hand."""

from dataclasses import replace

import pytest
from datasets import Dataset
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from semantic_trainer import PromptFormat, add_known_labels
from semantic_trainer.answers import answer_prompts
from semantic_trainer.answers.decoding import GenerationSettings
from semantic_trainer.answers.known import draw_prompts, known_label, with_shots


def people(n: int, relations: int = 1) -> Dataset:
    rows = [
        {"prompt": f"Who rules land {i}?", "target": f"King {i}", "relation": f"r{i % relations}"} for i in range(n)
    ]
    return Dataset.from_list(rows)


@pytest.mark.parametrize(
    ("n", "relations", "shots"), [(20, 1, 4), (20, 2, 4), (9, 3, 4), (2, 1, 4), (3, 3, 1), (25, 4, 3)]
)
def test_every_fact_is_asked_once_a_draw_and_never_after_itself(n: int, relations: int, shots: int) -> None:
    facts = people(n, relations)
    plan = draw_prompts(facts, facts["target"][:], shots, draws=5, seed=1)
    asked = sorted(i for part in plan for i in part["rows"])
    assert asked == sorted([*range(n)] * 5)
    for part in plan:
        examples = {question for question, _ in part["shots"]}
        assert 1 <= len(examples) <= shots
        assert not examples & {facts[i]["prompt"] for i in part["rows"]}
    large = n // relations >= 2 * shots
    if large:
        for part in plan:
            kinds = {facts[i]["relation"] for i in part["rows"]}
            kinds |= {facts[int(question.split()[-1][:-1])]["relation"] for question, _ in part["shots"]}
            assert len(kinds) == 1


def test_examples_take_the_place_of_the_formats_own_and_nothing_else(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    form = PromptFormat.chat(tokenizer, "Answer briefly.", ["Old? => New"])
    text = with_shots(form, [("Q?", "A")], tokenizer).prompt_text("Who?")
    assert "Answer briefly." in text
    assert "Old?" not in text
    assert with_shots(PromptFormat.cloze(), [("Q", "A")], tokenizer) == PromptFormat.cloze([("Q", "A")])
    with pytest.raises(ValueError, match='"rendered" takes no other examples'):
        with_shots(replace(PromptFormat.cloze(), kind="rendered"), [("Q", "A")], tokenizer)


def test_draws_differ_and_a_seed_gives_the_same_ones() -> None:
    facts = people(30)
    first, again, other = (draw_prompts(facts, facts["target"][:], 4, 10, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len({part["shots"] for part in first}) == len(first)


def test_shares_are_counted_over_the_draws(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """The target is the answer to one of the draws: each fact is right at least there."""
    form, facts = PromptFormat.question_answer(), people(6)
    settings = GenerationSettings(6)
    plan = draw_prompts(facts, facts["target"][:], 2, 4, seed=3)
    said: dict[int, list[str]] = {i: [] for i in range(6)}
    for part in plan:
        prompts = [facts[i]["prompt"] for i in part["rows"]]
        shots = PromptFormat.question_answer(part["shots"])
        answers = answer_prompts(model, tokenizer, prompts, shots, settings)
        for i, prompt in zip(part["rows"], prompts, strict=True):
            said[i].append(answers[prompt].text)
    aliases = facts.add_column("aliases", [[said[i][0]] if said[i][0] else [] for i in range(6)])
    found = add_known_labels(aliases, model, tokenizer, form, shots=2, draws=4, max_new_tokens=6, seed=3)
    expected = [sum(text == said[i][0] and bool(text) for text in said[i]) / 4 for i in range(6)]
    assert found["known_share"][:] == expected
    assert found["known_label"][:] == [known_label(share) for share in expected]
    assert max(expected) > 0


def test_wrong_arguments_are_named(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match="at least two facts"):
        add_known_labels(people(1), model, tokenizer)
    with pytest.raises(ValueError, match="`shots` and `draws` must be at least 1, but 0 and 10 were passed"):
        add_known_labels(people(4), model, tokenizer, shots=0)
    with pytest.raises(ValueError, match="no column 'ground_truth'"):
        add_known_labels(people(4), model, tokenizer, answer_column="ground_truth")
    with pytest.raises(TypeError, match=r"must be a datasets.Dataset"):
        add_known_labels([], model, tokenizer)
