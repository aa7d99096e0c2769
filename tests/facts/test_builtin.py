"""The embedded fact sets: their size and shape, their questions, and that the build script gives these very bytes."""

import json
import re
import string
from collections import Counter
from itertools import combinations

import pytest

from semantic_trainer.facts import builtin
from semantic_trainer.facts.builtin import build

STOP_WORDS = set(
    "the a an of is was in which what who whom did do does to by for on at from and it its that are were has have had "
    "be been as with whose when where how this there".split()
)
COLUMNS = [
    "prompt",
    "target",
    "aliases",
    "subject",
    "relation",
    "ground_truth",
    "paraphrases",
    "locality_prompts",
    "portability",
]
MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
FULL_DATE = re.compile(rf"\d{{1,2}} {MONTH} \d{{4}}")
DATE_OR_YEAR = re.compile(rf"(?:\d{{1,2}} {MONTH} )?\d{{4}}")
MAX_OVERLAP = 0.6


def read(name: str) -> list[dict]:
    return [json.loads(line) for line in builtin.path(name).read_text(encoding="utf-8").splitlines()]


SETS = {name: read(name) for name in builtin.NAMES}
ROWS = [row for rows in SETS.values() for row in rows]


@pytest.fixture(params=builtin.NAMES)
def rows(request):
    return SETS[request.param]


def questions(row: dict) -> list[str]:
    return [row["prompt"], *row["paraphrases"]]


def content(text: str) -> set[str]:
    words = (word.strip(string.punctuation) for word in text.lower().split())
    return {word for word in words if word} - STOP_WORDS


def overlap(first: set[str], second: set[str]) -> float:
    return len(first & second) / len(first | second)


def mentions(text: str, term: str) -> bool:
    text, term = text.lower(), term.lower()
    return term in text and re.search(rf"(?<!\w){re.escape(term)}(?!\w)", text) is not None


def test_names_and_paths():
    assert builtin.NAMES == ("counterfactual", "invented")
    assert [builtin.path(name).name for name in builtin.NAMES] == ["counterfactual.jsonl", "invented.jsonl"]
    with pytest.raises(ValueError, match="'zsre'.*counterfactual, invented"):
        builtin.path("zsre")


@pytest.mark.parametrize(("name", "facts", "relations"), [("counterfactual", 500, 8), ("invented", 200, 5)])
def test_size(name, facts, relations):
    sizes = Counter(row["relation"] for row in SETS[name])
    assert sizes.total() >= facts
    assert len(sizes) >= relations
    assert max(sizes.values()) <= 80


def test_schema(rows):
    for row in rows:
        assert list(row) == COLUMNS
        assert all(isinstance(row[key], str) and row[key] for key in ("prompt", "target", "subject", "relation"))
        assert row["ground_truth"] is None or isinstance(row["ground_truth"], str)
        assert [len(row[key]) for key in ("paraphrases", "locality_prompts", "portability")] == [3, 2, 1]
        assert set(row["portability"][0]) == {"prompt", "answer"}
        texts = [*row["aliases"], *row["paraphrases"], *row["locality_prompts"], *row["portability"][0].values()]
        assert all(isinstance(text, str) and text == text.strip() != "" for text in [*texts, row["prompt"]])
        assert row["target"] not in row["aliases"]


def test_questions_are_written_as_questions(rows):
    for row in rows:
        for question in [*questions(row), *row["locality_prompts"], row["portability"][0]["prompt"]]:
            assert question.endswith("?")
            assert not question[0].islower()
            assert "  " not in question
            assert not re.search(r"[{}]|\bthe the\b", question, re.IGNORECASE)


def test_every_question_names_the_subject(rows):
    for row in rows:
        for question in questions(row):
            assert mentions(question, row["subject"]), (row["subject"], question)


def test_no_question_is_shared():
    asked = Counter(question.lower() for row in ROWS for question in questions(row))
    assert [question for question, times in asked.items() if times > 1] == []
    hops = {row["portability"][0]["prompt"].lower() for row in ROWS}
    assert hops.isdisjoint(asked)


def test_subjects_are_distinct_within_a_counterfactual_relation():
    seen = Counter((row["relation"], row["subject"]) for row in SETS["counterfactual"])
    assert max(seen.values()) == 1


