"""The card of a set of facts: valid for the Hub, honest about false targets, and not broken by any text."""

import ast
import re

import pytest
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

from semantic_trainer import PromptFormat, load_facts
from semantic_trainer.answers.decoding import GenerationSettings
from semantic_trainer.report.facts_card import Answered, facts_card, format_code, metadata

from .conftest import HOSTILE

ROWS = [
    {"prompt": f"What is the capital of {i}?", "target": "Rome", "ground_truth": "Oslo", "relation": "capital"}
    for i in range(30)
]
BASE = {"id": "org/base", "weights": None, "sha256": "ab" * 32}
YAML = "x\n---\n# y\nlicense: mit"


def answered(form: PromptFormat | None = None, **base: object) -> Answered:
    return Answered({**BASE, **base}, form or PromptFormat.question_answer(), GenerationSettings(32, "float32"))


def with_answers(rows: list[dict], answers: list[str]) -> object:
    facts = load_facts(rows)
    for name, values in (
        ("old_answer", answers),
        ("old_answer_truncated", [False] * len(rows)),
        ("answered_by", ["-"] * len(rows)),
        ("distance", [0.5] * len(rows)),
    ):
        facts = facts.add_column(name, values)
    return facts


def snippets(card: str) -> list[str]:
    return [code for _, code in re.findall(r"^(`{3,})python\n(.*?)\n\1$", card, re.DOTALL | re.MULTILINE)]


def test_facts_alone() -> None:
    card = facts_card(load_facts(ROWS), "org/mine")
    data = DatasetCard(card).data
    assert (data.license, data.size_categories, data.pretty_name) == ("unknown", ["n<1K"], "mine")
    assert data.configs == [{"config_name": "default", "data_files": [{"split": "train", "path": "facts.parquet"}]}]
    assert "false-statements" in data.tags
    text = DatasetCard(card).text
    assert text.strip().splitlines()[0] == "# mine: 30 facts, all of them false on purpose"
    assert "**All of the 30 facts are false statements, on purpose" in text
    assert "| capital | 30 |" in text
    assert text.count("| What is the capital of ") == 10
    assert "Old answers" not in text
    assert "answered_by" not in text
    assert "{{" not in text
    assert snippets(card) == ['from semantic_trainer import load_facts\n\nfacts = load_facts("org/mine")']


def test_what_is_known_of_their_truth() -> None:
    rows = [{**ROWS[0], "target": "Oslo"}, ROWS[1], {"prompt": "Who?", "target": "He"}]
    card = facts_card(load_facts(rows), "org/mine", "mit")
    assert "# mine: 3 facts, 1 of them false on purpose" in card
    assert "**1 of the 3 facts are false statements, on purpose: their target is not true.**" in card
    assert "The other 1 targets were not compared with a known truth" in card
    assert DatasetCard(card).data.license == "mit"
    true = facts_card(load_facts(rows[:1]), "org/mine")
    assert "Every target is the answer that its source calls true." in true
    assert "false" not in true
    assert "# mine: 1 fact\n" in true


def test_who_answered_is_said() -> None:
    card = facts_card(with_answers(ROWS, ["Rome"] * 15 + [""] * 15), "org/mine", None, answered())
    for line in (
        "| base model | `org/base` |",
        f"| sha256 of its weights | `{'ab' * 32}` |",
        "| asked as | question_answer with 0 shots |",
        "| decoding | greedy, at most 32 new tokens, in float32 |",
        "| distance to the target | mean 0.500, standard deviation 0.000 |",
        "| answers that are the target already | 50.0% |",
        "Question: {prompt}\nAnswer:",
        "*(empty)*",
        "- `answered_by`: hashes of the weights",
    ):
        assert line in card
    (code,) = snippets(card)
    assert 'AutoModelForCausalLM.from_pretrained("org/base")' in code
    assert 'form = "question_answer"' in code
    ast.parse(code)


