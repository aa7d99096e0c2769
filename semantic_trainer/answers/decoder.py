"""Answers to batches of prompt ids: from the common head and drafts where that is exact, else by `generate`."""

import logging
import sys
from collections.abc import Sequence

import torch
from accelerate.utils.memory import should_reduce_batch_size
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from ..batching.probe import unsuited
from ..quantization import HALF_PRECISION, loaded_in
from .drafts import CLOSE, Decisions, SharedHead, alone, decode, left_pad, noise_of
from .reading import Answer, Ended, end_ids, read_answer

logger = logging.getLogger(__name__)
WORTH_STEPS = 0.5  # share of a batch from which on it is decoded on by itself
NOISE_FACTOR = 2.0  # margins below so many times the measured noise are decided again


class Decoder:
    """Answers batches of prompt ids for one call: from the common head and drafts where that is exact for the model.

    Where it is not, `generate` does it, and drafts are of no use.

    Args:
        rows: the ids of every prompt of the call.
        probes: ids of the fixed questions that numerical noise is measured on.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        processing_class: object,
        rows: list[list[int]],
        probes: list[list[int]],
        max_new_tokens: int,
    ) -> None:
        self.model, self.processing_class = model, processing_class
        self.ends = end_ids(model, processing_class)
        self.ended = Ended(processing_class, self.ends)
        self.rows, self.probes, self.max_new_tokens = rows, probes, max_new_tokens
        self.head: SharedHead | None = None
        self.decisions = Decisions()
        self.begun: dict[tuple[int, ...], list[int]] = {}  # prompts whose answers are to be decoded on
        self.at_once = sys.maxsize

    def answer(self, batch: Sequence[tuple[list[int], list[int]]], later: bool = False) -> list[Answer | None]:
        """Answers to B pairs of prompt and draft; the model is already `answering`. Fewer at once where memory ends.

        Args:
            later: the answers to fewer than half of a batch, whose drafts were wrong, may be left open (`None`): a
                step costs a large model's weights once, for few rows or many. They are asked for again, with others.
        """
        answers: list[Answer | None] = []
        while len(answers) < len(batch):
            part = batch[len(answers) : len(answers) + self.at_once]
            try:
                answers += self._answer([prompt for prompt, _ in part], [draft for _, draft in part], later)
            except RuntimeError as error:
                if len(part) == 1 or not should_reduce_batch_size(error):
                    raise
                self.at_once = len(part) // 2
                logger.warning("out of memory while answering: going on with batches of %d", self.at_once)
        return answers

    def _answer(self, prompts: list[list[int]], drafts: list[list[int]], later: bool) -> list[Answer | None]:
        longest, pad_id = max(map(len, self.rows)) + self.max_new_tokens, self.processing_class.pad_token_id
        if unsuited(self.model, longest):
            return generate_batch(self.model, self.processing_class, prompts, self.ends, self.max_new_tokens)
        if self.head is None:
            self._prepare(pad_id)
        keys = [tuple(prompt) for prompt in prompts]
        drafts = [self.begun.get(key, draft) for key, draft in zip(keys, drafts, strict=True)]
        how = (self.head, self.decisions, self.ended, self.max_new_tokens, pad_id, WORTH_STEPS if later else 0.0)
        new, open_rows = decode(self.model, prompts, drafts, *how)
        self.begun |= {keys[i]: new[i] for i in open_rows}
        answers = [read_answer(ids, self.ends, self.processing_class) for ids in new]
        return [None if i in open_rows else answer for i, answer in enumerate(answers)]

    def _prepare(self, pad_id: int) -> None:
        """The head's cache; in less than float32 also how far a batch moves a margin, measured on fixed questions."""
        self.head = head = SharedHead.of(self.model, [*self.probes, *self.rows])
        if next(self.model.parameters()).dtype in HALF_PRECISION or loaded_in(self.model):
            noise = NOISE_FACTOR * noise_of(self.model, head, self.probes, pad_id)
            self.decisions = Decisions(noise, lambda ids: alone(self.model, head, ids))

    def report(self) -> None:
        """Log how many tokens were close calls."""
        found = self.decisions
        if found.close or found.redone:
            logger.info(
                "of %d tokens %d were decided by less than %g; %d were decided again alone, %d of them otherwise",
                found.tokens,
                found.close,
                CLOSE,
                found.redone,
                found.turned,
            )


class NewlineAfterText(StoppingCriteria):
    """Ends a row at its first newline after a non-blank character. Stopping at "." would break "Washington D.C."."""

    def __init__(self, processing_class: object, prompt_length: int) -> None:
        self.processing_class, self.prompt_length = processing_class, prompt_length

    def __call__(self, input_ids: torch.LongTensor, scores: torch.Tensor, **kwargs: object) -> torch.BoolTensor:
        texts = self.processing_class.batch_decode(input_ids[:, self.prompt_length :], skip_special_tokens=True)
        return torch.tensor(["\n" in text.lstrip() for text in texts], device=input_ids.device)


def generate_batch(
    model: torch.nn.Module,
    processing_class: object,
    rows: Sequence[Sequence[int]],
    ends: list[int],
    max_new_tokens: int,
) -> list[Answer]:
    """Greedy answers to one left-padded batch of prompt ids. The model is already `answering`."""
    ids, mask = left_pad(rows, processing_class.pad_token_id)
    device = next(model.parameters()).device
    config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=ends,
        pad_token_id=processing_class.pad_token_id,
        use_cache=True,
    )
    out = model.generate(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        generation_config=config,
        stopping_criteria=StoppingCriteriaList([NewlineAfterText(processing_class, ids.shape[1])]),
    )
    return [read_answer(row, ends, processing_class) for row in out[:, ids.shape[1] :].tolist()]
