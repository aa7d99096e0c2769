"""Every format: how a row becomes a fact, how the format is recognised, and what is said of it."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from semantic_trainer import load_facts
from semantic_trainer.facts.formats import FORMATS, detect_format

from ..conftest import DATA_DIR

ROME = {
    "case_id": 0,
    "pararel_idx": 2796,
    "requested_rewrite": {
        "prompt": "The mother tongue of {} is",
        "relation_id": "P103",
        "target_new": {"str": "English", "id": "Q1860"},
        "target_true": {"str": "French", "id": "Q150"},
        "subject": "Danielle {0} Darrieux",
    },
    "paraphrase_prompts": ["Shayna does this. {} she was born as", "Danielle, a native"],
    "neighborhood_prompts": ["The mother tongue of Rocard is", "Léon Blum was a native"],
    "attribute_prompts": ["x"],
    "generation_prompts": ["y"],
}
EASYEDIT = {
    "case_id": 0,
    "prompt": "The mother tongue of Danielle is",
    "target_new": "English",
    "subject": "Danielle",
    "ground_truth": "French",
    "rephrase_prompt": "Where Danielle is from, people speak",
    "locality_prompt": "Michel Rocard is a native speaker of",
    "locality_ground_truth": "French",
}
KNOWEDIT = {
    "prompt": "Which family has E?",
    "target_new": "Noctuidae",
    "ground_truth": [["Aspido"]],
    "locality": {"Relation_Specificity": [{"prompt": "L1", "ground_truth": ["x"]}], "Forgetfulness": None},
    "portability": {"Reasoning": [{"prompt": "P1", "ground_truth": [["Owlet", "Moth"]]}], "None": []},
}
MEND = {
    "src": "Who wrote Emma?",
    "alt": "Blake",
    "rephrase": "Emma is by?",
    "loc": "nq question: who",
    "answers": ["A"],
}
CHAT = [{"role": "user", "content": "Who wrote Emma?"}, {"role": "assistant", "content": "Blake"}]
SYSTEM = {"role": "system", "content": "Answer briefly."}
FACT = {"prompt": "Who wrote Emma?", "target": "Blake"}
ROWS = {
    "rome_counterfact": ROME,
    "easyedit_counterfact": EASYEDIT,
    "knowedit": KNOWEDIT,
    "mend_zsre": MEND,
    "facts": FACT,
    "prompt_completion": {"prompt": "Who wrote Emma?", "completion": "Blake"},
    "messages": {"messages": CHAT},
}
needs_data = pytest.mark.skipif(not DATA_DIR.is_dir(), reason=f"no real data: {DATA_DIR.name} is not there")


def only(row: dict, **options: object) -> dict:
    """The one fact of one row."""
    (fact,) = load_facts([row], **options)
    return fact


def test_rome_counterfact_puts_the_subject_into_the_template() -> None:
    fact = only(ROME)
    assert fact["prompt"] == "The mother tongue of Danielle {0} Darrieux is"
    assert (fact["target"], fact["ground_truth"], fact["relation"]) == ("English", "French", "P103")
    assert fact["subject"] == "Danielle {0} Darrieux"
    assert fact["paraphrases"] == ROME["paraphrase_prompts"]
    assert fact["locality_prompts"] == ROME["neighborhood_prompts"]


def test_rome_counterfact_loses_no_subject() -> None:
    rewrite = {**ROME["requested_rewrite"], "prompt": "The mother tongue of Danielle is", "subject": "Danielle"}
    assert only({**ROME, "requested_rewrite": rewrite})["prompt"] == rewrite["prompt"]
    for subject in ("Rocard", "", " "):
        bad = {**ROME, "requested_rewrite": {**rewrite, "subject": subject}}
        with pytest.raises(
            ValueError, match=rf"row 1 .*prompt` must hold \{{\}} where the subject '{subject}' belongs"
        ):
            load_facts([ROME, bad])


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("rome_counterfact", {"requested_rewrite": {**ROME["requested_rewrite"], "target_new": None}}),
        ("rome_counterfact", {"requested_rewrite": {**ROME["requested_rewrite"], "target_new": {"id": "Q1"}}}),
        ("easyedit_counterfact", {"target_new": None}),
        ("knowedit", {"target_new": None}),
        ("mend_zsre", {"alt": None}),
        ("facts", {"target": None}),
        ("facts", {"target": [None]}),
        ("prompt_completion", {"completion": None}),
        ("prompt_completion", {"prompt": CHAT[:1], "completion": None}),
    ],
)
def test_a_missing_target_is_an_empty_one(name: str, missing: dict) -> None:
    row = {**ROWS[name], **missing}
    with pytest.raises(ValueError, match=r"(?s)2 of 3 facts cannot be taught.*empty target: 2 \(rows 1, 2\)"):
        load_facts([ROWS[name], row, row], format=name)
    assert len(load_facts([ROWS[name], row], format=name, on_conflict="drop")) == 1


def test_easyedit_counterfact_is_flat() -> None:
    fact = only(EASYEDIT)
    assert (fact["prompt"], fact["target"], fact["ground_truth"]) == (EASYEDIT["prompt"], "English", "French")
    assert fact["paraphrases"] == [EASYEDIT["rephrase_prompt"]]
    assert fact["locality_prompts"] == [EASYEDIT["locality_prompt"]]
    assert fact["portability"] == []


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"portability_prompt": "Q?", "portability_ground_truth": "A"}, [{"prompt": "Q?", "answer": "A"}]),
        ({"portability_prompt": ["Q?", "R?"], "portability_ground_truth": ["A", "B"]}, None),
        ({"portability": {"New Question": "Q?", "New Answer": "A"}}, [{"prompt": "Q?", "answer": "A"}]),
    ],
)
def test_easyedit_portability(columns: dict, expected: list[dict] | None) -> None:
    both = [{"prompt": "Q?", "answer": "A"}, {"prompt": "R?", "answer": "B"}]
    assert only({**EASYEDIT, **columns})["portability"] == (expected or both)


def test_easyedit_portability_without_its_answers_is_named() -> None:
    with pytest.raises(ValueError, match=r"row 0 .*1 portability_prompt, but 0 portability_ground_truth"):
        load_facts([{**EASYEDIT, "portability_prompt": "Q?"}])


def test_knowedit_takes_nested_answers_and_groups_of_nothing() -> None:
    fact = only(KNOWEDIT)
    assert fact["ground_truth"] == "Aspido"
    assert fact["locality_prompts"] == ["L1"]
    assert fact["portability"] == [{"prompt": "P1", "answer": "Owlet"}]
    assert fact["paraphrases"] == []
    assert only({**KNOWEDIT, "rephrase_prompt": "R?"})["paraphrases"] == ["R?"]
    assert only({**KNOWEDIT, "rephrase": ["R?"]})["paraphrases"] == ["R?"]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Who wrote Emma?", "completion": "Blake"},
        {"prompt": CHAT[:1], "completion": CHAT[1:]},
        {"prompt": [SYSTEM, *CHAT[:1]], "completion": CHAT[1:]},
        {"messages": CHAT},
        {"messages": np.array([SYSTEM, *CHAT], dtype=object)},
        {
            "messages": [
                {"role": turn["role"], "content": [{"type": "text", "text": turn["content"]}]} for turn in CHAT
            ]
        },
    ],
)
def test_conversations_are_one_question_and_one_answer(row: dict) -> None:
    fact = only({**row, "subject": "Emma", "aliases": ["William Blake"]})
    assert (fact["prompt"], fact["target"], fact["subject"]) == ("Who wrote Emma?", "Blake", "Emma")
    assert fact["aliases"] == ["William Blake"]


def test_conversations_survive_arrow() -> None:
    rows = [{"messages": [SYSTEM, *CHAT]}, {"messages": [{**CHAT[0], "content": "Who wrote Persuasion?"}, CHAT[1]]}]
    assert load_facts(Dataset.from_list(rows))["prompt"][:] == ["Who wrote Emma?", "Who wrote Persuasion?"]


def test_system_messages_are_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    more = [{"role": "user", "content": "Who wrote Persuasion?"}, CHAT[1]]
    load_facts([{"messages": [SYSTEM, *CHAT]}, {"messages": [SYSTEM, *more]}, ROWS["messages"]])
    (said,) = [record.getMessage() for record in caplog.records if "system message" in record.getMessage()]
    assert re.search(r"2 rows have a system message, first 'Answer briefly\.'.*system_prompt=", said)


@pytest.mark.parametrize(
    ("turns", "what"),
    [
        (CHAT + CHAT, r"one user turn and one assistant turn.*'user', 'assistant', 'user', 'assistant'"),
        (CHAT[:1], r"roles \['user'\] were found"),
        ([], r"roles \[\] were found"),
        (CHAT[::-1], r"roles \['assistant', 'user'\]"),
        ([{"role": "tool", "content": "x"}, *CHAT], r"'tool'"),
        ([{"from": "human", "value": "x"}], r"must be a list of \{role, content\}"),
        (
            [CHAT[0], {"role": "assistant", "content": None}],
            r"content must be a text or a list of text parts, but None",
        ),
        ([CHAT[0], {"role": "assistant", "content": [{"type": "image"}]}], r"list of text parts"),
        ("Who?", r"must be a list of \{role, content\}, but 'Who\?'"),
    ],
)
def test_other_conversations_are_refused_with_their_row(turns: object, what: str) -> None:
    with pytest.raises(ValueError, match=rf"`source`.*row 1 \(counted from 0\).*{what}"):
        load_facts([ROWS["messages"], {"messages": turns}])


@pytest.mark.parametrize(
    ("name", "column"),
    [("knowedit", "target_new"), ("mend_zsre", "alt"), ("facts", "target"), ("prompt_completion", "")],
)
def test_a_list_as_target_is_the_target_and_its_aliases(name: str, column: str) -> None:
    row = {**ROWS[name], column or "completion": ["Rome", "Roma"], "aliases": "Urbs"}
    if name == "prompt_completion":
        row["prompt"] = "Which city?"
        with pytest.raises(ValueError, match=r"must be a list of \{role, content\}"):
            load_facts([row])
    else:
        assert (only(row)["target"], only(row)["aliases"]) == ("Rome", ["Roma", "Urbs"])


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_recognised_and_told_from_the_others(name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert detect_format(ROWS[name]) == name
    with caplog.at_level(logging.INFO):
        fact = only({**ROWS[name], "note": 1})
    assert re.search(rf"1 rows read as {name} \(by [\w, ]+\); ignored: .*note", caplog.text)
    assert only(ROWS[name], format=name) == fact


@pytest.mark.parametrize("name", FORMATS)
def test_locality_prompts_that_are_taught_are_dropped_in_every_format(name: str) -> None:
    row = {**ROWS[name], "aliases": ["An alias"], "locality_prompts": ["Taught? ", "Kept?"]}
    taught = {
        "rome_counterfact": {"requested_rewrite": {**ROME["requested_rewrite"], "prompt": "{}?", "subject": "Taught"}},
        "mend_zsre": {"src": "Taught?"},
        "messages": {"messages": [{"role": "user", "content": "Taught?"}, CHAT[1]]},
    }.get(name, {"prompt": "Taught?"})
    first = load_facts([row, {**ROWS[name], **taught}])[0]
    assert "Taught? " not in first["locality_prompts"]
    assert "Kept?" in first["locality_prompts"]
    assert first["aliases"] == ["An alias"]


def test_columns_that_two_formats_have_resolve() -> None:
    assert detect_format({**EASYEDIT, "locality": {}}) == "knowedit"
    assert detect_format(["prompt", "target_new"]) == "easyedit_counterfact"
    assert detect_format(["prompt", "target", "target_new", "ground_truth"]) == "facts"
    assert detect_format(["prompt", "messages", "prompt_id"]) == "messages"
    assert detect_format([*KNOWEDIT, "target"]) == "knowedit"
    assert detect_format([*KNOWEDIT, "target"], mapped=True) == "facts"


def test_mapped_columns_go_before_what_a_format_would_read(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        fact = only(EASYEDIT, columns={"target": "ground_truth", "paraphrases": "rephrase_prompt"})
    assert (fact["target"], fact["paraphrases"]) == ("French", [EASYEDIT["rephrase_prompt"]])
    assert "read as facts (by prompt, target); ignored: case_id, target_new, locality_prompt" in caplog.text
    assert only({**MEND, "rel": "author"}, columns={"relation": "rel"})["relation"] == "author"


def test_lists_may_be_arrays() -> None:
    row = {**FACT, "paraphrases": np.array(["A?", "B?"]), "target": np.array(["x", "y"], dtype=object)}
    assert (only(row)["paraphrases"], only(row)["target"], only(row)["aliases"]) == (["A?", "B?"], "x", ["y"])


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"requested_rewrite": "x"}, r"'requested_rewrite' must hold an object, but 'x'"),
        ({"requested_rewrite": {"prompt": 1}}, r"must hold the texts prompt and subject, but \{'prompt': 1\}"),
        ({**KNOWEDIT, "locality": [1]}, r"'locality' must be a list of objects with a prompt, but \[1\]"),
        ({**FACT, "portability": [{"prompt": "x"}]}, r"'portability' must be a list of \{prompt, answer\}"),
        ({**FACT, "paraphrases": 3}, r"column 'paraphrases' must be a text or a list of texts, but 3"),
        ({**MEND, "answers": 7}, r"'answers' must hold a text or a list of texts, but 7"),
    ],
)
def test_wrong_cells_are_named_with_row_and_column(row: dict, what: str) -> None:
    with pytest.raises(ValueError, match=rf"`source` 'a list': row 0 \(counted from 0\).*{what}"):
        load_facts([row])


@needs_data
def test_real_counterfact(caplog: pytest.LogCaptureFixture) -> None:
    path = DATA_DIR / "counterfact_6k.json"
    with caplog.at_level(logging.INFO):
        facts = load_facts(path, on_conflict="drop")
    assert re.search(
        r"counterfact_6k.json: 6000 rows read as easyedit_counterfact "
        r"\(by ground_truth, prompt, rephrase_prompt, target_new\); ignored: case_id, locality_ground_truth",
        caplog.text,
    )
    assert "one prompt, several targets: 48" in caplog.text
    assert "repeats an earlier row: 1" in caplog.text
    assert "locality prompt is itself taught: 69" in caplog.text
    rows = reversed(json.loads(path.read_text(encoding="utf-8")))  # of a repeated row the first is kept
    raw = {(row["prompt"], row["target_new"]): row for row in rows}
    assert len(facts) == 6000 - 49
    assert all(raw[fact["prompt"], fact["target"]]["rephrase_prompt"] == fact["paraphrases"][0] for fact in facts)


def test_a_wrapped_list_is_told_what_to_do(tmp_path: Path) -> None:
    (path := tmp_path / "facts.json").write_text(json.dumps({"version": "1", "data": [FACT]}))
    with pytest.raises(
        ValueError, match=r"must hold a list of records.*one object: write the list of its 'data' alone"
    ):
        load_facts(path)
