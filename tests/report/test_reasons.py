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


def one_fact(answer: str, target: str = "the Kingdom of Spain", **columns: object) -> dict[str, list]:
    """A table of one fact that is not answered as taught."""
    table = {"prompt": ["Where?"], "target": [target], "plain_answer": [answer], "plain_knowledge_accuracy": [False]}
    return table | {f"plain_{name}": [value] for name, value in columns.items()}


def test_an_answer_that_was_right_until_it_was_cut_off_has_no_reasons_of_the_training() -> None:
    history = {"losses": [3.0, 0.1, 2.0, 1.0], "first_learnt": 2, "answer_truncated": True}
    said = "the answer was cut off at max_new_tokens"
    (found,) = why_not(one_fact("the Kingdom", **history), "plain", 3)
    assert found == [f"{said}=3: right so far"]
    assert why_not(one_fact("the Kingdom", **history), "plain") == [[f"{said}: right so far"]]
    assert counts([found], [True]) == {f"{said}=3": 1}
    alias = one_fact("the Kingdom", "Spain", **history) | {"aliases": [["the Kingdom of Spain"]]}
    assert why_not(alias, "plain", 3) == [found]
    assert why_not(one_fact("Bogot\ufffd", "Bogotá", **history), "plain", 3) == [found]


@pytest.mark.parametrize(
    ("answer", "truncated"), [("the Kingdom", False), ("the Kingdom of France and", True), ("", True)]
)
def test_an_answer_that_was_wrong_before_it_was_cut_off_keeps_its_reasons(answer: str, truncated: bool) -> None:
    table = one_fact(answer, losses=[3.0, 0.1, 2.0], first_learnt=2, answer_truncated=truncated)
    assert why_not(table, "plain", 3) == [["lost again, after epoch 2"]]


@pytest.mark.parametrize("losses", [[3.0, 0.1, 0.02], [3.0, 0.1, float("nan")], None])
def test_a_fact_is_lost_again_only_where_the_last_loss_says_so(losses: list[float] | None) -> None:
    table = one_fact("France", losses=losses, first_learnt=2)
    (found,) = why_not(table, "plain")
    assert found == ["learnt in training: in epoch 2, but answered otherwise afterwards"]
    assert counts([found], [True]) == {"learnt in training": 1}


@pytest.mark.parametrize(("losses", "falling"), [([0.024, 0.018], False), ([1.0, 0.69], False), ([1.0, 0.7], True)])
def test_a_loss_that_falls_where_a_fact_is_certain_already_asks_for_no_more_epochs(
    losses: list[float], falling: bool
) -> None:
    said = "the loss was still falling: more epochs, or a higher learning rate"
    assert why_not(one_fact("France", losses=losses), "plain") == [[said] if falling else []]


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
