"""Scores from one forward pass, nothing generated: teacher-forced target tokens, and how far the next token moved."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from ..answers.decoding import answering
from ..answers.stage import adapters_off
from ..batching.layout import Layout
from ..batching.positions import IGNORED
from ..batching.probe import unsuited
from ..distribution import gather, world
from ..facts.prompts import PromptFormat


def _dealt(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """This process's batches of row numbers, in order of length."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    rank, processes = world()
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)][rank::processes]


def _collect(found: list[tuple[int, object]], n: int) -> list:
    """The N values of all processes by row number."""
    values = dict(gather(found))
    return [values[i] for i in range(n)]


@torch.no_grad()
def _by_batch(
    model: torch.nn.Module,
    processing_class: object,
    heads: Sequence[list[int]],
    tails: Sequence[list[int]],
    batch_size: int,
    dtype: str,
    score: Callable[[Layout, list[int]], torch.Tensor],
) -> list[torch.Tensor]:
    """N scores of N prompts and what follows them; `score` maps a batch's layout and row numbers to (B, ...)."""
    found, ids = [], [head + tail for head, tail in zip(heads, tails, strict=True)]
    labels = [[IGNORED] * len(head) + tail for head, tail in zip(heads, tails, strict=True)]
    shared = bool(ids) and unsuited(model, max(map(len, ids))) is None
    with answering(model, dtype):
        for numbers in _dealt([len(row) for row in ids], batch_size):
            part = [ids[i] for i in numbers], [labels[i] for i in numbers]
            values = score(Layout.of(model, *part, processing_class.pad_token_id, shared), numbers)
            found += zip(numbers, values.cpu().unbind(), strict=True)
    return _collect(found, len(ids))


def teacher_forced(
    model: torch.nn.Module,
    processing_class: object,
    prompts: Sequence[str],
    targets: Sequence[str],
    prompt_format: PromptFormat,
    batch_size: int = 64,
    dtype: str = "float32",
) -> tuple[np.ndarray, np.ndarray]:
    """What one pass over prompts and targets says, each token predicted after the *gold* tokens before it.

    The share is what EasyEdit reports as accuracy; the answer's length is given with it. It tells the answer away, and
    is here to be compared with the strict score of free answers.

    Returns:
        (N,) shares in [0, 1] of target tokens that are the most likely ones, EOS not counted; and (N,) mean losses in
        nats a token, EOS counted, as training sees them at its start.

    Example:
        >>> teacher_forced(model, tokenizer, ["Who wrote Emma?"], ["Jane Austen"], PromptFormat.question_answer())
        (array([0.5]), array([4.2]))
    """
    heads = prompt_format.prompt_ids(processing_class, prompts)
    end = [processing_class.eos_token_id]
    tails = [ids + end for ids in prompt_format.completion_ids(processing_class, targets, prompts)]

    def both(batch: Layout, numbers: list[int]) -> torch.Tensor:
        logits = batch.logits(model).float().cpu()  # (n, V)
        nll = F.cross_entropy(logits, batch.targets, reduction="none").double()
        n = torch.bincount(batch.examples)  # (B,)
        right = (logits.argmax(-1) == batch.targets) & ~_last(batch.examples, len(n))
        sums = [torch.bincount(batch.examples, values) for values in (right.double(), nll)]
        return torch.stack([sums[0] / (n - 1), sums[1] / n], dim=1)

    found = _by_batch(model, processing_class, heads, tails, batch_size, dtype, both)
    shares, losses = torch.stack(found).T.numpy() if found else np.zeros((2, 0))
    return shares, losses


def _last(examples: torch.Tensor, n: int) -> torch.Tensor:
    """(n,) bool: which token is its example's last one."""
    places = torch.arange(len(examples))
    ends = torch.zeros(n, dtype=torch.long).scatter_reduce_(0, examples, places, "amax")
    return places == ends[examples]


def _floats(values: list[torch.Tensor]) -> np.ndarray:
    return np.array([float(value) for value in values], dtype=float)


def _by_example(rows: torch.Tensor, batch: Layout) -> torch.Tensor:
    """(B, ...) of one row an example, which lie in the order of the layout."""
    rows = rows.cpu()
    return torch.zeros_like(rows).index_copy(0, batch.examples.cpu(), rows)


def next_token_distributions(
    model: torch.nn.Module,
    processing_class: object,
    prompts: Sequence[str],
    prompt_format: PromptFormat,
    batch_size: int = 64,
    dtype: str = "float32",
) -> list[torch.Tensor]:
    """Log-probabilities of each prompt's first answer token, of the model as it stands: (V,) float32 on the CPU."""
    heads = prompt_format.prompt_ids(processing_class, prompts)

    def distributions(batch: Layout, numbers: list[int]) -> torch.Tensor:
        return _by_example(batch.logits(model).log_softmax(-1), batch)

    # The token behind a prompt only marks its last one as the one that predicts.
    return _by_batch(model, processing_class, heads, [head[-1:] for head in heads], batch_size, dtype, distributions)


def last_prompt_features(
    model: torch.nn.Module,
    processing_class: object,
    prompts: Sequence[str],
    prompt_format: PromptFormat,
    batch_size: int = 64,
    dtype: str = "float32",
) -> np.ndarray:
    """Final-layer features of each prompt's last token, behind the final norm: (N, d) float32.

    They are all that the output head reads to predict the first token of the answer.

    Example:
        >>> last_prompt_features(model, tokenizer, ["Who wrote Emma?"], PromptFormat.question_answer()).shape
        (1, 576)
    """
    heads = prompt_format.prompt_ids(processing_class, prompts)

    def features(batch: Layout, numbers: list[int]) -> torch.Tensor:
        return _by_example(batch.features(model), batch)

    rows = _by_batch(model, processing_class, heads, [h[-1:] for h in heads], batch_size, dtype, features)
    return torch.stack(rows).numpy()


def next_token_divergences(
    model: torch.nn.Module,
    processing_class: object,
    prompts: Sequence[str],
    prompt_format: PromptFormat,
    batch_size: int = 64,
    dtype: str = "float32",
    base: Mapping[str, torch.Tensor] | None = None,
) -> np.ndarray:
    """`KL(base || tuned)` of the first answer token's distribution, in nats: (N,) at least 0.

    It sees what equality of answers does not: a distribution that moved without changing the most likely token.

    Args:
        model: a `PeftModel`, whose base answers with the adapters off; any other with `base`.
        base: prompt -> (V,) log-probabilities recorded of the base beforehand.
    """
    heads = prompt_format.prompt_ids(processing_class, prompts)

    def divergence(batch: Layout, numbers: list[int]) -> torch.Tensor:
        tuned = batch.logits(model).log_softmax(-1)  # (B, V)
        if base is None:
            with adapters_off(model):
                before = batch.logits(model).log_softmax(-1)
        else:
            before = torch.stack([base[prompts[numbers[i]]] for i in batch.examples.tolist()]).to(tuned)
        moved = F.kl_div(tuned, before, reduction="none", log_target=True).sum(-1).clamp(min=0)
        return _by_example(moved, batch)

    tails = [head[-1:] for head in heads]
    return _floats(_by_batch(model, processing_class, heads, tails, batch_size, dtype, divergence))
