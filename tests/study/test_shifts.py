"""What an arm teaches more of, by distance: against per-fact differences worked out another way."""

import numpy as np
import pytest
from scipy import stats

from semantic_trainer.study.averages import EMPTY
from semantic_trainer.study.shifts_table import shifts_table

from .synthetic import a_result

RUNS, FACTS = 6, 60
HEAD = ("setting", "arm", "less", "runs")


def an_arm(seed: int, gain: float, weighting: str, runs: int = RUNS) -> list[dict]:
    """Runs of the same facts in each arm; of far ones so many more are right."""
    rng, found = np.random.default_rng(seed), []
    for run in range(runs):
        d = np.random.default_rng(100 + run).uniform(0, 1.2, FACTS)
        right = rng.random(FACTS) < 0.4 + gain * (d >= 0.7)
        found.append(a_result(run, d, right, weighting=weighting))
    return found


@pytest.fixture
def study() -> dict[str, dict[str, list]]:
    arms = (("plain", 0.0, "none"), ("paper", 0.4, "paper"), ("mixed", 0.0, "shuffled"))
    return {"zsre": {name: an_arm(i, gain, weighting) for i, (name, gain, weighting) in enumerate(arms)}}


def test_every_further_arm_and_then_the_papers_with_each_control(study: dict) -> None:
    rows = shifts_table(study).rows
    assert [row[:4] for row in rows] == [
        ("zsre", "paper", "plain", "6"),
        ("zsre", "mixed", "plain", "6"),
        ("zsre", "paper", "mixed", "6"),
    ]


def test_the_difference_of_a_band_is_the_mean_over_its_facts_with_an_interval_over_runs(study: dict) -> None:
    table = shifts_table(study)
    row = dict(zip(table.columns, table.rows[0], strict=True))
    gains, counts, facts = np.zeros(RUNS), np.zeros(RUNS), []
    for run in range(RUNS):
        before, after = (study["zsre"][arm][run]["rows"] for arm in ("plain", "paper"))
        far = np.array(before["distance"]) >= 0.7
        right = np.array(after["knowledge_accuracy"], float) - np.array(before["knowledge_accuracy"], float)
        gains[run], counts[run] = right[far].sum(), far.sum()
        facts += right[far].tolist()
    mean = gains.sum() / counts.sum()
    error = np.sqrt(RUNS / (RUNS - 1) * ((gains - mean * counts) ** 2).sum()) / counts.sum()
    half = stats.t.ppf(0.975, RUNS - 1) * max(error, np.std(facts) / np.sqrt(len(facts)))
    assert row["long"].startswith(f"{100 * mean:+.1f} [{100 * (mean - half):.1f}, {100 * (mean + half):.1f}], p ")
    ends = float(row["short and long, less medium"].split()[0])
    bands = {band: float(row[band].split()[0]) for band in ("short", "medium", "long")}
    assert bands["long"] > max(bands["short"], bands["medium"])
    assert min(bands["short"], bands["long"]) < ends + bands["medium"] < max(bands["short"], bands["long"])
    low, high = map(float, row["short and long, less medium"].split("[")[1].split("]")[0].split(", "))
    assert low < ends < high < ends + 40
    control = dict(zip(table.columns, table.rows[2], strict=True))  # the paper's less shuffled ones
    assert float(control["long"].split()[0]) > 20


def test_p_values_are_corrected_for_all_differences_of_a_setting(study: dict) -> None:
    alone = {"zsre": {name: study["zsre"][name] for name in ("plain", "mixed")}}
    one, three = (shifts_table(found).rows for found in (alone, study))
    p = [float(row[5].split("p = ")[1]) for row in (one[0], three[1])]  # of four differences, and of twelve
    assert p[0] < p[1] or p == [1, 1]


def test_facts_that_a_filter_added_are_left_out(study: dict) -> None:
    whole = shifts_table(study).rows[1]
    for result in study["zsre"]["mixed"]:
        rows = result["rows"]
        for name, value in (("fact_id", "more"), ("distance", 0.9), ("knowledge_accuracy", True)):
            rows[name] = [*rows[name], value]
        rows["part"] = ["kept"] * FACTS + ["added"]
    assert shifts_table(study).rows[1] == whole


def test_only_runs_of_both_arms_count(study: dict) -> None:
    study["zsre"]["paper"] = study["zsre"]["paper"][2:]
    assert [row[3] for row in shifts_table(study).rows] == ["4", "6", "4"]


def test_arms_of_other_facts_cannot_be_compared(study: dict) -> None:
    study["zsre"]["paper"][0]["rows"]["fact_id"][0] = "another"
    with pytest.raises(ValueError, match="holds other facts"):
        shifts_table(study)


def test_bands_of_few_facts_are_left_out() -> None:
    d = np.full(30, 0.5)
    arms = {name: [a_result(run, d, np.arange(30) < n + run) for run in range(3)] for name, n in (("a", 5), ("b", 9))}
    (row,) = shifts_table({"one": arms}).rows
    assert (row[4], row[6], row[7]) == (EMPTY,) * 3
    assert row[5].startswith("+13.3")
