"""Old answers that come with facts: read where it is said who gave them, and checked, since others wrote them."""

import pytest
from datasets import Dataset

from semantic_trainer import load_facts
from semantic_trainer.facts.answered import ANSWER_FEATURES, answer_columns, differing_parts, without_answers
from semantic_trainer.facts.schema import FACT_COLUMNS
from semantic_trainer.facts.sets import FactsArguments, read_fact_sets

STAMP = " ".join(f"{part}:{'0123456789abcdef'}" for part in ("model", "tokenizer", "prompt_format", "generation"))
ROWS = [
    {
        "prompt": f"{c}?",
        "target": c,
        "old_answer": "",
        "old_answer_truncated": False,
        "answered_by": STAMP,
        "distance": d,
    }
    for c, d in (("A", 0.25), ("B", 2.0), ("C", 0.0))
]


def test_they_are_read_where_it_is_said_who_answered(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        facts = load_facts(ROWS)
    assert facts.column_names == [*FACT_COLUMNS, *ANSWER_FEATURES]
    assert [{name: row[name] for name in ROWS[0]} for row in facts] == ROWS
    assert "ignored" not in caplog.text
    assert load_facts(facts).to_list() == facts.to_list()
    nobodys = [{name: value for name, value in row.items() if name != "answered_by"} for row in ROWS]
    assert load_facts(nobodys).column_names == list(FACT_COLUMNS)
    assert answer_columns(["answered_by", "distance"]) == ()
    assert without_answers(facts).column_names == list(FACT_COLUMNS)
    own = Dataset.from_list(nobodys)
    assert without_answers(own) is own


def test_rows_that_are_dropped_take_their_answers_along() -> None:
    facts = load_facts([ROWS[0], {**ROWS[0]}, *ROWS[1:], {**ROWS[2], "target": "D"}], on_conflict="drop")
    assert facts["distance"][:] == [0.25, 2.0]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        *(("old_answer", value, "an answer of one line") for value in (None, 3, "a\nb", "a.", '"a"', "\ud800")),
        *(("old_answer_truncated", value, "true or false") for value in (None, 1, "no")),
        *(
            ("answered_by", value, "what push_facts has written")
            for value in (None, "me", f"{STAMP} x:1", f"{STAMP}\n")
        ),
        *(("distance", value, "a number from 0 to 2") for value in (None, "1", True, -0.1, 2.1, float("nan"))),
    ],
)
def test_what_is_no_answer_is_refused(name: str, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=rf"row 1 .*column '{name}' must hold {said}"):
        load_facts([ROWS[0], {**ROWS[1], name: value}])


def test_several_sets_keep_what_all_of_them_have(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("sets")
    Dataset.from_list(ROWS[:2]).to_parquet(folder / "a.parquet")
    Dataset.from_list(ROWS[2:]).to_parquet(folder / "b.parquet")
    paths = [str(folder / "a.parquet"), str(folder / "b.parquet")]
    assert read_fact_sets(FactsArguments(facts=paths))[0]["distance"][:] == [0.25, 2.0, 0.0]
    mixed, _ = read_fact_sets(FactsArguments(facts=[*paths, "builtin:invented[2]"]))
    assert mixed.column_names == list(FACT_COLUMNS)
    assert len(mixed) == 5


def test_what_differs_is_named() -> None:
    other = STAMP.replace("tokenizer:0", "tokenizer:f").replace("prompt_format:0", "prompt_format:f")
    assert differing_parts([STAMP], STAMP) == []
    assert differing_parts([STAMP, other], STAMP) == ["tokenizer", "prompt format"]
