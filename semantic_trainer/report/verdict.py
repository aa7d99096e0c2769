"""What a run may claim, in one sentence: counts, cost, and whether the weighting shows in the intervals."""

from collections.abc import Mapping

import numpy as np
from datasets import Dataset

from ..evaluation.statistics import mean_score, undefined
from .summary import RunSummary

# Scores of one fact under both arms; deviation among bad cases has other facts in each arm and cannot be paired.
PAIRED = {
    "knowledge_accuracy": "knowledge accuracy",
    "generality": "generality",
    "locality": "locality",
    "deviation": "the share of facts that moved away",
}
NO_EVIDENCE = "there is no evidence that the weighting made a difference"
Score = Mapping[str, object]


def _means(table: Dataset, column: str) -> np.ndarray:
    """(N,) mean score of each fact, NaN where it has none."""
    if column not in table.column_names:
        return np.full(len(table), np.nan)
    cells = [cell if isinstance(cell, list) else [] if cell is None else [cell] for cell in table[column][:]]
    return np.array([np.mean(cell) if cell else np.nan for cell in cells], dtype=float)


def paired_difference(table: Dataset, metric: str, seed: int = 0) -> dict[str, object]:
    """Weighted minus plain, fact by fact, as `{value, ci95, n, protocol}`; value `None` where nothing pairs.

    Args:
        table: one row a fact, with `plain_METRIC` and `weighted_METRIC`.
        metric: one of `PAIRED`; for any other, undefined.
        seed: of the bootstrap over facts.
    """
    protocol = "mean over facts of weighted minus plain, bootstrap over facts"
    if metric not in PAIRED:
        return undefined(protocol)
    difference = _means(table, f"weighted_{metric}") - _means(table, f"plain_{metric}")
    return mean_score(difference[np.isfinite(difference)], protocol, seed)


def is_shown(plain: Score, weighted: Score, difference: Score) -> bool:
    """Whether the intervals show a difference: those of the arms do not overlap, and that of the pairs excludes 0."""
    if any(score["ci95"] is None for score in (plain, weighted, difference)):
        return False
    (low, high), (other_low, other_high) = plain["ci95"], weighted["ci95"]
    first, last = difference["ci95"]
    return (high < other_low or other_high < low) and not first <= 0 <= last


def create_verdict(summary: RunSummary, differences: Mapping[str, Score]) -> str:
    """One sentence: how many facts were learnt, at what cost, and what the weighting did.

    Args:
        differences: metric of `PAIRED` -> `paired_difference`.
    """
    return f"{_learnt(summary)}{_cost(summary)}; {_effect(summary, differences)}."


def _count(score: Score) -> int:
    return round(score["value"] * score["n"])


def _learnt(summary: RunSummary) -> str:
    """How many facts are answered as taught, against before and against plain."""
    before, plain, weighted = (summary.runs[run]["knowledge_accuracy"] for run in ("before", "plain", "weighted"))
    if weighted["value"] is None:
        return "No fact was scored"
    others = [
        f"{_count(score)} {name}"
        for score, name in ((before, "before"), (plain, "with all weights 1"))
        if score["value"] is not None
    ]
    beside = f" ({', '.join(others)})" if others else ""
    said = f"Trained with weights, the model answers {_count(weighted)} of {weighted['n']} facts as taught{beside}"
    rephrased = summary.runs["weighted"]["generality"]["value"]
    return said if rephrased is None else f"{said} and {100 * rephrased:.1f} % of the rephrased questions"


def _cost(summary: RunSummary) -> str:
    """What it disturbed."""
    locality = summary.runs["weighted"]["locality"]["value"]
    if locality is None:
        return "; no unrelated question was asked, so what it disturbed is not known"
    return f"; {100 * (1 - locality):.1f} % of the answers to unrelated questions changed"


def _effect(summary: RunSummary, differences: Mapping[str, Score]) -> str:
    """What the intervals show of the weighting."""
    plain, weighted = summary.runs["plain"], summary.runs["weighted"]
    shown = [name for name in differences if is_shown(plain[name], weighted[name], differences[name])]
    if not shown:
        return NO_EVIDENCE
    parts = [
        f"{'raised' if differences[name]['value'] > 0 else 'lowered'} {PAIRED[name]} by "
        f"{100 * abs(differences[name]['value']):.1f} points"
        for name in shown
    ]
    rest = ", with no evidence of a difference elsewhere" if len(shown) < len(differences) else ""
    return f"against all weights 1, the weighting {', '.join(parts)}{rest}, in one run with one seed"
