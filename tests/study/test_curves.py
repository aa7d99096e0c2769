"""Tidy data of the figures, against counts made by hand."""

import numpy as np
import pytest
from scipy import stats

from semantic_trainer.evaluation.statistics import wilson_interval
from semantic_trainer.study.averages import pooled_mean, pooled_share
from semantic_trainer.study.curves import (
    BINS,
    accuracy_by_distance,
    accuracy_by_replacement,
    accuracy_by_run,
    deviation_by_distance,
)

from .synthetic import GROUPS, a_result, a_setting, the_studies

EDGES = np.array([0.0, 0.5, 1.0, 1.5])


def test_of_runs_of_one_fact_or_one_run_the_interval_is_wilsons() -> None:
    for successes, counts in (([1] * 6 + [0] * 4, [1] * 10), ([6], [10]), ([3, 0], [10, 0])):
        found = pooled_share(successes, counts)
        assert found["value"] == sum(successes) / sum(counts)
        assert found["ci95"] == pytest.approx(wilson_interval(sum(successes), sum(counts)))
        assert (found["n"], found["runs"]) == (sum(counts), sum(count > 0 for count in counts))
    assert pooled_share([0, 0], [0, 0]) == {"value": None, "ci95": None, "n": 0, "runs": 0}
    assert pooled_share([0, 0], [5, 5])["ci95"] == pytest.approx(wilson_interval(0, 10))
    assert pooled_share([5, 5], [5, 5])["ci95"] == pytest.approx(wilson_interval(10, 10))


def test_runs_that_differ_widen_the_interval() -> None:
    """Ten runs all right or all wrong know as much as ten facts."""
    found = pooled_share([20, 0] * 5, [20] * 10)
    variance = 10 / 9 * 10 * 10**2 / 200**2
    z, n = stats.norm.ppf(0.975), 0.25 / variance
    assert found["ci95"][1] - found["ci95"][0] == pytest.approx(
        2 * z * np.sqrt(0.25 / n + z**2 / 4 / n**2) / (1 + z**2 / n)
    )
    assert found["ci95"][0] < wilson_interval(100, 200)[0] - 0.1
    assert pooled_share([10] * 10, [20] * 10)["ci95"] == pytest.approx(wilson_interval(100, 200))


def test_its_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng, hits = np.random.default_rng(0), {"ours": 0, "Wilson's": 0}
    for _ in range(600):
        p = rng.beta(3, 7, 12)  # the runs' own shares, of mean 0.3
        counts = rng.integers(5, 40, 12)
        successes = rng.binomial(counts, p)
        for name, (low, high) in (
            ("ours", pooled_share(successes, counts)["ci95"]),
            ("Wilson's", wilson_interval(successes.sum(), counts.sum())),
        ):
            hits[name] += low <= 0.3 <= high
    assert hits["ours"] / 600 > 0.9
    assert hits["Wilson's"] / 600 < 0.8  # which is why it is not enough


def test_the_mean_of_runs_of_one_fact_has_students_interval() -> None:
    values = np.array([0.1, 0.4, 0.2, 0.7])
    found = pooled_mean([[v] for v in values])
    assert found["value"] == pytest.approx(values.mean())
    assert found["ci95"] == pytest.approx(stats.t.interval(0.95, 3, values.mean(), stats.sem(values)))
    assert pooled_mean([[0.5, 0.7]])["ci95"] is None
    assert pooled_mean([[], []]) == {"value": None, "ci95": None, "n": 0, "runs": 0}


def test_facts_fall_into_bins_and_empty_bins_are_gaps() -> None:
    runs = [
        a_result(0, np.array([0.0, 0.49, 0.5]), np.array([True, False, True])),
        a_result(1, np.array([0.1, 0.6, 7.0]), np.array([True, True, False])),
    ]
    rows = accuracy_by_distance({"zsre": {"plain": runs}}, np.array([0.0, 0.5, 1.0, 1.5, 2.0]))
    assert [(r["low"], r["high"], r["value"], r["n"], r["runs"]) for r in rows] == [
        (0.0, 0.5, pytest.approx(2 / 3), 3, 2),
        (0.5, 1.0, 1.0, 2, 2),
        (1.0, 1.5, None, 0, 0),
        (1.5, 2.0, 0.0, 1, 1),
    ]
    assert rows[2]["ci_low"] is rows[2]["ci_high"] is None
    assert {row["series"] for row in rows} == {"zsre"}
    both = accuracy_by_distance({"zsre": {"plain": runs, "paper": runs}}, EDGES)
    assert {row["series"] for row in both} == {"zsre, plain", "zsre, paper"}


