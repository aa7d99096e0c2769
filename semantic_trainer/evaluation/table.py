"""The per-fact table of an evaluation, and its summary: pure functions of answers, distances and forward scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset

from ..answers.reading import Answer
from ..facts.messages import shown
from ..facts.schema import as_texts
from .scores import bad_cases, contains, deviates, leak_gap, normalized, relative_deviation, strict
from .statistics import mean_score, score, undefined

# The headline, in every summary; and what stands beside it, always under its own name.
METRICS = ("knowledge_accuracy", "generality", "locality", "deviation", "deviation_in_bad", "relative_deviation")
BESIDE = ("normalized", "contains", "token", "leak_gap", "portability", "locality_noise_floor", "next_token_kl")


def text_lists(facts: Dataset, column: str) -> list[list[str]]:
    """A column of lists of texts; one text counts as a list of one, a missing column as empty lists."""
    if column not in facts.column_names:
        return [[] for _ in range(len(facts))]
    out = []
    for i, row in enumerate(facts[column][:]):
        try:
            out.append(as_texts(row))
        except ValueError as error:
            raise ValueError(f"`facts` column {column!r}, row {i}: {error}") from error
    return out


def hops(facts: Dataset) -> list[list[dict[str, str]]]:
    """The column `portability`: lists of `{prompt, answer}`; empty ones where it is missing."""
    if "portability" not in facts.column_names:
        return [[] for _ in range(len(facts))]
    out = []
    for i, row in enumerate(facts["portability"][:]):
        if row is not None and not (isinstance(row, list) and all(map(_is_hop, row))):
            raise ValueError(
                f"`facts` column 'portability', row {i}: must be a list of objects with the texts prompt and answer, "
                f"but {shown(row)} was found. Write it so, or read the rows with load_facts, which knows other shapes."
            )
        out.append([hop for hop in row or () if hop["prompt"].strip()])
    return out


def _is_hop(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("prompt", "answer"))


@dataclass(frozen=True)
class Found:
    """What was found out about the facts, before it is scored.

    Attributes:
        new, old: answers by prompt, of the model and of its base; the same ones where the model is the base.
        old_distance, new_distance: (N,) Eq. 1.
        tuned: whether the model is not the base itself.
        token: (N,) teacher-forced shares.
        target_loss: (N,) mean losses of the target's tokens, in nats.
        divergence: locality prompt -> next-token KL; empty for the base.
        reshuffled: locality prompt -> the base's answer in reshuffled batches; empty where it was not asked.
    """

    new: Mapping[str, Answer]
    old: Mapping[str, Answer]
    old_distance: np.ndarray
    new_distance: np.ndarray
    tuned: bool
    token: np.ndarray
    target_loss: np.ndarray
    divergence: Mapping[str, float] = field(default_factory=dict)
    reshuffled: Mapping[str, Answer] = field(default_factory=dict)


def score_table(facts: Dataset, found: Found) -> dict[str, list]:
    """Columns of the per-fact table: every answer and every score."""
    new, old, tuned = found.new, found.old, found.tuned
    prompts, targets, aliases = facts["prompt"][:], facts["target"][:], text_lists(facts, "aliases")
    paraphrases, unrelated = text_lists(facts, "paraphrases"), text_lists(facts, "locality_prompts")
    wanted = list(zip(prompts, targets, aliases, strict=True))
    correct = [strict(new[p].text, t, a) for p, t, a in wanted]
    moved = relative_deviation(found.new_distance, found.old_distance)
    return {
        **{name: facts[name][:] for name in ("fact_id", "subject", "relation") if name in facts.column_names},
        "prompt": prompts,
        "target": targets,
        "old_answer": [old[p].text for p in prompts],
        "new_answer": [new[p].text for p in prompts],
        "new_answer_raw": [new[p].raw for p in prompts],
        "new_answer_truncated": [new[p].truncated for p in prompts],
        "paraphrase_answers": [[new[p].text for p in group] for group in paraphrases],
        "locality_old_answers": [[old[p].text for p in group] for group in unrelated],
        "locality_new_answers": [[new[p].text for p in group] for group in unrelated],
        "portability_answers": [[new[hop["prompt"]].text for hop in group] for group in hops(facts)],
        "distance": found.old_distance.tolist(),
        "new_distance": found.new_distance.tolist(),
        "knowledge_accuracy": correct,
        "generality": [
            [strict(new[p].text, t, a) for p in group] for group, (_, t, a) in zip(paraphrases, wanted, strict=True)
        ],
        "locality": [[new[p].text == old[p].text for p in group] for group in unrelated],
        "normalized": [normalized(new[p].raw, t, a) for p, t, a in wanted],
        "contains": [contains(new[p].raw, t, a) for p, t, a in wanted],
        "token": found.token.tolist(),
        "target_loss": found.target_loss.tolist(),
        "portability": [[strict(new[hop["prompt"]].text, hop["answer"]) for hop in group] for group in hops(facts)],
        "next_token_kl": [[found.divergence[p] for p in group if p in found.divergence] for group in unrelated],
        "locality_noise_floor": [
            [old[p].text == found.reshuffled[p].text for p in group if p in found.reshuffled] for group in unrelated
        ],
        "bad_case": bad_cases(correct, found.new_distance).tolist(),
        "deviation": deviates(found.new_distance, found.old_distance).tolist() if tuned else [None] * len(facts),
        "relative_deviation": [float(v) if tuned and np.isfinite(v) else None for v in moved],
    }


def summarise(table: Mapping[str, Sequence], protocol: str, how: str, tuned: bool, seed: int) -> dict[str, dict]:
    """Every metric of `METRICS` and `BESIDE` -> `{value, ci95, n, protocol}`.

    Args:
        protocol: how the answers were made and compared, strictly.
        how: the same without the comparison, for scores that compare in another way.
    """
    strictly = {name: score(_rows(table[name]), protocol, seed) for name in METRICS[:3]}
    if not tuned:
        n = strictly["locality"]["n"]
        by_definition = "by definition: base against itself"
        strictly["locality"] = {"value": 1.0, "ci95": [1.0, 1.0], "n": n, "protocol": by_definition}
    floor = f"base against itself in reshuffled batches, {protocol}"
    return {
        **strictly,
        **_deviation(table, f"Eq. 1 on the base model's embeddings, answers: {protocol}", tuned, seed),
        **{name: score(_rows(table[name]), f"{name}, {how}", seed) for name in ("normalized", "contains")},
        "token": score(_rows(table["token"]), f"token, teacher-forced, {how}", seed),
        "leak_gap": _mean(
            leak_gap(table["token"], table["knowledge_accuracy"]),
            f"token (teacher-forced) minus strict, {how}",
            seed,
        ),
        "portability": score(table["portability"], protocol, seed),
        "locality_noise_floor": score(table["locality_noise_floor"], floor, seed),
        "next_token_kl": _mean(
            [mean for group in table["next_token_kl"] if len(group) and np.isfinite(mean := float(np.mean(group)))],
            f"KL(base || tuned) of the first answer token on locality prompts, nats, {how}",
            seed,
        ),
    }


def _rows(column: Sequence) -> list[Sequence[float]]:
    """One sequence of scores a fact."""
    return [value if isinstance(value, list) else [value] for value in column]


def _mean(values: Sequence[float], protocol: str, seed: int) -> dict[str, object]:
    return mean_score(np.asarray(values, dtype=float), protocol, seed)


def _deviation(table: Mapping[str, Sequence], protocol: str, tuned: bool, seed: int) -> dict[str, dict]:
    """The three of deviation, with the share of truncated answers beside each; null before tuning."""
    if not tuned:
        none = {"undefined": len(table["prompt"]), "signed_mean": None, "median": None}
        return {name: undefined(protocol) for name in METRICS[3:5]} | {METRICS[5]: undefined(protocol) | none}
    cases = list(zip(table["relative_deviation"], table["deviation"], table["bad_case"], strict=True))
    moved = [value for value, away, _ in cases if away and value is not None]
    defined = [value for value, _, _ in cases if value is not None]
    truncated = {"truncated": float(np.mean(table["new_answer_truncated"]))}
    return {
        "deviation": score([[away] for _, away, _ in cases], protocol, seed) | truncated,
        "deviation_in_bad": score([[away] for _, away, bad in cases if bad], protocol, seed) | truncated,
        "relative_deviation": mean_score(moved, protocol, seed)
        | truncated
        | {
            "undefined": len(cases) - len(defined),
            "signed_mean": float(np.mean(defined)) if defined else None,
            "median": float(np.median(defined)) if defined else None,
        },
    }
