"""Figures, and scores as text."""

from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from semantic_trainer.evaluation.breakdown import binned
from semantic_trainer.report.figures import draw_run
from semantic_trainer.report.scores import format_score, result_rows
from semantic_trainer.report.summary import RunSummary

PNG = b"\x89PNG\r\n\x1a\n"


def test_binned_counts_and_leaves_gaps() -> None:
    bins = np.array([0.0, 0.5, 1.0, 1.5])
    low, middle, high = binned([0.0, 0.49, 0.2, 1.0, 9.0], [1.0, 0.0, None, 1.0, 1.0], bins)
    assert (low["n"], low["value"]) == (2, 0.5)
    assert (middle["n"], middle["value"], middle["ci95"]) == (0, None, None)
    assert (high["n"], high["value"]) == (2, 1.0)  # beyond the last edge counts in the last bin
    assert (high["low"], high["high"]) == (1.0, 1.5)
    assert high["ci95"][0] < 1.0


def test_binned_of_nothing() -> None:
    assert all(point["n"] == 0 and point["value"] is None for point in binned([], []))


def test_binned_needs_pairs() -> None:
    with pytest.raises(ValueError, match="zip"):
        binned([0.1], [])


def test_figures_are_written(facts: Dataset, tables: dict[str, Dataset], tmp_path: Path) -> None:
    paths = draw_run(tmp_path, facts, tables)
    assert {path.name for path in paths} == {
        "distances.png",
        "accuracy_against_distance.png",
        "deviation_against_distance.png",
    }
    for path in paths:
        assert path.parent == tmp_path / "figures"
        assert path.read_bytes().startswith(PNG)
        assert path.stat().st_size > 5000


@pytest.mark.parametrize(
    ("score", "metric", "text"),
    [
        ({"value": 0.975, "ci95": [0.902, 0.996]}, "", "97.5 % [90.2, 99.6]"),
        ({"value": 0.5, "ci95": [0.25, 1.75]}, "relative_deviation", "0.50 [0.25, 1.75]"),
        ({"value": 0.1234, "ci95": [0.1, 0.2]}, "next_token_kl", "0.123 nats [0.100, 0.200]"),
        ({"value": -0.05, "ci95": [-0.1, 0.0]}, "leak_gap", "-5.0 points [-10.0, 0.0]"),
        ({"value": None, "ci95": None}, "", "–"),
    ],
)
def test_scores_are_formatted(score: dict, metric: str, text: str) -> None:
    assert format_score(score, metric) == text


def test_the_one_table(summary: RunSummary) -> None:
    rows = result_rows(summary)
    assert rows[0] == ["Knowledge accuracy", "0.0 % [0.0, 10.0]", "50.0 % [40.0, 60.0]", "75.0 % [65.0, 85.0]"]
    assert [len(row) for row in rows] == [4] * 6
    assert rows[3][1] == "–"
