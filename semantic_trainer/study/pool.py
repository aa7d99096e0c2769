"""A base model in memory, and a setting's facts as it answers them: what all runs of a setting share."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from datasets import Dataset
from peft import PeftModel

from ..answers import answer_prompts
from ..answers.decoding import ANSWER_DTYPE, GenerationSettings, context_length
from ..answers.reading import Answer
from ..answers.stage import open_store, warn_about_long_targets
from ..answers.store import AnswerStore, model_key
from ..distance.embedding import EmbeddingTable, add_distances
from ..evaluation.evaluator import answer_protocol
from ..evaluation.forward import next_token_distributions, teacher_forced
from ..evaluation.record import BaseRecord
from ..evaluation.table import text_lists
from ..facts.prompts import PromptFormat
from ..facts.schema import replace_columns
from ..facts.sets import resolve_format
from ..models import choose_dtype, load_model, place
from .protocol import check_groups, members
from .settings import Setting

Clock = Callable[[], AbstractContextManager]


@dataclass
class Base:
    """A base model in memory.

    Attributes:
        model: as the run before has left it; see `fresh`.
        weights: a copy, from `keep_weights` on.
        trained: whether the run before may have changed the base's own weights.
    """

    model: torch.nn.Module
    tokenizer: object
    weights: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)
    trained: bool = False

    @classmethod
    def load(cls, setting: Setting) -> "Base":
        """The setting's base, on its device."""
        args = setting.model
        dtype = choose_dtype(args.dtype, base_frozen=not setting.tunes_base)
        model, tokenizer = load_model(args.model, dtype, args.revision, args.load_in)
        place(model, setting.training.device)
        return cls(model, tokenizer)

    @staticmethod
    def key(setting: Setting) -> tuple[object, ...]:
        """Equal for settings that can use one base in turn."""
        args = setting.model
        dtype = (args.dtype, setting.tunes_base) if args.dtype == "auto" else args.dtype
        return args.model, args.revision, dtype, args.load_in, setting.training.use_cpu

    @cached_property
    def answers_key(self) -> dict[str, str | None]:
        """What its answers depend on: a hash of all of its weights, and its config."""
        return model_key(self.fresh())

    def keep_weights(self) -> None:
        """Copy its weights, before a run trains them."""
        if not self.weights:
            self.weights = {name: tensor.clone() for name, tensor in self.fresh().state_dict().items()}

    def fresh(self) -> torch.nn.Module:
        """The model as it was loaded: without an adapter, its own weights copied back where they were trained."""
        if isinstance(self.model, PeftModel):
            self.model = self.model.unload()
        if self.trained:
            self.model.load_state_dict(self.weights)
            self.trained = False
        if self.weights:
            self.model.requires_grad_(True)
        return self.model


class Pool:
    """A setting's facts with the base's answers and distances.

    Args:
        facts: the setting's pool, checked.
        clock: a context that times what the base is asked.

    Attributes:
        facts: the same with `old_answer`, `old_answer_truncated` and `distance`.
        answers: the base's, by prompt: of the whole pool, and of what else it was asked.
        rows: group -> the rows of its facts.

    Raises:
        ValueError: a group has too few facts for one run.
    """

    def __init__(self, setting: Setting, base: Base, facts: Dataset, clock: Clock = nullcontext) -> None:
        self.clock, self.base, self.batch_size = clock, base, setting.training.answer_batch_size
        self.settings = GenerationSettings(setting.training.max_new_tokens, ANSWER_DTYPE)
        model, tokenizer = base.fresh(), base.tokenizer
        self.form: PromptFormat = resolve_format(facts, tokenizer, setting.training, context_length(model))
        prompts = facts["prompt"][:]
        warn_about_long_targets(facts["target"][:], tokenizer, self.form, self.settings.max_new_tokens)
        self.table = EmbeddingTable.from_model(model)
        self.store: AnswerStore = open_store(model, tokenizer, self.form, self.settings, model_key=base.answers_key)
        self.answers: dict[str, Answer] = {}
        self._losses: tuple[tuple, list[float]] | None = None  # of the last run's facts
        self.ask(prompts, "old answers")
        columns = {
            "old_answer": [self.answers[prompt].text for prompt in prompts],
            "old_answer_truncated": [self.answers[prompt].truncated for prompt in prompts],
        }
        self.facts = add_distances(replace_columns(facts, columns), self.table, tokenizer, self.form)
        self.rows: dict[str, np.ndarray] = members(self.facts["distance"][:], setting.groups)
        check_groups(self.rows, setting.per_run, len(facts))

    @property
    def protocol(self) -> str:
        """How answers are made, in one line."""
        return answer_protocol(self.form, self.settings)

    def ask(self, prompts: list[str], description: str) -> None:
        """Have the base's answers to these prompts, from the store where it holds them."""
        missing = [prompt for prompt in prompts if prompt not in self.answers]
        if missing:
            how = {"batch_size": self.batch_size, "description": description, "store": self.store}
            model = self.base.fresh()
            with self.clock():
                self.answers |= answer_prompts(model, self.base.tokenizer, missing, self.form, self.settings, **how)

    def record(self, facts: Dataset) -> BaseRecord:
        """The base's side of an evaluation of these facts, which all arms of a run share."""
        unrelated = list(dict.fromkeys(prompt for group in text_lists(facts, "locality_prompts") for prompt in group))
        self.ask(unrelated, "base answers")
        model, tokenizer = self.base.fresh(), self.base.tokenizer
        with self.clock():
            rows = next_token_distributions(model, tokenizer, unrelated, self.form, self.batch_size, ANSWER_DTYPE)
        moved = dict(zip(unrelated, rows, strict=True))
        return BaseRecord(self.answers, moved, self.table, self.form, self.settings)

    def losses(self, facts: Dataset) -> list[float]:
        """The base's loss on each target, in nats a token: what `study.predictors` reads."""
        pairs = tuple(zip(facts["prompt"][:], facts["target"][:], strict=True))
        if self._losses is None or self._losses[0] != pairs:  # a run's facts together: last bits depend on the batch
            model, tokenizer = self.base.fresh(), self.base.tokenizer
            with self.clock():
                prompts, targets = map(list, zip(*pairs, strict=True))
                found = teacher_forced(model, tokenizer, prompts, targets, self.form, self.batch_size, ANSWER_DTYPE)[1]
            self._losses = pairs, found.tolist()
        return self._losses[1]