def test_no_fact_is_lost() -> None:
    runs = a_setting(7, 30, 0.4, seed=1)
    rows = accuracy_by_distance({"zsre": {"plain": runs}})
    assert len(rows) == len(BINS) - 1
    assert sum(row["n"] for row in rows) == 210
    right = sum(row["n"] * (row["value"] or 0) for row in rows)
    assert right == pytest.approx(sum(sum(r["rows"]["knowledge_accuracy"]) for r in runs))
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows if row["n"])


def test_deviation_is_a_share_of_all_facts_and_its_extent_one_of_those() -> None:
    run = a_result(0, np.array([0.1, 0.2, 0.3, 0.0]), np.zeros(4, bool), np.array([0.5, -0.2, 1.5, 0.4]))
    shares, extents = (
        [r for r in deviation_by_distance({"zsre": {"plain": [run]}}, EDGES) if r["metric"] == metric][0]
        for metric in ("deviation", "relative_deviation")
    )
    assert (shares["value"], shares["n"]) == (0.75, 4)
    assert (extents["value"], extents["n"]) == (1.0, 2)  # at distance 0 it is undefined


def test_what_a_filter_added_is_no_fact_of_the_draw() -> None:
    run = a_result(0, np.array([0.1, 0.2, 0.3]), np.array([True, False, True]))
    run["rows"]["part"] = ["kept", "removed", "added"]
    (row,) = accuracy_by_distance({"zsre": {"filter": [run]}}, np.array([0.0, 1.0]))
    assert (row["value"], row["n"]) == (0.5, 2)


def test_runs_have_mean_variance_and_accuracy() -> None:
    study = the_studies()["figure6"]
    rows = accuracy_by_run(study)
    assert len(rows) == 20
    results = {(r["draw"]["group"], r["draw"]["run"]): r for r in study["zsre-lora"]["plain"]}
    for row in rows:
        found = results[row["group"], row["run"]]["rows"]
        assert row["n"] == 100
        assert row["mean_distance"] == np.mean(found["distance"])
        assert row["distance_variance"] == np.var(found["distance"])
        assert row["value"] == np.mean(found["knowledge_accuracy"])
    assert list(dict.fromkeys(row["group"] for row in rows)) == sorted(GROUPS, key=lambda g: GROUPS[g][0])


def test_replacement_starts_without_any_and_shows_what_was_reached() -> None:
    study = the_studies()["figure7"]
    rows = accuracy_by_replacement(study)
    assert len(rows) == 2 * 2 * 3 * 6
    one = [r for r in rows if (r["setting"], r["series"], r["part"]) == ("zsre-lora", "filter", "original")]
    assert [row["wanted"] for row in one] == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert [row["share"] for row in one] == pytest.approx([0.0, 0.2, 0.4, 0.55, 0.65, 0.75])
    accuracies = [r["scores"]["knowledge_accuracy"]["value"] for r in study["zsre-lora"]["plain"]]
    for row in rows:
        assert row["runs"] == 5
        if row["wanted"] == 0 and row["setting"] == "zsre-lora":
            assert row["value"] == pytest.approx(np.mean(accuracies))
            low, high = stats.t.interval(0.95, 4, np.mean(accuracies), stats.sem(accuracies))
            assert (row["ci_low"], row["ci_high"]) == pytest.approx((max(low, 0), min(high, 1)))
    kept = [r for r in rows if r["part"] == "kept" and r["wanted"] > 0]
    assert {round(row["value"], 6) for row in kept} == {0.27}


def test_no_two_series_share_a_name() -> None:
    study = {name: {arm: a_setting(1, 5, 0.5, seed=0) for arm in ("plain", "paper")} for name in ("zsre", "cf")}
    rows = accuracy_by_distance(study, name=lambda setting, arm, results: "5 facts a run")
    wanted = {f"5 facts a run: {setting}, {arm}" for setting in study for arm in ("plain", "paper")}
    assert {row["series"] for row in rows} == wanted
    assert len(rows) == 4 * len(BINS[1:])
    one = {"zsre": {"plain": study["zsre"]["plain"]}}
    assert {row["series"] for row in accuracy_by_distance(one, name=lambda *_: "5 facts a run")} == {"5 facts a run"}
