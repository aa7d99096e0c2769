"""One run's summary and tables, made up; some facts try to break out of the page."""

import pytest
from datasets import Dataset

from semantic_trainer.evaluation.evaluator import METRICS
from semantic_trainer.evaluation.table import BESIDE
from semantic_trainer.report.summary import RunSummary, describe_distances

PROMPTS = ['Who is <b>bold</b> & "loud"?', "What is a|b?", "Where is [/x]?"]
PROTOCOL = "strict, greedy, question_answer with 0 shots, max_new_tokens 32, float32"
HOSTILE = (
    *("</script><script>window.ran = 1</script>", '<img src=x onerror="window.ran = 2">', "<!-- <script>"),
    *("line\u2028and\u2029paragraph", "{{ 7 * 7 }} {% raw %} } {", "javascript:window.ran=3", "' \" ` &lt;"),
    *("x" * 500, "\u202emirrored \u05e9\u05dc\u05d5\u05dd", "\\u003c/script>", "日本の首都"),
)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are tested elsewhere."""
    monkeypatch.setattr("semantic_trainer.evaluation.statistics.RESAMPLES", 200)


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
        return {name: {"value": value, "ci95": ci95, "n": 3, "protocol": PROTOCOL} for name in (*METRICS, *BESIDE)}

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


def joined_row(i: int, text: str) -> dict[str, object]:
    """A row of facts.parquet: every second fact is learnt, every third moved away under weights."""
    right, away, distance = i % 2 == 0, i % 3 == 1, (i * 37 % 100) / 100
    row = {
        **{"prompt": f"What is the capital of land {i}? {text}", "target": f"City {i}", "relation": text or "capital"},
        **{"ground_truth": f"Town {i}", "known_label": "unknown" if i % 4 else "highly_known"},
        **{"old_answer": f"City {i}" if i % 10 == 0 else text, "old_answer_truncated": False},
        **{"distance": distance, "weight": 1.0 + i % 2, "before_knowledge_accuracy": i % 10 == 0},
        **{"paraphrases": [f"Rephrased {i} {text}"], "locality_prompts": [f"Neighbour {i // 2} {text}"]},
        "before_locality_answers": ["eight"],
    }
    for arm in ("plain", "weighted"):
        disturbed = i % 4 == 2 if arm == "weighted" else False
        row |= {
            **{f"{arm}_answer": f"City {i}" if right else f"wrong {text}", f"{arm}_answer_truncated": False},
            **{f"{arm}_distance": distance + 0.5 if away else 0.0, f"{arm}_deviation": away and arm == "weighted"},
            **{f"{arm}_knowledge_accuracy": right, f"{arm}_generality": [right]},
            **{f"{arm}_paraphrase_answers": [text], f"{arm}_locality": [not disturbed]},
            f"{arm}_locality_answers": [f"nine {text}" if disturbed else "eight"],
            f"{arm}_first_learnt": i + 1 if right else None,
        }
    return row


@pytest.fixture
def joined() -> Dataset:
    """facts.parquet of 60 facts, the first of them hostile."""
    return Dataset.from_list([joined_row(i, HOSTILE[i] if i < len(HOSTILE) else "") for i in range(60)])
