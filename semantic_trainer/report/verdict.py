"""What a run may claim, in one sentence: counts, cost, and whether the weighting shows in the intervals."""

from collections.abc import Mapping

from datasets import Dataset

from ..evaluation.comparison import Difference, adjust, format_p, paired_facts
from ..evaluation.statistics import undefined
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


def _pairs(table: Dataset, metric: str) -> tuple[list, list]:
    """The scores of both arms, fact by fact, where both have some."""
    names = [f"{arm}_{metric}" for arm in ("plain", "weighted")]
    if not set(names) <= set(table.column_names):
        return [], []
    columns = [[cell if isinstance(cell, list) else [cell] for cell in table[name][:]] for name in names]
    both = [(p, w) for p, w in zip(*columns, strict=True) if p and len(p) == len(w) and None not in (*p, *w)]
    return [p for p, _ in both], [w for _, w in both]


def paired_differences(table: Dataset) -> dict[str, dict[str, object]]:
    """Metric of `PAIRED` -> `{value, ci95, n, protocol, evident}`: weighted minus plain on the same facts.

    As `semantic-trainer compare` has it, p-values corrected for the number of metrics (Holm); value `None` and not
    evident where nothing pairs.

    Args:
        table: one row a fact, with `plain_METRIC` and `weighted_METRIC`.
    """
    pairs = {metric: _pairs(table, metric) for metric in PAIRED}
    found = {metric: paired_facts(*rows, metric, metric) for metric, rows in pairs.items() if rows[0]}
    adjusted = dict(zip(found, adjust(list(found.values())), strict=True)) if found else {}
    none = undefined("weighted minus plain, fact by fact") | {"evident": False}
    return {metric: _as_score(adjusted[metric]) if metric in adjusted else none for metric in PAIRED}


def _as_score(difference: Difference) -> dict[str, object]:
    protocol = f"weighted minus plain, fact by fact; {difference.test}, {format_p(difference.p_value)} after Holm"
    values = {"value": difference.value, "ci95": list(difference.ci95), "n": difference.n}
    return {**values, "protocol": protocol, "evident": difference.evident}


def create_verdict(summary: RunSummary, differences: Mapping[str, Score]) -> str:
    """One sentence: how many facts were learnt, at what cost, and what the weighting did.

    Args:
        differences: what `paired_differences` found.
    """
    return f"{_learnt(summary)}{_cost(summary)}; {_effect(differences)}."


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


def _effect(differences: Mapping[str, Score]) -> str:
    """What the intervals show of the weighting."""
    shown = [name for name in differences if differences[name]["evident"]]
    if not shown:
        return NO_EVIDENCE
    parts = [
        f"{'raised' if differences[name]['value'] > 0 else 'lowered'} {PAIRED[name]} by "
        f"{100 * abs(differences[name]['value']):.1f} points"
        for name in shown
    ]
    rest = ", with no evidence of a difference elsewhere" if len(shown) < len(differences) else ""
    return f"against all weights 1, the weighting {', '.join(parts)}{rest}, in one run with one seed"
