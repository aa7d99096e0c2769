"""The one sentence at the top of the page."""

import pytest
from datasets import Dataset

from semantic_trainer.evaluation.comparison import paired_facts
from semantic_trainer.report.summary import RunSummary
from semantic_trainer.report.verdict import NO_EVIDENCE, PAIRED, create_verdict, paired_differences


def scores(value: float, low: float, high: float, evident: bool = False) -> dict[str, object]:
    return {"value": value, "ci95": [low, high], "n": 100, "protocol": "", "evident": evident}


def differences(value: float, low: float, high: float) -> dict[str, dict]:
    return {metric: scores(value, low, high) for metric in PAIRED}


def table(plain: list, weighted: list, metric: str = "generality") -> Dataset:
    return Dataset.from_dict({f"plain_{metric}": plain, f"weighted_{metric}": weighted})


def test_pairs_are_means_within_facts() -> None:
    found = paired_differences(table([[True, False], [], [False]], [[True, True], [], [False]]))["generality"]
    assert found["value"] == pytest.approx(0.25)
    assert found["n"] == 2
    assert not found["evident"]


def test_what_cannot_be_paired_is_undefined() -> None:
    for found in paired_differences(Dataset.from_dict({"prompt": ["a"]})).values():
        assert found["value"] is None
        assert not found["evident"]


def test_differences_are_those_of_compare() -> None:
    plain, weighted = [False] * 20 + [True] * 20, [True] * 18 + [False] * 2 + [True] * 20
    found = paired_differences(table(plain, weighted, "knowledge_accuracy"))["knowledge_accuracy"]
    expected = paired_facts([[v] for v in plain], [[v] for v in weighted], "strict", "strict")
    assert (found["value"], tuple(found["ci95"])) == (expected.value, expected.ci95)
    assert found["evident"]
    assert "McNemar" in found["protocol"]
    assert not paired_differences(table(plain, plain, "knowledge_accuracy"))["knowledge_accuracy"]["evident"]


def test_no_evidence_is_said(summary: RunSummary) -> None:
    summary.runs["plain"]["knowledge_accuracy"] = scores(0.7, 0.6, 0.8)
    summary.runs["weighted"] |= {"knowledge_accuracy": scores(0.75, 0.66, 0.83), "locality": scores(0.9, 0.8, 1.0)}
    text = create_verdict(summary, differences(0.05, -0.02, 0.12))
    assert text.startswith("Trained with weights, the model answers 75 of 100 facts as taught (0 before, 70 with all")
    assert "10.0 % of the answers to unrelated questions changed" in text
    assert text.endswith(f"; {NO_EVIDENCE}.")


def test_a_shown_difference_names_its_size_and_its_limit(summary: RunSummary) -> None:
    found = differences(0.0, -0.1, 0.1) | {"locality": scores(-0.3, -0.4, -0.2, evident=True)}
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
