"""One run's summary and tables, made up."""

import pytest
from datasets import Dataset

from semantic_trainer.evaluation.evaluator import METRICS
from semantic_trainer.report.summary import RunSummary, describe_distances

PROMPTS = ['Who is <b>bold</b> & "loud"?', "What is a|b?", "Where is [/x]?"]


@pytest.fixture
def facts() -> Dataset:
    return Dataset.from_dict(
        {
            "prompt": PROMPTS,
            "target": ["Rome", "Paris", "<i>Oslo</i>"],
            "old_answer": ["Rome", "<script>alert(1)</script>", ""],
            "old_answer_truncated": [False, True, False],
            "distance": [0.0, 0.7, 1.3],
            "weight": [2.0, 1.2, 2.0],
        }
    )


@pytest.fixture
def summary(facts: Dataset) -> RunSummary:
    def scores(value: float | None) -> dict[str, dict]:
        ci95 = None if value is None else [max(0.0, value - 0.1), min(1.0, value + 0.1)]
        protocol = "strict, greedy, question_answer with 0 shots, max_new_tokens 32, float32"
        return {name: {"value": value, "ci95": ci95, "n": 3, "protocol": protocol} for name in METRICS}

    before = scores(0.0)
    for name in METRICS[3:]:
        before[name] = {"value": None, "ci95": None, "n": 0, "protocol": "none"}
    return RunSummary(
        config={"facts": ["builtin:invented[3]"], "model": "org/model", "gamma": 2.0, "weighting": "inverse"},
        environment={"python": "3.11", "seconds": 1.0},
        facts={"read": 3, "taught": 3},
        distances=describe_distances(facts),
        runs={"before": before, "plain": scores(0.5), "weighted": scores(0.75)},
    )


@pytest.fixture
def tables(facts: Dataset) -> dict[str, Dataset]:
    """Per-fact tables of the three runs, with what the figures read."""
    common = {"distance": facts["distance"][:]}
    return {
        "before": Dataset.from_dict({**common, "knowledge_accuracy": [True, False, False], "deviation": [None] * 3}),
        "plain": Dataset.from_dict({**common, "knowledge_accuracy": [True, True, False], "deviation": [False] * 3}),
        "weighted": Dataset.from_dict({**common, "knowledge_accuracy": [True] * 3, "deviation": [False] * 3}),
    }
