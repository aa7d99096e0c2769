"""evaluate_facts: knowledge accuracy, generality, locality and deviation of a model on a set of facts."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..answers import answer_prompts
from ..answers.decoding import Answer, GenerationSettings
from ..answers.stage import warn_about_long_targets
from ..distance.embedding import EmbeddingTable, semantic_distance
from ..facts.prompts import PromptFormat, as_prompt_format
from ..facts.schema import as_texts, require_columns, require_dataset, require_strings
from .scores import bad_cases, deviates, relative_deviation, strict
from .statistics import mean_score, score, undefined

logger = logging.getLogger(__name__)
METRICS = (
    "knowledge_accuracy",
    "generality",
    "locality",
    "deviation",
    "deviation_in_bad",
    "relative_deviation",
)


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate_facts` found.

    Attributes:
        summary: metric -> `{value, ci95, n, protocol}`; fractions in [0, 1]; `value` is `None` where undefined.
            The three of deviation also have `truncated`, the share of new answers that max_new_tokens cut off;
            `relative_deviation` also `undefined` (facts without an RD), `signed_mean` and `median`.
        table: one row a fact, with every answer and score.
    """

    summary: dict[str, dict[str, object]]
    table: Dataset


def protocol_name(prompt_format: PromptFormat, settings: GenerationSettings) -> str:
    """How the answers were made, in one line: two numbers compare only where this is equal."""
    return (
        f"strict, greedy, {prompt_format.kind} with {len(prompt_format.shots)} shots, "
        f"max_new_tokens {settings.max_new_tokens}, {settings.dtype}"
    )


def _lists(facts: Dataset, column: str) -> list[list[str]]:
    """A column of lists of texts; one text counts as a list of one, a missing column as empty lists."""
    if column not in facts.column_names:
        return [[]] * len(facts)
    out = []
    for i, row in enumerate(facts[column][:]):
        try:
            out.append(as_texts(row))
        except ValueError as error:
            raise ValueError(f"`facts` column {column!r}, row {i}: {error}") from error
    return out


def _score_table(
    facts: Dataset,
    new: dict[str, Answer],
    old: dict[str, Answer],
    distances: tuple[np.ndarray, np.ndarray],
    tuned: bool,
) -> dict[str, list]:
    """Columns of the per-fact table from answers by prompt and from old and new distances."""
    prompts, targets, aliases = facts["prompt"][:], facts["target"][:], _lists(facts, "aliases")
    paraphrases, unrelated = _lists(facts, "paraphrases"), _lists(facts, "locality_prompts")
    correct = [strict(new[p].text, t, a) for p, t, a in zip(prompts, targets, aliases, strict=True)]
    rephrased = [
        [strict(new[p].text, t, a) for p in group] for group, t, a in zip(paraphrases, targets, aliases, strict=True)
    ]
    kept = [[new[p].text == old[p].text for p in group] for group in unrelated]
    old_distance, new_distance = distances
    moved = relative_deviation(new_distance, old_distance)
    return {
        "prompt": prompts,
        "target": targets,
        "old_answer": [old[p].text for p in prompts],
        "new_answer": [new[p].text for p in prompts],
        "new_answer_raw": [new[p].raw for p in prompts],
        "new_answer_truncated": [new[p].truncated for p in prompts],
        "paraphrase_answers": [[new[p].text for p in group] for group in paraphrases],
        "locality_old_answers": [[old[p].text for p in group] for group in unrelated],
        "locality_new_answers": [[new[p].text for p in group] for group in unrelated],
        "distance": old_distance.tolist(),
        "new_distance": new_distance.tolist(),
        "knowledge_accuracy": correct,
        "generality": rephrased,
        "locality": kept,
        "bad_case": bad_cases(correct, new_distance).tolist(),
        "deviation": deviates(new_distance, old_distance).tolist() if tuned else [None] * len(facts),
        "relative_deviation": [float(v) if tuned and np.isfinite(v) else None for v in moved],
    }


def _summary(table: dict[str, list], protocol: str, tuned: bool, seed: int) -> dict[str, dict[str, object]]:
    summary = {
        "knowledge_accuracy": score([[v] for v in table["knowledge_accuracy"]], protocol, seed),
        "generality": score(table["generality"], protocol, seed),
        "locality": score(table["locality"], protocol, seed),
    }
    distance_protocol = f"Eq. 1 on the base model's embeddings, answers: {protocol}"
    if not tuned:
        n = summary["locality"]["n"]
        summary["locality"] = {
            "value": 1.0,
            "ci95": [1.0, 1.0],
            "n": n,
            "protocol": "by definition: base against itself",
        }
        none = {"undefined": len(table["prompt"]), "signed_mean": None, "median": None}
        summary |= {name: undefined(distance_protocol) for name in METRICS[3:]}
        return summary | {"relative_deviation": summary["relative_deviation"] | none}
    moved = [
        v for v, away in zip(table["relative_deviation"], table["deviation"], strict=True) if away and v is not None
    ]
    defined = [v for v in table["relative_deviation"] if v is not None]
    away_in_bad = [[away] for away, bad in zip(table["deviation"], table["bad_case"], strict=True) if bad]
    truncated = {"truncated": float(np.mean(table["new_answer_truncated"]))}
    return summary | {
        "deviation": score([[v] for v in table["deviation"]], distance_protocol, seed) | truncated,
        "deviation_in_bad": score(away_in_bad, distance_protocol, seed) | truncated,
        "relative_deviation": mean_score(moved, distance_protocol, seed)
        | truncated
        | {
            "undefined": len(table["deviation"]) - len(defined),
            "signed_mean": float(np.mean(defined)) if defined else None,
            "median": float(np.median(defined)) if defined else None,
        },
    }


