"""Answered examples before a prompt."""

import pytest
from datasets import Dataset

from semantic_trainer.facts.shots import check_shots, parse_shots

SHOTS = [("How many legs has a spider?", "Eight"), ("Who wrote Faust?", "Goethe")]


@pytest.mark.parametrize(
    "shot",
    [
        " How many legs? =>  Eight ",
        {"question": "How many legs?", "answer": "Eight"},
        ("How many legs?", "Eight"),
        ["How many legs?", "Eight"],
    ],
    ids=["text", "mapping", "tuple", "list"],
)
def test_shots_are_read(shot: object) -> None:
    assert parse_shots([shot]) == (("How many legs?", "Eight"),)


def test_the_last_arrow_of_a_shot_divides_it() -> None:
    assert parse_shots(["What is a => b? => An arrow"]) == (("What is a => b?", "An arrow"),)


def test_no_shots() -> None:
    assert parse_shots(None) == parse_shots([]) == ()


@pytest.mark.parametrize("shot", ["Q?", "=> A", "Q? =>", "", {"question": "Q?"}, {"answer": "A"}, ("", "A")])
def test_incomplete_shots_are_refused(shot: object) -> None:
    with pytest.raises(ValueError, match="shots") as error:
        parse_shots([shot])
    assert "Question? => Answer" in str(error.value)
    assert repr(shot) in str(error.value)


def test_a_shot_of_three_parts_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="shots"):
        parse_shots([("Q?", "A", "B")])


@pytest.mark.parametrize("shots", [2.5, {"question": "Q?", "answer": "A"}, True])
def test_shots_that_are_no_list_are_refused(shots: object) -> None:
    with pytest.raises(ValueError, match="`shots` must be a list"):
        parse_shots(shots)


@pytest.mark.parametrize("shot", [2.5, None])
def test_a_shot_that_is_a_number_is_refused_by_name(shot: object) -> None:
    with pytest.raises(ValueError, match=f"`shots` entry {shot} is not of the form"):
        parse_shots([shot])


@pytest.mark.parametrize(
    "shot",
    ["What is the capital of France? ", "Which city is the seat of Italy?", "Is spain large?"],
)
def test_shots_that_give_a_fact_away_are_refused(shot: str, facts: Dataset) -> None:
    with pytest.raises(ValueError, match=r"`shots` must be disjoint.*'Oslo' is about row \d.*Choose another"):
        check_shots((SHOTS[0], (shot, "Oslo")), facts)


def test_other_shots_pass(facts: Dataset) -> None:
    check_shots(SHOTS, facts)
    check_shots((), facts)
    check_shots(SHOTS, facts.select_columns(["prompt", "target"]))


def test_a_subject_inside_another_word_gives_nothing_away(facts: Dataset) -> None:
    iran = facts.map(lambda row: {"subject": "Iran"})
    check_shots([("Which country is Tirana in?", "Albania")], iran)
