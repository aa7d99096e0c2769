"""What a base model said and thought before all its weights were tuned: afterwards nobody can ask it."""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from datasets import Dataset

from ..answers import answer_prompts
from ..answers.decoding import GenerationSettings
from ..answers.reading import Answer
from ..answers.stage import adapters_off
from ..distance.embedding import EmbeddingTable
from ..facts.prompts import PromptFormat, as_prompt_format
from ..facts.schema import require_columns, require_dataset, require_strings
from .forward import next_token_distributions
from .table import text_lists


@dataclass(frozen=True)
class BaseRecord:
    """A base model's side of an evaluation; made by `record_base`.

    Attributes:
        answers: prompt or locality prompt -> the base's answer.
        next_token: locality prompt -> (V,) float32 log-probabilities of the first answer token, on the CPU.
        table: the base's input embeddings.
        prompt_format, settings: how it was asked; an evaluation against it must ask alike.
    """

    answers: Mapping[str, Answer]
    next_token: Mapping[str, torch.Tensor] = field(repr=False)
    table: EmbeddingTable = field(repr=False)
    prompt_format: PromptFormat
    settings: GenerationSettings

    def check(self, prompts: Iterable[str], prompt_format: PromptFormat, settings: GenerationSettings) -> None:
        """Raise a `ValueError` where the base was not asked these prompts, or was asked in another way."""
        for name, mine, yours in (
            ("prompt_format", self.prompt_format, prompt_format),
            ("settings", self.settings, settings),
        ):
            if mine != yours:
                raise ValueError(
                    f"`base` was recorded under another {name} ({mine}) than is evaluated under ({yours}). Give "
                    "`record_base` and `evaluate_facts` the same prompt_format, max_new_tokens and dtype."
                )
        missing = [prompt for prompt in prompts if prompt not in self.answers]
        if missing:
            raise ValueError(
                f"`base` holds no answer to {len(missing)} prompts, first {missing[0][:60]!r}. Record the same facts."
            )


def record_base(
    model: torch.nn.Module,
    processing_class: object,
    facts: Dataset,
    prompt_format: PromptFormat | str | None = None,
    max_new_tokens: int = 32,
    batch_size: int = 64,
    dtype: str = "auto",
    store_dir: str | Path | None = None,
) -> BaseRecord:
    """Record what full fine-tuning will train away: the base's answers, next-token distributions and embeddings.

    A `PeftModel` needs no record, since its adapters can be switched off. The distributions take 4 bytes for each
    token of the vocabulary and each locality prompt: 0.2 MB a prompt at 49,152 tokens.

    Args:
        model: the base, before training.
        facts: dataset with `prompt`, `target` and, if there are any, `locality_prompts`.
        prompt_format, max_new_tokens, batch_size, dtype, store_dir: as in `evaluate_facts`.

    Raises:
        TypeError: `facts` is no `datasets.Dataset`.
        ValueError: missing column, blank or non-text cell, a prompt longer than the context.

    Example:
        >>> base = record_base(model, tokenizer, facts, trainer.prompt_format)
        >>> trainer.train()
        >>> evaluate_facts(model, tokenizer, facts, trainer.prompt_format, base=base).summary["locality"]["value"]
        0.75
    """
    require_dataset(facts)
    require_columns(facts, ("prompt", "target"))
    require_strings(facts, ("prompt", "target"))
    facts = facts.with_format(None)
    prompts, groups = facts["prompt"][:], text_lists(facts, "locality_prompts")
    unrelated = list(dict.fromkeys(prompt for group in groups for prompt in group))
    form = as_prompt_format(prompt_format, prompts, processing_class)
    settings = GenerationSettings(max_new_tokens, dtype).resolve(model)
    how = (False, batch_size, store_dir, "base answers")
    answers = answer_prompts(model, processing_class, [*prompts, *unrelated], form, settings, *how)
    with adapters_off(model) if hasattr(model, "disable_adapter") else nullcontext():
        rows = next_token_distributions(model, processing_class, unrelated, form, batch_size, settings.dtype)
    table = EmbeddingTable.from_model(model)
    return BaseRecord(answers, dict(zip(unrelated, rows, strict=True)), table, form, settings)
