"""Both sides of each benchmark do the same work: tokens, adapter, losses; answers; facts of a growing set."""

import copy
from argparse import Namespace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from datasets import Dataset
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from semantic_trainer.answers.reading import Answer

ROWS = [
    {"prompt": f"Where was {name} born?", "target": "Rome", "subject": name, "paraphrases": [f"{name} is from?"]}
    for name in ("Ada", "Bo", "Cy", "Di")
]

pytestmark = pytest.mark.slow


@pytest.fixture
def loaded(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, facts: Dataset) -> tuple:
    return model, tokenizer, facts


@pytest.mark.parametrize("kind", ["long_chat", "cloze"])
def test_both_trainers_take_the_same_steps(
    kind: str, bench: SimpleNamespace, args: Namespace, loaded: tuple, tmp_path: Path
) -> None:
    args.quick, args.repeats = True, 1
    row = bench.train_step.compare(kind, args, loaded, bench.workload.common_options(str(tmp_path), 2))
    assert {name: value for name, value in row["checks"].items() if isinstance(value, bool)} == {
        "same input_ids": True,
        "same labels": True,
        "same initial adapter": True,
        "first loss equal (1e-4)": True,
    }
    assert max(row["checks"]["first, most and last loss off by"]) < 1e-4
    assert len(row["losses"]["semantic-trainer"]) == 2
    assert (row["tokens"]["shared head"] > 100) == (kind == "long_chat")


def test_other_weights_are_told_from_ones_and_products_from_the_step(
    bench: SimpleNamespace, args: Namespace, loaded: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.train_step, "WEIGHT_PAIRS", 2)
    options = bench.workload.common_options(str(tmp_path), 1)
    assert bench.train_step.weights(args, loaded, options)["checks"]["the losses differ"]
    row = bench.train_step.products(args, loaded, options)
    assert 0 < row["ratio"]["value"] < 1
    assert len(row["profile"]) == 20


def test_the_long_system_prompt_has_as_many_tokens_as_it_says(
    bench: SimpleNamespace, tokenizer: PreTrainedTokenizerFast
) -> None:
    text = bench.workload.long_system_prompt(tokenizer, 150)
    assert len(tokenizer(text, add_special_tokens=False)["input_ids"]) == pytest.approx(150, abs=1)


def test_answers_are_those_of_generate(bench: SimpleNamespace, args: Namespace, loaded: tuple) -> None:
    form = bench.answers.formats(loaded[1])["question_answer, two shots"]
    args.quick = True
    row = bench.answers.compare("question_answer", args, loaded, form)
    assert row["prompts"] == row["checks"]["texts"]["compared"] == 5
    assert row["checks"]["texts"]["different"] == row["checks"]["texts"]["decided by less than 1e-4"]


def test_a_difference_is_counted_and_excused_only_where_it_was_close(bench: SimpleNamespace) -> None:
    a, b = ({"p": Answer(x, False), "q": Answer(y, False), "r": Answer("s", False)} for x, y in ("ab", "ba"))
    margins = {"p": 1e-5, "q": 0.1}
    found = bench.decoding.agreement(a, b, margins.__getitem__)
    assert found == {"compared": 3, "different": 2, "decided by less than 1e-4": 1}
    assert bench.decoding.agreement(a, b, margins.__getitem__, lambda prompt, answer: True)["different"] == 0


def test_the_margin_is_that_of_the_answer_decoded_alone(bench: SimpleNamespace, loaded: tuple) -> None:
    model, tokenizer, facts = loaded
    form = bench.answers.formats(tokenizer)["chat"]
    margins = [bench.decoding.smallest_margin(model, tokenizer, prompt, form) for prompt in facts["prompt"]]
    assert all(0 <= margin < 10 for margin in margins)
    assert len(set(margins)) > 1


def test_verdicts_are_those_of_generate_and_of_one_prompt_at_a_time(
    bench: SimpleNamespace, args: Namespace, loaded: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.evaluate.tempfile, "tempdir", str(tmp_path))
    model, tokenizer, facts = loaded
    form, original = bench.answers.formats(tokenizer)["chat"], copy.deepcopy(model)
    args.epochs, args.quick = 3, True
    tuned = bench.evaluate.converged(args, loaded, form)
    kept = bench.evaluate.converged(args, (original, tokenizer, facts), form)
    prompts, drafts = facts["prompt"][:], dict(zip(facts["prompt"], facts["target"], strict=True))
    ask = partial(bench.decoding.ours, tokenizer=tokenizer, prompts=prompts, form=form, size=32)
    assert ask(tuned) == ask(kept)
    rows = bench.evaluate.compare(args, kept, tokenizer, form, prompts, prompts[::2], drafts)
    assert [row["checks"]["verdicts"]["different"] for row in rows] == [0, 0]
    assert [row["checks"]["verdicts"]["compared"] for row in rows] == [5, 3]


def test_synthetic_facts_are_new_and_swap_subjects(bench: SimpleNamespace) -> None:
    rows = [{**row, "prompt": row["prompt"].replace("Where", where)} for row in ROWS for where in ("Where", "When")]
    rows = rows[::2] + rows[1:2]  # a prompt for every subject, and one more that only Ada has
    made = bench.scaling.synthetic_rows(rows, 3)
    assert len({row["prompt"] for row in made} | {row["prompt"] for row in rows}) == len(rows) + 3
    assert all(row["subject"] in row["prompt"] and row["subject"] in row["paraphrases"][0] for row in made)
    with pytest.raises(ValueError, match="different subjects"):
        bench.scaling.synthetic_rows(rows[:1], 1)


def test_parts_have_no_fact_in_common(bench: SimpleNamespace) -> None:
    parts = bench.scaling.parts(ROWS, 2, repeats=5)
    assert [part["prompt"][:] for part in parts] == [[r["prompt"] for r in ROWS[:2]], [r["prompt"] for r in ROWS[2:]]]
    assert len(bench.scaling.parts(ROWS, 2, repeats=1)) == 1


def test_growth_is_relative_to_the_smallest_size(bench: SimpleNamespace) -> None:
    times = {100: [1.0, 2.0, 3.0], 300: [2.1], 1000: [2.4]}
    found = {n: [dict.fromkeys(bench.scaling.STAGES, value) for value in values] for n, values in times.items()}
    rows = bench.scaling.growth(found, real=900)
    assert [(round(row["ratio"]["value"], 3), row["ratio"]["holds"]) for row in rows[:2]] == [
        (1.05, True),
        (1.2, False),
    ]
    assert "100 of the facts are synthetic" in rows[1]["note"]
    assert len(rows) == 2 * len(bench.scaling.STAGES)


def test_every_stage_of_growth_is_timed(bench: SimpleNamespace, loaded: tuple) -> None:
    model, tokenizer, _ = loaded
    found = bench.scaling.seconds_per_fact(model, tokenizer, Dataset.from_list(ROWS))
    assert list(found) == list(bench.scaling.STAGES)
    assert all(value > 0 for value in found.values())
