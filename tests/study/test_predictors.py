"""What predicts whether a fact will stick, on facts whose chances are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from semantic_trainer.study.predictors import fit_outlook, rank_auc, rank_correlations
from semantic_trainer.study.predictors_table import predictors_table

from .test_tables import PLAIN, results


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_rank_auc_is_scikit_learns(rows: list[tuple[int, bool]]) -> None:
    scores, learnt = zip(*rows, strict=True)
    if 0 < sum(learnt) < len(learnt):
        assert rank_auc(scores, learnt) == pytest.approx(roc_auc_score(learnt, scores))


def test_chances_follow_the_feature_that_decides_and_add_up() -> None:
    draw = np.random.default_rng(0)
    features = {"distance": draw.uniform(0, 1, 600), "target_loss": draw.uniform(0, 8, 600)}
    learnt = draw.random(600) < 1 / (1 + np.exp(features["target_loss"] - 4))
    found = fit_outlook(features, learnt)
    assert found.probabilities(features).sum() == pytest.approx(learnt.sum(), abs=1.0)
    assert found.auc == pytest.approx(fit_outlook(features, learnt, ["target_loss"]).auc, abs=0.03)
    assert found.auc > 0.85 > 0.65 > fit_outlook(features, learnt, ["distance"]).auc
    correlations = rank_correlations(features, learnt)
    assert correlations["target_loss"]["rho"] < -0.5
    assert abs(correlations["distance"]["rho"]) < 0.15


def test_facts_that_runs_share_are_held_out_of_all_of_them() -> None:
    aucs = {"alone": [], "shared": []}
    for seed in range(12):
        draw = np.random.default_rng(seed)
        features = {name: draw.uniform(0, 1, 20).tolist() * 7 for name in ("distance", "target_loss")}
        learnt, facts = (draw.random(20) < 0.5).tolist() * 7, list(range(20)) * 7
        aucs["alone"].append(fit_outlook(features, learnt).auc)
        aucs["shared"].append(fit_outlook(features, learnt, facts=facts).auc)
    assert np.mean(aucs["alone"]) > 0.6  # noise: what is held out was fitted on
    assert np.mean(aucs["shared"]) < 0.53


def test_too_few_facts_to_hold_out_give_no_auc() -> None:
    features = {"distance": [0.1, 0.2, 0.3] * 4, "target_loss": [1.0, 2.0, 3.0] * 4}
    assert fit_outlook(features, [True, False, False] * 4, facts=["a", "b", "c"] * 4).auc is None


@pytest.mark.parametrize("value", [True, False])
def test_where_all_facts_ended_alike_the_share_is_all_there_is_to_say(value: bool) -> None:
    found = fit_outlook({"distance": [0.1, 0.5, 0.9], "target_loss": [1, 2, 3]}, [value] * 3)
    assert found.auc is None
    assert found.probabilities({"distance": [0.3], "target_loss": [7]})[0] == pytest.approx(0.8 if value else 0.2)
    assert rank_correlations({"distance": [0.1, 0.5]}, [1, 1], ["distance"])["distance"]["rho"] is None


def test_the_table_has_a_row_an_arm_whose_results_know_the_loss() -> None:
    draw = np.random.default_rng(1)
    runs = []
    for _ in range(4):
        rows = {"distance": draw.uniform(0, 1, 80).tolist(), "target_loss": draw.uniform(0, 8, 80).tolist()}
        rows["knowledge_accuracy"] = (np.array(rows["target_loss"]) + draw.normal(0, 1, 80) < 4).tolist()
        rows["fact_id"] = [f"{len(runs)}-{i}" for i in range(80)]
        runs.append({**results(PLAIN, "none")[0], "rows": rows})
    taken_out = {name: [*column, 0.5] for name, column in runs[0]["rows"].items()} | {
        "part": [*["kept"] * 80, "removed"]
    }
    runs[0] = {**runs[0], "rows": taken_out}
    older = {**runs[0], "rows": {"distance": [0.1], "knowledge_accuracy": [True]}}
    table = predictors_table({"four": {"plain": runs, "paper": [older]}})
    ((setting, arm, n, facts, learnt, *rho, near, loss, both),) = table.rows
    assert (setting, arm, n, facts) == ("four", "plain", "4", "320")
    assert float(learnt) == pytest.approx(50, abs=8)
    assert float(rho[1].split()[0]) == pytest.approx(-0.8, abs=0.05)
    assert float(near) < 0.65 < 0.95 < float(loss)
    assert float(both) == pytest.approx(float(loss), abs=0.02)
