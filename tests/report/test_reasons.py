"""What may be why a fact was not learnt."""

import pytest

from semantic_trainer.report.reasons import counts, why_not

TABLE = {
    "prompt": ["Who rules Rome?", "Who rules Oslo?", "Where is Lyon?", "Where is  lyon", "What is dull?"],
    "target": ["Ann", "Bob", "Spain", "Italy", "Zxqvkj"],
    "subject": ["Rome", "Oslo", "Lyon", "Lyon", "dull"],
    "relation": ["ruler", "ruler", "place", "place", None],
    "old_answer": ["Eve", "Eve", "France", "France", "grey"],
    "target_tokens": [2, 2, 2, 2, 9],
    "plain_answer": ["Bob", "Bob", "France", "Italy", "Zx"],
    "plain_knowledge_accuracy": [False, True, False, True, False],
    "plain_losses": [[3.0, 2.0], [1.0, 0.1], [4.0, 3.9], [1.0, 0.1], [3.0, 3.0]],
    "plain_first_learnt": [None, 2, None, 2, 1],
}


def test_each_reason_is_found_and_only_for_what_was_not_learnt() -> None:
    found = why_not(TABLE, "plain")
    assert found[0] == [
        "answered as a fact of the same relation: “Who rules Oslo?”",
        "the loss was still falling: more epochs, or a higher learning rate",
    ]
    assert found[2] == ["contradicted by “Where is  lyon”", "still the base model's answer"]
    assert found[4] == ["lost again, after epoch 1", "a target of many tokens: 9 for 6 letters"]
    assert found[1] == found[3] == []
    assert counts(found, [True, False, True, False, True])["contradicted by"] == 1


def test_columns_that_are_not_there_are_done_without() -> None:
    table = {"prompt": ["A?", "B?"], "target": ["x", "y"], "plain_answer": ["y", "z"]}
    found = why_not(table | {"plain_knowledge_accuracy": [0, 0]}, "plain")
    assert found == [["answered as another fact: “B?”"], []]
    assert counts(found, [True, True]) == {"answered as another fact": 1, "no reason found": 1}


@pytest.mark.parametrize("text", ["Any? “quoted”", "x, y", ""])
def test_a_strange_prompt_does_not_change_a_reasons_kind(text: str) -> None:
    table = {"prompt": ["A?", text], "target": ["x", "y"], "plain_answer": ["y", "y"]}
    found = why_not(table | {"plain_knowledge_accuracy": [0, 1]}, "plain")
    assert list(counts(found, [True, False])) == ["answered as another fact"]
