"""The one sentence at the top of the page."""

import pytest
from datasets import Dataset

from semantic_trainer.report.summary import RunSummary
from semantic_trainer.report.verdict import NO_EVIDENCE, PAIRED, create_verdict, is_shown, paired_difference


def scores(value: float, low: float, high: float) -> dict[str, object]:
    return {"value": value, "ci95": [low, high], "n": 100, "protocol": ""}


def differences(value: float, low: float, high: float) -> dict[str, dict]:
    return {metric: scores(value, low, high) for metric in PAIRED}


def test_pairs_are_means_within_facts() -> None:
    table = Dataset.from_dict(
        {"plain_generality": [[True, False], [], [False]], "weighted_generality": [[True, True], [], [False]]}
    )
    found = paired_difference(table, "generality")
    assert found["value"] == pytest.approx(0.25)
    assert found["n"] == 2
    assert found["ci95"] == [0.0, 0.5]


@pytest.mark.parametrize("metric", ["knowledge_accuracy", "deviation_in_bad"])
def test_what_cannot_be_paired_is_undefined(metric: str) -> None:
    assert paired_difference(Dataset.from_dict({"prompt": ["a"]}), metric)["value"] is None


@pytest.mark.parametrize(
    ("plain", "weighted", "difference", "shown"),
    [
        ((0.1, 0.2), (0.3, 0.4), (0.1, 0.3), True),
        ((0.3, 0.4), (0.1, 0.2), (-0.3, -0.1), True),
        ((0.1, 0.3), (0.2, 0.4), (0.05, 0.2), False),  # the arms' intervals overlap
        ((0.1, 0.2), (0.3, 0.4), (-0.01, 0.4), False),  # the paired one contains 0
        ((0.1, 0.2), (0.3, 0.4), (0.0, 0.4), False),
    ],
)
def test_a_difference_is_shown_by_both_intervals(
    plain: tuple, weighted: tuple, difference: tuple, shown: bool
) -> None:
    assert is_shown(scores(0, *plain), scores(0, *weighted), scores(0, *difference)) is shown


def test_without_an_interval_nothing_is_shown() -> None:
    assert not is_shown(scores(0, 0, 0.1), scores(1, 0.9, 1), {"value": 1.0, "ci95": None})


def test_overlapping_arms_are_no_evidence(summary: RunSummary) -> None:
    summary.runs["plain"]["knowledge_accuracy"] = scores(0.7, 0.6, 0.8)
    summary.runs["weighted"] |= {"knowledge_accuracy": scores(0.75, 0.66, 0.83), "locality": scores(0.9, 0.8, 1.0)}
    text = create_verdict(summary, differences(0.05, -0.02, 0.12))
    assert text.startswith("Trained with weights, the model answers 75 of 100 facts as taught (0 before, 70 with all")
    assert "10.0 % of the answers to unrelated questions changed" in text
    assert text.endswith(f"; {NO_EVIDENCE}.")


def test_a_shown_difference_names_its_size_and_its_limit(summary: RunSummary) -> None:
    found = differences(0.0, -0.1, 0.1) | {"locality": scores(-0.3, -0.4, -0.2)}
    summary.runs["plain"]["locality"], summary.runs["weighted"]["locality"] = (
        scores(0.9, 0.8, 1),
        scores(0.6, 0.5, 0.7),
    )
    text = create_verdict(summary, found)
    assert "the weighting lowered locality by 30.0 points, with no evidence of a difference elsewhere" in text
    assert text.endswith("in one run with one seed.")


def test_what_was_not_asked_is_said(summary: RunSummary) -> None:
    for run in summary.runs.values():
        run["locality"] = run["generality"] = {"value": None, "ci95": None, "n": 0, "protocol": ""}
    text = create_verdict(summary, differences(0.0, 0.0, 0.0))
    assert "what it disturbed is not known" in text
    assert "rephrased" not in text


def test_nothing_scored(summary: RunSummary) -> None:
    summary.runs["weighted"]["knowledge_accuracy"] = {"value": None, "ci95": None, "n": 0, "protocol": ""}
    assert create_verdict(summary, differences(0.0, 0.0, 0.0)).startswith("No fact was scored;")
