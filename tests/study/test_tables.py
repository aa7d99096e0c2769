"""Tables of results made by hand, against numbers worked out another way."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from semantic_trainer.evaluation.significance import holm
from semantic_trainer.evaluation.statistics import undefined
from semantic_trainer.study import paper
from semantic_trainer.study.averages import EMPTY, differences, in_points, over_runs
from semantic_trainer.study.comparison_table import comparison_table
from semantic_trainer.study.controls_table import controls_table
from semantic_trainer.study.results import read_study, rounded, write_result
from semantic_trainer.study.tables import SHOWN, TABLES, check_tables, table_1, table_4, write_tables

CONFIG = {
    "facts": ["zsre_mend_1k.json"],
    "split": "test",
    "model": "builtin:smollm2-135m-instruct",
    "method": "lora",
    "lora_r": 8,
    "lora_alpha": 16,
    "dtype": "bfloat16",
    "protocol": "multi",
    "facts_per_run": 100,
    "distances": None,
    "num_train_epochs": 4,
    "per_device_train_batch_size": 10,
    "learning_rate": 0.001,
}
PLAIN = {"knowledge_accuracy": [0.20, 0.25, 0.15, 0.22], "locality": [0.3, 0.3, 0.4, 0.35]}
PAPER = {"knowledge_accuracy": [0.26, 0.29, 0.22, 0.27], "locality": [0.3, 0.31, 0.39, 0.35]}

PLAIN_0 = {name: 0.5 for name in ("knowledge_accuracy", "deviation", "deviation_in_bad")}
EXAMPLE = {
    **dict.fromkeys(("prompt", "target", "old_answer", "new_answer"), "<s> a | b"),
    "distance": 0.1,
    "new_distance": 0.2,
}


def result(run: int, weighting: str, values: dict[str, float | None], **config: object) -> dict:
    names = (*paper.METRICS, "deviation", "deviation_in_bad", "locality_noise_floor")
    return {
        "config": {**CONFIG, "weighting": weighting, **config},
        "draw": {"group": "all", "run": run, "seed": run},
        "scores": {name: {**undefined("strict"), "value": values.get(name)} for name in names},
        "environment": {"commit": "0123456789abcdef", "seconds": {"total": 77.7}},
        "rows": {"fact_id": [f"{run}-a", "b"], "bad_case": [True, False], "distance": [0.2, 0.4]},
    }


def results(values: dict[str, list[float]], weighting: str) -> list[dict]:
    return [result(i, weighting, {name: v[i] for name, v in values.items()}) for i in range(4)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for arm, values, weighting in (("plain", PLAIN, "none"), ("paper", PAPER, "paper")):
        for one in results(values, weighting):
            write_result(tmp_path / "zsre-lora" / arm / f"{one['draw']['run']:04d}.json", one)
    return tmp_path


def test_what_is_written_is_read_again(folder: Path) -> None:
    found = read_study(folder, "zsre-lora")
    assert [r["scores"] for r in found["plain"]] == [rounded(r["scores"]) for r in results(PLAIN, "none")]
    assert read_study(folder, "elsewhere") == {}
    with pytest.raises(FileNotFoundError, match="holds no result of elsewhere"):
        write_tables(folder, {"elsewhere": ["plain"]}, ["table3"], "")


def test_means_and_paired_differences() -> None:
    values = np.array(PLAIN["knowledge_accuracy"])
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    score = over_runs(results(PLAIN, "none"), "knowledge_accuracy")
    assert score["value"] == pytest.approx(values.mean())
    assert score["ci95"] == pytest.approx([low, high])
    found = differences({"plain": results(PLAIN, "none"), "paper": results(PAPER, "paper")}, "plain", SHOWN)
    tests = {name: stats.ttest_rel(PAPER[name], PLAIN[name]) for name in PLAIN}
    p = dict(zip(tests, holm([test.pvalue for test in tests.values()]), strict=True))
    assert p["knowledge_accuracy"] == pytest.approx(2 * tests["knowledge_accuracy"].pvalue)
    interval = tests["knowledge_accuracy"].confidence_interval(0.95)
    wanted = f"+5.5 [{100 * interval.low:.1f}, {100 * interval.high:.1f}], p = {p['knowledge_accuracy']:.3f}"
    assert found["paper", "knowledge_accuracy"] == wanted


def test_controls_are_compared_with_the_weights_they_are_of() -> None:
    arms = {"plain": results(PLAIN, "none"), "eq": results(PAPER, "paper"), "dealt": results(PLAIN, "shuffled")}
    ((setting, control, runs, *cells),) = controls_table({"four": arms, "bare": {"eq": arms["eq"]}}).rows
    assert (setting, control, runs) == ("four", "shuffled", "4")
    found = stats.ttest_rel(PLAIN["knowledge_accuracy"], PAPER["knowledge_accuracy"]).confidence_interval(0.95)
    assert cells[0].startswith(f"-5.5 [{100 * found.low:.1f}, {100 * found.high:.1f}], p = ")
    bare = controls_table({"plain": {"plain": arms["plain"]}})
    assert bare.rows == ()
    assert bare.notes[1] == "No setting has two runs of both the paper's weights and a control yet."


def test_facts_that_a_filter_added_are_no_cases_of_its_draw() -> None:
    found = results(PLAIN, "none")
    for one in found:
        rows = {"bad_case": [True, False, True], "distance": [0.2, 0.4, 0.6], "part": ["kept", "removed", "added"]}
        one["rows"] = rows | {"fact_id": ["a", "b", "c"]}
    assert table_1({"four": {"plain": found}}).rows[0][3] == "4 of 8"


def test_the_comparison_names_learning_rates_and_leaves_out_what_was_not_measured() -> None:
    arms = {"plain": results(PLAIN, "none"), "best": [r | {} for r in results(PAPER, "paper")]}
    for r in arms["best"]:
        r["config"] = {**r["config"], "learning_rate": 0.004}
    rows = [
        dict(zip(table.columns, row, strict=True))
        for table in [comparison_table({"four": arms})]
        for row in table.rows
    ]
    assert [row["learning rate"] for row in rows] == ["0.001", "0.004"]
    assert {row["never learnt"] for row in rows} == {EMPTY}
    assert rows[1]["knowledge accuracy, less the first arm"].startswith("+5.5 [")
    for found in arms.values():
        for k, r in enumerate(found):
            r["scores"]["never_learnt"] = {**undefined("strict"), "value": 0.1 * (k + 1)}
    (_, best) = comparison_table({"four": arms}).rows
    assert best[8].startswith("25.0 [")
    del arms["best"][0]["scores"]["never_learnt"]  # an arm that is without it leaves the others' alone
    plain, best = comparison_table({"four": arms}).rows
    assert plain[8].startswith("25.0 [")
    assert (best[8], best[12]) == (EMPTY, EMPTY)


def test_a_missing_run_leaves_its_pair_out() -> None:
    arms = {"plain": results(PLAIN, "none"), "paper": results(PAPER, "paper")[1:]}
    found = differences(arms, "plain", SHOWN)["paper", "knowledge_accuracy"]
    mean = np.mean(PAPER["knowledge_accuracy"][1:]) - np.mean(PLAIN["knowledge_accuracy"][1:])
    assert found.startswith(f"{100 * mean:+.1f} ")


def test_the_papers_numbers_stand_beside_ours(folder: Path) -> None:
    settings = {"zsre-lora": ["plain", "paper", "shuffled"]}
    paths = write_tables(folder, settings, ["table3", "table4"], "semantic-trainer study --config x.yaml")
    rows = list(csv.DictReader(io.StringIO((folder / "tables" / "table3.csv").read_text())))
    assert [(row["arm"], row["runs"], row["paper: knowledge accuracy"]) for row in rows] == [
        ("plain", "4", "19.54"),
        ("paper", "4", "24.83"),
    ]
    text = paths[0].read_text()
    for said in ("test half", "protocol multi", "100 facts a run", "Commit 0123456789ab", "`semantic-trainer study"):
        assert said in text
    assert "77.7" not in text


def test_beside_facts_of_ones_own_nothing_is_said_of_the_paper() -> None:
    found = results(PLAIN, "none")
    assert any("paper" in note for note in table_4({"four": {"plain": found}}).notes)
    for r in found:
        r["config"] = {**r["config"], "facts": ["own.jsonl"]}
    assert not [note for note in table_4({"four": {"plain": found}}).notes if "paper" in note]


def test_of_one_fact_a_run_the_interval_is_wilsons() -> None:
    runs = [
        result(
            i,
            "none",
            {"deviation": float(i < 6), "deviation_in_bad": float(i < 6) if i < 8 else None},
            protocol="single",
        )
        for i in range(10)
    ]
    low, high = stats.binomtest(6, 10).proportion_ci(0.95, method="wilson")
    score = over_runs(runs, "deviation")
    assert (score["value"], score["ci95"]) == (0.6, pytest.approx([low, high]))
    row = table_1({"zsre-lora": {"plain": runs}}).rows[0]
    assert row[3] == "10 of 20"
    assert row[4].startswith("75.0 [")
    assert row[6] == "71.10"


def test_the_papers_numbers_stand_only_beside_what_they_are_about() -> None:
    def beside(facts: str = "zsre_mend_1k.json", weighting: str = "none", **config: object) -> list[object]:
        c = {**CONFIG, "facts": [facts], "weighting": weighting, **config}
        return [
            paper.deviation(c),
            paper.norm(c, "amplification", "long"),
            *(paper.reported(c, name) for name in paper.METRICS),
        ]

    assert beside() == [71.10, 0.63, 19.54, 21.24, 51.86]
    assert beside(model="mistralai/Mistral-7B-v0.1")[:1] == [58.28]
    assert beside(method="adalora") == [68.54, None, None, None, None]
    assert beside(weighting="paper") == [None, None, 24.83, 23.15, 52.01]
    assert beside("counterfact_6k.json", method="adalora") == [None, None, 16.79, 19.89, 38.11]
    for nothing in (
        {"facts": "mine.jsonl"},
        {"weighting": "shuffled"},
        {"method": "houlsby"},
        {"filter": {"kind": "filter"}},
    ):
        assert beside(**nothing) == [None] * 5


def test_arms_with_a_filter_are_no_plain_tuning() -> None:
    replaced = [result(0, "none", PLAIN_0, filter={"kind": "filter", "replace_share": 0.5})]
    study = {"zsre-lora": {"plain": [result(0, "none", PLAIN_0)], "filter-0.5": replaced}}
    assert [row[1] for row in TABLES["table4"](study).rows] == ["plain"]
    assert [row[-1] for row in table_1(study).rows] == ["71.10", "–"]


def test_notes_say_how_each_arm_was_run_in_the_order_of_distances() -> None:
    def one(group: str, low: float, **config: object) -> dict:
        found = result(0, "none", PLAIN_0, distances=[low, low + 0.5], **config)
        return found | {"draw": {"group": group, "run": 0, "seed": 0}, "examples": [EXAMPLE]}

    groups = (("far", 0.5), ("near", 0.0))
    tuned = [one(*group, learning_rate=0.004, model="/home/me/base") for group in groups]
    study = {"zsre": {"plain": [one(*group, model="/home/me/base") for group in groups], "tuned": tuned}}
    table = TABLES["table5"](study)
    assert [row[0] for row in table.rows] == ["near", "near", "far", "far"]
    assert "100 facts a run, near from 0 to 0.5, far from 0.5 to 1, 4 epochs" in table.to_markdown()
    assert "zsre, other than plain: tuned (learning_rate 0.004)." in table.to_markdown()
    assert "/home" not in table.to_markdown()
    assert "&lt;s> a \\| b" in table.to_markdown()
    assert "<s> a | b" in table.to_csv()


def test_notes_say_what_was_drawn_and_which_gamma_weights_have() -> None:
    study = {
        "cf": {
            "plain": [result(run, "none", PLAIN_0, limit=2400) for run in range(4)],
            "paper": [result(run, "paper", PLAIN_0, limit=2400, gamma=None) for run in range(4)],
            "more": [result(run, "paper", PLAIN_0, limit=2400, gamma=2.0) for run in range(4)],
            "self_paced": [result(run, "self_paced", PLAIN_0, limit=2400, gamma=None) for run in range(4)],
        }
    }
    notes = controls_table(study).notes
    # of run k the facts k-a, at 0.2, and b, at 0.4, which comes in each of them
    assert any(
        "json (the first 2400), test half; 5 facts in 8 draws, distance 0.24 in the mean, 0 % from" in n for n in notes
    )
    said = "paper (weighting paper, gamma 1), more (weighting paper, gamma 2), self_paced (weighting self_paced)."
    assert f"cf, other than plain: {said}" in notes


def test_intervals_stay_within_0_and_100() -> None:
    assert in_points({"value": 0.5, "ci95": [-0.96, 2.2]}) == "50.0 [0.0, 100.0]"
    assert in_points({"value": None, "ci95": None}) == "–"


def test_the_papers_tables_agree_with_what_is_said_of_them() -> None:
    plain = [row for table in paper.PLAIN.values() for row in table.values()]
    assert sum(generality > accuracy for accuracy, generality, _ in plain) == 9
    assert len(plain) == 10
    gains = [row[0] - paper.PLAIN[key][m][0] for key, table in paper.REWEIGHTED.items() for m, row in table.items()]
    assert (round(min(gains), 2), round(max(gains), 2)) == (2.86, 5.91)
    for key, table in paper.REWEIGHTED.items():
        assert all(row[0] > paper.PLAIN[key][model][0] for model, row in table.items())
    for group, factor in paper.SPECTRA["amplification"].items():
        ratio = paper.SPECTRA["delta_norm"][group] / paper.SPECTRA["proj_delta"][group]
        assert ratio == pytest.approx(factor, abs=0.006)
        least = np.sqrt(2 / 4096) * paper.SPECTRA["weight_norm"][group]
        assert least > paper.SPECTRA["proj_weight"][group]
    times = [1.3884 / value for value in paper.SPECTRA["proj_delta"].values()]
    assert [round(value, 1) for value in times] == [7.7, 8.5, 4.8]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("meta-llama/Llama-2-7b-chat-hf", "LLaMA2-7B"),
        ("bigscience/bloomz-1b7", "BLOOMZ-1.7B"),
        ("bigscience/bloomz-7b1", "BLOOMZ-7B"),
        ("mistralai/Mistral-7B-v0.1", "Mistral-7B"),
        ("ORG/other", "LLaMA2-7B"),
    ],
)
def test_hub_ids_of_the_papers_models(model: str, name: str) -> None:
    assert paper.paper_model(model) == name


def test_unknown_tables_are_refused() -> None:
    check_tables(list(TABLES))
    with pytest.raises(ValueError, match="table3"):
        check_tables(["table_3"])