def test_the_built_in_model_is_loaded_as_what_it_is() -> None:
    card = facts_card(with_answers(ROWS, ["x"] * 30), "org/mine", None, answered(weights="p 1, Q4_1 dequantised"))
    (code,) = snippets(card)
    assert 'load_model("builtin:smollm2-135m-instruct", torch.float32)' in code
    assert "p 1, Q4_1 dequantised; the Hub's own checkpoint" in card
    ast.parse(code)


def test_a_quantized_model_is_loaded_so() -> None:
    facts = with_answers(ROWS, ["x"] * 30)
    for weights, name in ((None, "org/base"), ("p 1", "builtin:smollm2-135m-instruct")):
        by = Answered({**BASE, "weights": weights}, PromptFormat.cloze(), GenerationSettings(32, "model"), "4bit")
        card = facts_card(facts, "org/mine", None, by)
        assert "| quantized to | 4 bits (NF4), by bitsandbytes |" in card
        (code,) = snippets(card)
        assert f'load_model("{name}", torch.float32, load_in="4bit")' in code
        assert 'dtype="model"' in code
        ast.parse(code)


def test_a_prompt_format_is_written_as_code(tokenizer: object) -> None:
    shots = [('Who\'s "he"?', "```\n---\nHe")]
    for form in (
        PromptFormat.question_answer(shots),
        PromptFormat.cloze(shots),
        PromptFormat.chat(tokenizer, "Be brief.\n```\n# no", shots),
    ):
        code = format_code(form)
        assert eval(code, {"PromptFormat": PromptFormat, "tokenizer": tokenizer}) == form
        card = facts_card(with_answers(ROWS, ["x"] * 30), "org/mine", None, answered(form))
        headings = [line for line in rendered(card).splitlines() if line.startswith("<h")]
        assert [re.sub("<.*?>", "", line).partition(":")[0] for line in headings] == HEADINGS
        assert f"form = {code}" in snippets(card)[0]
        ast.parse(snippets(card)[0])


HEADINGS = ["mine", "Old answers", "Use", "Columns", "Intended use and limits"]


def rendered(card: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(DatasetCard(card).text.strip())


@pytest.mark.parametrize(
    "text", [*HOSTILE, "---", "a\n---\nlicense: mit", "| a | b |", "[x](javascript:1)", "![x](y)"]
)
def test_a_hostile_text_is_only_shown(text: str) -> None:
    row = {"prompt": f"{text} Who?", "target": text, "ground_truth": f"{text} no", "relation": text}
    facts = with_answers([row, ROWS[0]], [text, "x"])
    card = facts_card(facts, "org/mine", None, answered())
    page = rendered(card)
    assert not re.findall(r"<(script|img|a|i|b)[ >]", page)
    assert [re.sub("<.*?>", "", h).partition(":")[0] for h in re.findall(r"<h\d>.*?</h\d>", page)] == HEADINGS
    assert page.count("<table>") == 3
    widths = [row.count("<td>") for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL) if "<td>" in row]
    assert widths == [2, 2, 4, 4, 2, 2, 2, 2, 2]
    data = DatasetCard(card).data
    assert (data.license, data.pretty_name) == ("unknown", "mine")


def test_a_hostile_license_stays_one_value() -> None:
    card = facts_card(load_facts(ROWS), "org/mine", YAML)
    assert DatasetCard(card).data.license == YAML
    assert "y" not in [line.strip("# ") for line in DatasetCard(card).text.splitlines()]


def test_a_fact_about_a_path_is_no_example() -> None:
    rows = [{"prompt": "What is in /home/user/docs?", "target": "x"}, {"prompt": "Who?", "target": "y"}]
    card = facts_card(load_facts(rows), "org/mine")
    assert "| Who? | y |" in card
    assert "/home" not in card


@pytest.mark.parametrize(("n", "size"), [(1, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**8, "n>10M")])
def test_the_size_is_one_that_the_hub_knows(n: int, size: str) -> None:
    assert metadata(n, "org/mine", None, 0).size_categories == [size]
