"""evaluate_facts: knowledge accuracy, generality, locality and deviation of a model on a set of facts."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset

from ..answers import answer_prompts
from ..answers.decoding import GenerationSettings
from ..answers.reading import Answer
from ..answers.stage import check_base, warn_about_long_targets
from ..distance.embedding import EmbeddingTable, semantic_distance
from ..facts.prompts import PromptFormat, as_prompt_format, check_tokenizer
from ..facts.schema import require_columns, require_dataset, require_strings
from . import breakdown
from .forward import next_token_divergences, teacher_forced
from .record import BaseRecord
from .table import METRICS, Found, hops, score_table, summarise, text_lists

__all__ = ["METRICS", "Evaluation", "evaluate_facts", "protocol_name"]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate_facts` found.

    Attributes:
        summary: metric -> `{value, ci95, n, protocol}`; fractions in [0, 1]; `value` is `None` where undefined.
            First `knowledge_accuracy, generality, locality, deviation, deviation_in_bad, relative_deviation`; then,
            each under its own name, `normalized, contains, token, leak_gap` (token minus strict), `portability,
            locality_noise_floor, next_token_kl` (nats). The three of deviation also have `truncated`, the share of new
            answers that max_new_tokens cut off; `relative_deviation` also `undefined` (facts without an RD),
            `signed_mean` and `median`.
        table: one row a fact, with every answer and score.
    """

    summary: dict[str, dict[str, object]]
    table: Dataset

    def by_distance(self, metric: str = "knowledge_accuracy") -> list[dict]:
        """`{low, high, value, ci95, n}` by bins of the distance before training; empty bins have `value` `None`."""
        return breakdown.by_distance(self.table, metric)

    def by_relation(self, metric: str = "knowledge_accuracy") -> list[dict]:
        """`{relation, value, ci95, n}` by relation, the largest first."""
        return breakdown.by_relation(self.table, metric)


def protocol_name(prompt_format: PromptFormat, settings: GenerationSettings) -> str:
    """How the answers were made and compared, in one line: two numbers compare only where this is equal."""
    return f"strict, {answer_protocol(prompt_format, settings)}"


def answer_protocol(prompt_format: PromptFormat, settings: GenerationSettings) -> str:
    """How the answers were made, in one line."""
    return (
        f"greedy, {prompt_format.kind} with {len(prompt_format.shots)} shots, "
        f"max_new_tokens {settings.max_new_tokens}, {settings.dtype}"
    )


def is_tuned(model: object) -> bool:
    """Whether the model is a `PeftModel`, whose base is there to compare with.

    Raises:
        ValueError: an adapter was loaded into the model itself, which then cannot be told from its base.
    """
    if hasattr(model, "disable_adapter"):
        return True
    check_base(model)
    logger.info(
        "`model` is no PeftModel and counts as the base itself: locality is 1 by definition, deviation undefined. If "
        "all its weights were tuned, give `base`, what record_base took down before"
    )
    return False


def expected_answers(facts: Dataset, old: Mapping[str, str]) -> dict[str, str]:
    """Prompt -> what a tuned model is expected to say: the target, an onward question's answer, the base's answer."""
    drafts = dict(old)
    for group in hops(facts):
        drafts |= {hop["prompt"]: hop["answer"] for hop in group}
    for target, texts in zip(facts["target"][:], text_lists(facts, "paraphrases"), strict=True):
        drafts |= dict.fromkeys(texts, target)
    return drafts | dict(zip(facts["prompt"][:], facts["target"][:], strict=True))


def _all(groups: Iterable[Iterable[str]]) -> list[str]:
    return [text for group in groups for text in group]