def is_tuned(model: object) -> bool:
    """Whether the model is a `PeftModel`, whose base is there to compare with.

    Raises:
        ValueError: an adapter was loaded into the model itself, which then cannot be told from its base.
    """
    if hasattr(model, "disable_adapter"):
        return True
    if getattr(model, "_hf_peft_config_loaded", False):
        raise ValueError(
            "`model` carries an adapter loaded into the model itself, so its base cannot be asked. Load it with "
            "PeftModel.from_pretrained(base, adapter)."
        )
    logger.info(
        "`model` is no PeftModel and counts as the base itself: locality is 1 by definition, deviation undefined"
    )
    return False


def _all(groups: Iterable[Iterable[str]]) -> list[str]:
    return [text for group in groups for text in group]


def evaluate_facts(
    model: object,
    processing_class: object,
    facts: Dataset,
    prompt_format: PromptFormat | str | None = None,
    table: EmbeddingTable | None = None,
    max_new_tokens: int = 32,
    batch_size: int = 32,
    dtype: str = "auto",
    store_dir: str | Path | None = None,
    seed: int = 0,
) -> Evaluation:
    """Ask a model about facts and score the answers against the targets and against the base model.

    Knowledge accuracy (Eq. 2) is on `prompt`, generality (Eqs. 7, 9) on `paraphrases`, locality (Eqs. 8, 10) is the
    share of `locality_prompts` answered as by the base model, deviation the share of facts whose answer moved away
    from the target (Eq. 3). Old and new answers come from the same canonical greedy decoding.

    Args:
        model: a `PeftModel` (its adapters are switched off for the base's answers), or a plain model, which counts as
            the base itself: locality is then 1 by definition and deviation undefined.
        facts: dataset with `prompt` and `target`; `aliases`, `paraphrases` and `locality_prompts` are used if present.
        prompt_format: `None` resolves `auto`; give the one used in training.
        table: the base model's embeddings; `None` takes them from `model`.
        max_new_tokens, batch_size, dtype, store_dir: as in `add_old_answers`.
        seed: of the bootstrap intervals.

    Returns:
        `Evaluation(summary, table)`.

    Raises:
        TypeError: `facts` is no `datasets.Dataset`.
        ValueError: missing column, blank or non-text cell, a prompt longer than the context.

    Example:
        >>> evaluation = evaluate_facts(trainer.model, tokenizer, facts, trainer.prompt_format)
        >>> evaluation.summary["knowledge_accuracy"]["value"]
        0.98
    """
    require_dataset(facts)
    require_columns(facts, ("prompt", "target"))
    require_strings(facts, ("prompt", "target"))
    facts = facts.with_format(None)
    tuned = is_tuned(model)
    prompts, unrelated = facts["prompt"][:], _all(_lists(facts, "locality_prompts"))
    form = as_prompt_format(prompt_format, prompts, processing_class)
    warn_about_long_targets(facts["target"][:], processing_class, form, max_new_tokens)
    table = table or EmbeddingTable.from_model(model)
    settings = GenerationSettings(max_new_tokens, dtype).resolve(model)

    def ask(texts: list[str], adapters: bool) -> dict[str, Answer]:
        who = "tuned answers" if adapters else "base answers"
        return answer_prompts(
            model, processing_class, texts, form, settings, adapters, batch_size, store_dir=store_dir, description=who
        )

    asked = [*prompts, *_all(_lists(facts, "paraphrases")), *unrelated]
    new = ask(asked, tuned)
    old = ask([*prompts, *unrelated], False) if tuned else new
    targets = facts["target"][:]
    distances = tuple(
        semantic_distance([answers[p].text for p in prompts], targets, table, processing_class, form)
        for answers in (old, new)
    )
    rows = _score_table(facts, new, old, distances, tuned)
    summary = _summary(rows, protocol_name(form, settings), tuned, seed)
    ids = {"fact_id": facts["fact_id"][:]} if "fact_id" in facts.column_names else {}
    return Evaluation(summary, Dataset.from_dict({**ids, **rows}))
