"""What a model has said: where an answer ends, and its text."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..facts.prompts import PromptFormat


@dataclass(frozen=True)
class Answer:
    """A model's answer to one prompt.

    Attributes:
        raw: the decoded text up to EOS or to the first newline after a non-blank character, not cut.
        truncated: whether `max_new_tokens` ended it.
    """

    raw: str
    truncated: bool

    @property
    def text(self) -> str:
        """The answer after METHOD's cut, as compared and embedded."""
        return PromptFormat.cut(self.raw)


def end_ids(model: torch.nn.Module, processing_class: object) -> list[int]:
    """The EOS ids of the model's generation config and of the tokenizer, the tokenizer's first."""
    config = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    others = config if isinstance(config, (list, tuple)) else [config]
    return list(dict.fromkeys([processing_class.eos_token_id, *(i for i in others if i is not None)]))


def read_answer(ids: Sequence[int], ends: Sequence[int], processing_class: object) -> Answer:
    """Generated ids of one row -> answer: up to EOS, then up to the first newline after a non-blank character."""
    end = next((i for i, token in enumerate(ids) if token in ends), None)
    text = processing_class.decode(ids[:end], skip_special_tokens=True)
    start = len(text) - len(text.lstrip())
    newline = text.find("\n", start)
    if newline >= 0:
        return Answer(text[:newline], truncated=False)
    return Answer(text, truncated=end is None)


class Ended:
    """Whether an answer's ids are complete: at an EOS, or at a newline after a non-blank character."""

    def __init__(self, processing_class: object, ends: Sequence[int]) -> None:
        self.processing_class, self.ends = processing_class, set(ends)
        self.newlines: dict[int, bool] = {}

    def __call__(self, ids: Sequence[int]) -> bool:
        if not self.ends.isdisjoint(ids):
            return True
        if not any(map(self._has_newline, ids)):
            return False
        return "\n" in self.processing_class.decode(ids, skip_special_tokens=True).lstrip()

    def _has_newline(self, token: int) -> bool:
        if token not in self.newlines:
            self.newlines[token] = "\n" in self.processing_class.decode([token])
        return self.newlines[token]
