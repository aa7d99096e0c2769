"""From a run's per-fact table and its trainer's logs to what its result holds: pure functions."""

from collections.abc import Mapping, Sequence

import numpy as np
from transformers import TrainerState

from ..evaluation.statistics import score
from ..evaluation.table import summarise
from .replacing import Replaced
from .results import TEXTS, select_columns

PerFact = Mapping[str, Sequence]  # column -> one value a fact


def summarise_run(
    table: PerFact, replaced: Replaced | None, seed: int, protocol: str, examples: int
) -> dict[str, object]:
    """`scores` of the run's own facts and `rows` of all that were scored; with a filter also those of its parts.

    Args:
        replaced: what a filter did, if there was one.
        seed: of the intervals.
        protocol: how answers were made.
        examples: how many facts are kept with their texts.
    """

    def scores(rows: np.ndarray | None) -> dict[str, dict]:
        return summarise(select_rows(table, rows), f"strict, {protocol}", protocol, True, seed)

    out = {"scores": scores(replaced.parts["original"] if replaced else None), "rows": select_columns(table)}
    if "first_learnt" in table:
        out["scores"]["never_learnt"] = never_learnt(table, protocol)
    if replaced:
        out["rows"]["part"] = replaced.labels
        accuracy = {part: scores(rows)["knowledge_accuracy"] for part, rows in replaced.parts.items()}
        out["knowledge_accuracy_of"] = accuracy
    if examples:
        kept = (*TEXTS, "distance", "new_distance")
        out["examples"] = [{name: table[name][i] for name in kept} for i in range(min(examples, len(table["prompt"])))]
    return out


def never_learnt(table: PerFact, protocol: str) -> dict[str, object]:
    """The share of facts that no epoch's steps saw learnt (`LearningHistory.first_learnt`), nor the answers after it.

    Example:
        >>> never_learnt({"first_learnt": [1, None, None], "knowledge_accuracy": [False, True, False]}, "strict")["n"]
        3
    """
    both = zip(table["first_learnt"], table["knowledge_accuracy"], strict=True)
    return score([[float(epoch is None and not right)] for epoch, right in both], protocol)


def select_rows(table: PerFact, rows: np.ndarray | None) -> PerFact:
    """Some rows of a per-fact table; all of them for `None`."""
    return table if rows is None else {name: [column[i] for i in rows] for name, column in table.items()}


def describe_training(state: TrainerState, max_grad_norm: float) -> dict[str, object]:
    """Steps, the mean loss, and the share of steps whose gradient was clipped: none where `max_grad_norm` is 0."""
    norms = [log["grad_norm"] for log in state.log_history if "grad_norm" in log]
    return {
        "steps": state.global_step,
        "loss": next((log["train_loss"] for log in reversed(state.log_history) if "train_loss" in log), None),
        "clipped_share": float(np.mean([0 < max_grad_norm < norm for norm in norms])) if norms else None,
    }
