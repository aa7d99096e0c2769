"""Scores from one forward pass, nothing generated: teacher-forced target tokens, and how far the next token moved."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from ..answers.decoding import answering
from ..answers.stage import adapters_off
from ..batching.positions import IGNORED, keeps_positions, predicting_positions
from ..distribution import gather, world
from ..facts.prompts import PromptFormat
from ..training.data_collator import FactCollator


def _dealt(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """This process's batches of row numbers, in order of length."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    rank, processes = world()
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)][rank::processes]


def _collect(found: list[tuple[int, float]], n: int) -> np.ndarray:
    """(N,) values of all processes by row number."""
    values = dict(gather(found))
    return np.array([values[i] for i in range(n)], dtype=float)


def _kept_logits(model: torch.nn.Module, batch: dict, keep: torch.Tensor) -> torch.Tensor:
    """(n, V) float32 logits at the kept positions, row by row."""
    device = next(model.parameters()).device
    inputs = {name: batch[name].to(device) for name in ("input_ids", "attention_mask") if name in batch}
    if keeps_positions(model):
        return model(**inputs, logits_to_keep=keep.to(device)).logits.float()
    logits = model(**inputs).logits[:, -keep.shape[1] :]  # prompt tuning puts virtual tokens in front
    return logits[keep.to(device)].float()


@torch.no_grad()
def _by_batch(
    model: torch.nn.Module,
    processing_class: object,
    rows: Sequence[dict],
    batch_size: int,
    dtype: str,
    score: Callable[[dict, torch.Tensor], torch.Tensor],
) -> np.ndarray:
    """(N,) scores; `score` maps a padded batch and its kept positions (B, T) to (B,)."""
    pad, found = FactCollator(processing_class.pad_token_id), []
    with answering(model, dtype):
        for numbers in _dealt([len(row["input_ids"]) for row in rows], batch_size):
            batch = pad([rows[i] for i in numbers])
            values = score(batch, predicting_positions(batch["labels"]))
            found += zip(numbers, values.tolist(), strict=True)
    return _collect(found, len(rows))


def token_shares(
    model: torch.nn.Module,
    processing_class: object,
    prompts: Sequence[str],
    targets: Sequence[str],
    prompt_format: PromptFormat,
    batch_size: int = 32,
    dtype: str = "float32",
) -> np.ndarray:
    """Teacher-forced share of target tokens that are the most likely ones, EOS not counted: (N,) in [0, 1].

    What EasyEdit reports as accuracy. Each token is predicted after the *gold* tokens before it, and the answer's
    length is given: it tells the answer away, and is here to be compared with the strict score of free answers.

    Example:
        >>> token_shares(model, tokenizer, ["Who wrote Emma?"], ["Jane Austen"], PromptFormat.question_answer())
        array([0.5])
    """
    heads = prompt_format.prompt_ids(processing_class, prompts)
    tails = prompt_format.completion_ids(processing_class, targets, prompts)
    rows = [
        {"input_ids": head + tail, "labels": [IGNORED] * len(head) + tail}
        for head, tail in zip(heads, tails, strict=True)
    ]

    def share(batch: dict, keep: torch.Tensor) -> torch.Tensor:
        gold = F.pad(batch["labels"][:, 1:], (0, 1), value=IGNORED)[keep]  # (n,)
        right = _kept_logits(model, batch, keep).argmax(-1).cpu() == gold  # (n,)
        hits = torch.zeros(len(keep)).index_add(0, keep.nonzero()[:, 0], right.float())  # (B,)
        return hits / keep.sum(-1)

    return _by_batch(model, processing_class, rows, batch_size, dtype, share)


def next_token_divergences(
    model: torch.nn.Module,
    processing_class: object,
    prompts: Sequence[str],
    prompt_format: PromptFormat,
    batch_size: int = 32,
    dtype: str = "float32",
) -> np.ndarray:
    """`KL(base || tuned)` of the first answer token's distribution, in nats: (N,) at least 0.

    It sees what equality of answers does not: a distribution that moved without changing the most likely token.

    Args:
        model: a `PeftModel`; its base answers with the adapters off.
    """
    heads = prompt_format.prompt_ids(processing_class, prompts)
    # The label behind a prompt only marks its last token as the one that predicts.
    rows = [{"input_ids": [*head, head[-1]], "labels": [IGNORED] * len(head) + [head[-1]]} for head in heads]

    def divergence(batch: dict, keep: torch.Tensor) -> torch.Tensor:
        tuned = _kept_logits(model, batch, keep).log_softmax(-1)  # (B, V)
        with adapters_off(model):
            base = _kept_logits(model, batch, keep).log_softmax(-1)
        return F.kl_div(tuned, base, reduction="none", log_target=True).sum(-1).clamp(min=0).cpu()

    return _by_batch(model, processing_class, rows, batch_size, dtype, divergence)