def evaluate_facts(
    model: object,
    processing_class: object,
    facts: Dataset,
    prompt_format: PromptFormat | str | None = None,
    table: EmbeddingTable | None = None,
    max_new_tokens: int = 32,
    batch_size: int = 64,
    dtype: str = "auto",
    store_dir: str | Path | None = None,
    seed: int = 0,
    noise_floor: bool = False,
    keep: bool = True,
    base: BaseRecord | None = None,
) -> Evaluation:
    """Ask a model about facts and score the answers against the targets and against the base model.

    Knowledge accuracy (Eq. 2) is on `prompt`, generality (Eqs. 7, 9) on `paraphrases`, locality (Eqs. 8, 10) is the
    share of `locality_prompts` answered as by the base model, deviation the share of facts whose answer moved away
    from the target (Eq. 3). Old and new answers come from the same canonical greedy decoding. In a job of several
    processes every process must call it; they share the prompts.

    Args:
        model: a `PeftModel` (its adapters are switched off for the base's answers), or a plain model, which counts as
            the base itself, unless `base` is given: locality is then 1 by definition and deviation undefined.
        facts: dataset with `prompt` and `target`; `aliases`, `paraphrases`, `locality_prompts` and `portability` are
            used if present.
        prompt_format: `None` resolves `auto`; give the one used in training.
        table: the base model's embeddings; `None` takes them from `model`.
        max_new_tokens, batch_size, dtype, store_dir: as in `add_old_answers`.
        seed: of the bootstrap intervals, and of the noise floor's batches.
        noise_floor: also ask the base its locality prompts in reshuffled batches: the share answered alike is the
            ceiling that locality can be read against. Off by default: it asks them all once more.
        keep: `False` leaves the tuned model's answers out of the store, for an adapter that is about to change.
        base: what `record_base` took down of the base before all weights of `model` were tuned.

    Returns:
        `Evaluation(summary, table)`.

    Raises:
        TypeError: `facts` is no `datasets.Dataset`.
        ValueError: missing column, blank or non-text cell, a prompt longer than the context, a `base` of other facts
            or asked in another way.

    Example:
        >>> evaluation = evaluate_facts(trainer.model, tokenizer, facts, trainer.prompt_format)
        >>> evaluation.summary["knowledge_accuracy"]["value"]
        0.98
    """
    require_dataset(facts)
    require_columns(facts, ("prompt", "target"))
    require_strings(facts, ("prompt", "target"))
    check_tokenizer(processing_class)
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"`model` must be a loaded model, but {type(model).__name__} was passed")
    facts, tuned = facts.with_format(None), base is not None or is_tuned(model)
    prompts, targets, unrelated = facts["prompt"][:], facts["target"][:], _all(text_lists(facts, "locality_prompts"))
    form = as_prompt_format(prompt_format, prompts, processing_class)
    warn_about_long_targets(targets, processing_class, form, max_new_tokens)
    table = table or (base.table if base else EmbeddingTable.from_model(model))
    settings = GenerationSettings(max_new_tokens, dtype).resolve(model)
    if base is not None:
        base.check([*prompts, *unrelated], form, settings)
        if noise_floor:
            raise ValueError("`noise_floor` asks the base, which is only recorded here. Ask for it before training.")
    found = ask_facts(
        model, processing_class, facts, form, table, settings, batch_size, store_dir, seed, noise_floor, keep, base
    )
    rows = score_table(facts, found)
    how = answer_protocol(form, settings)
    return Evaluation(summarise(rows, f"strict, {how}", how, tuned, seed), Dataset.from_dict(rows))


def ask_facts(
    model: torch.nn.Module,
    processing_class: object,
    facts: Dataset,
    form: PromptFormat,
    table: EmbeddingTable,
    settings: GenerationSettings,
    batch_size: int = 64,
    store_dir: str | Path | None = None,
    seed: int = 0,
    noise_floor: bool = False,
    keep: bool = True,
    base: BaseRecord | None = None,
) -> Found:
    """Everything of an evaluation that runs the model: answers, teacher-forced shares and divergences, not scored.

    Args:
        facts, ...: as in `evaluate_facts`, checked and resolved.
    """
    tuned = base is not None or is_tuned(model)
    prompts, targets, unrelated = facts["prompt"][:], facts["target"][:], _all(text_lists(facts, "locality_prompts"))

    def ask(texts: list[str], who: str, adapters: bool = False, **how: object) -> dict[str, Answer]:
        return answer_prompts(
            model, processing_class, texts, form, settings, adapters, batch_size, store_dir, f"{who} answers", **how
        )

    def distance(answers: dict[str, Answer]) -> np.ndarray:
        return semantic_distance([answers[p].text for p in prompts], targets, table, processing_class, form)

    others = [hop["prompt"] for group in hops(facts) for hop in group]
    asked = [*prompts, *_all(text_lists(facts, "paraphrases")), *unrelated, *others]
    if base is not None:
        old = {p: base.answers[p] for p in (*prompts, *unrelated)}
    else:
        old = ask([*prompts, *unrelated], "base") if tuned else {}
    drafts = expected_answers(facts, {p: old[p].raw for p in unrelated}) if tuned else None
    new = ask(asked, "tuned" if tuned else "base", tuned, keep=keep or not tuned, drafts=drafts)
    old = old or new
    passes = (form, batch_size, settings.dtype)
    moved = dict.fromkeys(unrelated) if tuned else {}
    if moved:
        before = base.next_token if base else None
        shifts = next_token_divergences(model, processing_class, list(moved), *passes, base=before)
        moved = dict(zip(moved, shifts, strict=True))
    token, target_loss = teacher_forced(model, processing_class, prompts, targets, *passes)
    return Found(
        new=new,
        old=old,
        old_distance=distance(old),
        new_distance=distance(new),
        tuned=tuned,
        token=token,
        target_loss=target_loss,
        divergence=moved,
        reshuffled=ask(unrelated, "reshuffled base", shuffle=seed) if noise_floor and unrelated else {},
    )
