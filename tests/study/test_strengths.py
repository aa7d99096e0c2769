"""Sweeps of one strength: differences from the first arm, and their picture."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from semantic_trainer.evaluation.statistics import score
from semantic_trainer.report.strength_figure import strength_figure
from semantic_trainer.report.themes import LIGHT
from semantic_trainer.study.figures import check_figures, write_figures
from semantic_trainer.study.results import write_result
from semantic_trainer.study.strengths import scores_by_strength

from .synthetic import a_result, a_setting
from .test_settings import setting

RUNS = 4
ARMS = ("plain", "soft-10", "soft-0.5", "soft-2", "lone-1", "self_paced", "weight-decay-0", "weight-decay-0.1")


def an_arm(shift: float, locality: bool = True) -> list[dict]:
    """Runs of 50 facts, of which about so many more are right than in another arm."""
    found = []
    for result in a_setting(RUNS, 50, 0.4 + shift, seed=7):
        kept = score([[float(i % 5 == 0)] for i in range(50)], "strict")
        found.append(result | {"scores": result["scores"] | ({"locality": kept} if locality else {})})
    return found


@pytest.fixture
def study() -> dict[str, dict[str, list]]:
    return {"tries": {arm: an_arm(0.02 * i, locality=arm != "soft-2") for i, arm in enumerate(ARMS)}}


def test_differences_are_students_over_paired_runs(study: dict) -> None:
    rows = scores_by_strength(study)
    assert [(row["kind"], row["metric"], row["strength"]) for row in rows] == [
        *(("soft", "knowledge_accuracy", strength) for strength in (0.5, 2.0, 10.0)),
        *(("soft", "locality", strength) for strength in (0.5, 10.0)),  # soft-2 has none
        *(
            ("weight-decay", metric, strength)
            for metric in ("knowledge_accuracy", "locality")
            for strength in (0.0, 0.1)
        ),
    ]
    for row in rows[:3]:
        arm = study["tries"][f"soft-{row['strength']:g}"]
        off = [
            np.mean(after["rows"]["knowledge_accuracy"]) - np.mean(before["rows"]["knowledge_accuracy"])
            for before, after in zip(study["tries"]["plain"], arm, strict=True)
        ]
        half = stats.t.ppf(0.975, RUNS - 1) * np.std(off, ddof=1) / RUNS**0.5
        assert row["value"] == pytest.approx(np.mean(off))
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((np.mean(off) - half, np.mean(off) + half))
        assert (row["reference"], row["runs"]) == ("plain", RUNS)
    assert rows[3]["value"] == 0  # the same answers are kept in all runs
    assert rows[3]["ci_low"] is None


def test_only_runs_of_both_arms_are_paired(study: dict) -> None:
    study["tries"]["soft-10"] = study["tries"]["soft-10"][1:]
    study["tries"]["soft-0.5"] = study["tries"]["soft-0.5"][:1]
    found = {row["strength"]: row["runs"] for row in scores_by_strength(study) if row["kind"] == "soft"}
    assert found == {2.0: RUNS, 10.0: RUNS - 1}


def test_a_setting_whose_first_arm_has_a_strength_is_left_out(study: dict) -> None:
    rates = {"soft-3-0.004": an_arm(0.0), "soft-3-0.008": an_arm(0.1)}
    assert scores_by_strength({"rates": rates}) == []
    assert {row["setting"] for row in scores_by_strength({"rates": rates} | study)} == {"tries"}


def test_its_panels_show_what_the_rows_hold(study: dict) -> None:
    rows = scores_by_strength(study)
    with_rows = strength_figure(rows, LIGHT)
    panels = [axis for axis in with_rows.axes if axis.get_visible()]
    assert [axis.get_title().split("\n")[0] for axis in panels] == ["tries: soft", "tries: weight-decay"]
    assert [text.get_text() for text in panels[0].get_xticklabels()] == ["0.5", "2", "10"]
    drawn = panels[0].containers[0].lines[0].get_ydata()
    assert drawn == pytest.approx([100 * row["value"] for row in rows[:3]])


def test_it_is_written_beside_the_tables(tmp_path: Path, study: dict) -> None:
    for arm, results in study["tries"].items():
        for result in results:
            write_result(tmp_path / "tries" / arm / f"{result['draw']['run']:04d}.json", result | {"arm": arm})
    (page,) = write_figures(tmp_path, {"tries": list(ARMS)}, ["strengths"], "semantic-trainer study")
    assert "Paired differences from the setting's first arm" in page.read_text()
    assert len(list(csv.DictReader(page.with_suffix(".csv").open()))) == 9


def test_a_recipe_without_strengths_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`figures` strengths needs a setting whose first arm has no strength"):
        check_figures(["strengths"], [setting("plain", "paper")])


def test_a_study_of_one_run_shows_nothing() -> None:
    one = [a_result(0, np.linspace(0, 1, 9), np.ones(9))]
    assert scores_by_strength({"tries": {"plain": one, "soft-1": one, "soft-2": one}}) == []