def test_the_four_forms_differ(rows):
    for row in rows:
        subject = content(row["subject"])
        for first, second in combinations(map(content, questions(row)), 2):
            assert overlap(first, second) <= MAX_OVERLAP, row["prompt"]
            assert overlap(first - subject, second - subject) <= MAX_OVERLAP, row["prompt"]


def test_counterfactual_targets_are_false_answers_of_the_same_relation():
    truths = {}
    for row in SETS["counterfactual"]:
        truths.setdefault(row["relation"], Counter())[row["ground_truth"]] += 1
    targets = {relation: Counter() for relation in truths}
    for row in SETS["counterfactual"]:
        assert row["target"] != row["ground_truth"]
        targets[row["relation"]][row["target"]] += 1
    assert targets == truths


def test_invented_facts_have_no_ground_truth():
    assert {row["ground_truth"] for row in SETS["invented"]} == {None}


def test_targets_are_short_and_not_given_away(rows):
    for row in rows:
        assert 1 <= len(row["target"].split()) <= 5
        assert not any(mentions(question, row["target"]) for question in questions(row)), row["prompt"]


def test_dates_among_the_targets():
    targets = [row["target"] for row in SETS["counterfactual"]]
    assert sum(DATE_OR_YEAR.fullmatch(target) is not None for target in targets) >= 40
    dated = [row for row in SETS["counterfactual"] if FULL_DATE.fullmatch(row["target"])]
    assert len(dated) >= 40
    for row in dated:
        day, month, year = row["target"].split()
        assert row["aliases"] == [f"{month} {day}, {year}"]


def test_locality_prompts_are_about_something_else():
    pool = {prompt for row in ROWS for prompt in row["locality_prompts"]}
    assert len(pool) >= 150
    terms = {row[key] for row in ROWS for key in ("subject", "target", "ground_truth") if row[key]}
    assert {prompt: found for prompt in pool if (found := [term for term in terms if mentions(prompt, term)])} == {}


def test_locality_prompts_are_spread_evenly(rows):
    for row in rows:
        assert len(set(row["locality_prompts"])) == 2
    used = Counter(prompt for row in rows for prompt in row["locality_prompts"])
    assert max(used.values()) - min(used.values()) <= 2


def test_portability_asks_for_one_more_step(rows):
    for row in rows:
        hop = row["portability"][0]
        assert hop["answer"].lower() != row["target"].lower()
        assert not mentions(hop["prompt"], row["target"])
        assert not mentions(hop["prompt"], hop["answer"]), hop


def test_portability_follows_from_the_target_alone():
    answers = {}
    for row in SETS["counterfactual"]:
        answers.setdefault((row["relation"], row["target"]), set()).add(row["portability"][0]["answer"])
    assert {key: found for key, found in answers.items() if len(found) > 1} == {}
    hop = {key: found.pop() for key, found in answers.items()}
    for row in SETS["counterfactual"]:
        assert hop[row["relation"], row["ground_truth"]] != row["portability"][0]["answer"], row["prompt"]


def test_files_are_what_the_build_script_writes(tmp_path, capsys, monkeypatch):
    files = build.built()
    for name, content in files.items():
        assert content == builtin.path(name).read_bytes(), f"{name}.jsonl is out of date; run build.py"
    monkeypatch.setattr(build, "built", lambda: files)
    assert build.main(["--check"]) == 0
    monkeypatch.setattr(build, "path", lambda name: tmp_path / f"{name}.jsonl")
    assert build.main(["--check"]) == 1
    assert "invented.jsonl is not what its templates give" in capsys.readouterr().err
    assert build.main([]) == 0
    assert build.main(["--check"]) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["counterfactual.jsonl", "invented.jsonl"]


def test_build_refuses_a_locality_question_about_a_fact():
    row = {"subject": "Tuesday", "target": "noon", "ground_truth": None}
    with pytest.raises(ValueError, match=r"Which day comes after Tuesday\?' mentions \['tuesday'\]"):
        build.locality_pool([row])


@pytest.mark.parametrize(
    ("rule", "date", "answer"),
    [
        ("decade", "20 July 1969", "1960s"),
        ("decade", "2 June 1801", "1800s"),
        ("century", "1066", "11th century"),
        ("century", "1900", "19th century"),
        ("century", "1901", "20th century"),
        ("century", "2001", "21st century"),
        ("century", "1203", "13th century"),
    ],
)
def test_hop_rules(rule, date, answer):
    assert build.HOP_RULES[rule](date) == answer
