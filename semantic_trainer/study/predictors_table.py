"""The table of what says before training whether a fact will stick, at each budget."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..evaluation.statistics import mean_score
from .averages import EMPTY
from .notes import provenance
from .predictors import FEATURES, fit_outlook, rank_correlations
from .results import Study
from .table import Table

HEADS = {"distance": "distance", "target_loss": "loss on the target"}


def predictors_table(study: Study) -> Table:
    """Rank correlation of distance and base loss with being learnt, and how well each, and both, tell facts apart."""
    columns = ("setting", "arm", "runs", "facts", "learnt")
    columns += tuple(f"ρ, {HEADS[name]}" for name in FEATURES)
    columns += tuple(f"AUC, {HEADS[name]}" for name in FEATURES) + ("AUC, both",)
    rows = []
    for setting, arms in study.items():
        for arm, results in arms.items():
            kept = [_taught(result["rows"]) for result in results if "target_loss" in result["rows"]]
            if kept:
                rows.append((setting, arm, str(len(kept)), *_cells(kept)))
    notes = (
        "ρ: Spearman's rank correlation over the facts of a run, averaged over runs, with a bootstrap interval (BCa) "
        "over them; below 0, facts farther or harder for the base are learnt less often. AUC: of facts held out of "
        "all runs (5 folds), the odds that one that was learnt is ranked above one that was not, by a logistic "
        "regression on these columns; 0.5 is chance.",
        "Loss on the target: the base model's, mean over its tokens and the end, before training.",
        *provenance(study),
    )
    return Table("What will stick", columns, tuple(rows), notes)


def _taught(rows: Mapping[str, Sequence]) -> dict[str, list]:
    """The facts that a run was taught: not those that a filter took out."""
    parts = rows.get("part") or [""] * len(rows["distance"])
    names = (*FEATURES, "knowledge_accuracy", "fact_id")
    return {name: [v for v, part in zip(rows[name], parts, strict=True) if part != "removed"] for name in names}


def _cells(runs: Sequence[Mapping[str, Sequence]]) -> list[str]:
    learnt = [value for run in runs for value in run["knowledge_accuracy"]]
    features = {name: [value for run in runs for value in run[name]] for name in FEATURES}
    facts = [fact for run in runs for fact in run["fact_id"]]
    cells = [str(len(learnt)), f"{100 * np.mean(learnt):.1f}"]
    for name in FEATURES:
        found = [rank_correlations(run, run["knowledge_accuracy"], [name])[name]["rho"] for run in runs]
        cells.append(_mean([rho for rho in found if rho is not None]))
    for names in (*([name] for name in FEATURES), FEATURES):
        auc = fit_outlook(features, learnt, names, facts).auc
        cells.append(EMPTY if auc is None else f"{auc:.2f}")
    return cells


def _mean(values: Sequence[float]) -> str:
    score = mean_score(values, "")
    if score["value"] is None:
        return EMPTY
    interval = "" if score["ci95"] is None else " [{:+.2f}, {:+.2f}]".format(*score["ci95"])
    return f"{score['value']:+.2f}{interval}"
