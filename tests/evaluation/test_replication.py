"""When a published score holds."""

import pytest

from semantic_trainer.evaluation.replication import replicate
from semantic_trainer.evaluation.table import METRICS

SCORE = {"value": 0.5, "ci95": [0.3, 0.7], "n": 20, "protocol": "strict"}
NONE = {"value": None, "ci95": None, "n": 0, "protocol": "strict"}


@pytest.mark.parametrize(
    ("published", "measured", "trouble"),
    [
        (SCORE, SCORE, ""),
        (NONE, NONE, ""),
        (SCORE, {**SCORE, "value": 0.51}, ""),
        (SCORE, {**SCORE, "value": 0.511}, "differs"),
        (SCORE, {**SCORE, "value": 0.489}, "differs"),
        (SCORE, {**NONE, "n": 20}, "undefined in one of both"),
        (SCORE, {**SCORE, "n": 19}, "of 19 facts, published of 20"),
        (SCORE, {**SCORE, "protocol": "normalized"}, "another protocol: published under 'strict'"),
        (SCORE, {**SCORE, "ci95": [0.31, 0.72]}, ""),
        ({**SCORE, "ci95": [0.45, 0.55]}, SCORE, "another interval"),
        (SCORE, {**SCORE, "ci95": None}, "an interval in one of both"),
        ({**SCORE, "ci95": None}, {**SCORE, "ci95": None}, ""),
    ],
)
def test_what_holds(published: dict, measured: dict, trouble: str) -> None:
    rows = replicate({"weighted": dict.fromkeys(METRICS, published)}, {"weighted": dict.fromkeys(METRICS, measured)})
    assert [row.metric for row in rows] == list(METRICS)
    assert {row.trouble for row in rows} == {trouble}
    defined = None not in (published["value"], measured["value"])
    assert rows[0].difference == (measured["value"] - published["value"] if defined else None)


def test_a_wider_tolerance() -> None:
    runs = [{"before": dict.fromkeys(METRICS, {**SCORE, "value": value, "ci95": None})} for value in (0.5, 0.54)]
    assert {row.trouble for row in replicate(*runs, tolerance=0.05)} == {""}
    assert {row.trouble for row in replicate(*runs, tolerance=0.0)} == {"differs"}


def test_only_what_was_measured_again() -> None:
    """The other arm's adapter is not there to ask."""
    published = dict.fromkeys(("before", "plain", "weighted"), dict.fromkeys(METRICS, SCORE))
    measured = dict.fromkeys(("before", "plain"), dict.fromkeys(METRICS, SCORE))
    assert {row.run for row in replicate(published, measured)} == {"before", "plain"}
