"""The weighted loss of Eq. 5, as pure functions on tensors."""

import torch
import torch.nn.functional as F

from ..batching.positions import predicted_tokens


def weighted_nll_sum(
    logits: torch.Tensor,
    labels: torch.Tensor,
    keep: torch.Tensor,
    weights: torch.Tensor,
    examples: torch.Tensor | None = None,
) -> torch.Tensor:
    """`sum_i w_i sum_t nll_it` over the target tokens of a batch (Eq. 5 before its division by the token count).

    Args:
        logits: (n, V) at the kept positions, row by row, or (B, T, V) at all positions.
        labels: (B, T), -100 where nothing is to be predicted.
        keep: (B, T) bool, `predicting_positions(labels)`, n of them true.
        weights: (B,) one an example.
        examples: (n,) which example each kept position belongs to; `None` where every row is one.

    Returns:
        Scalar in float32, in nats.

    Example:
        >>> labels = torch.tensor([[-100, 1, 0]])
        >>> weighted_nll_sum(torch.zeros(1, 3, 2), labels, predicting_positions(labels), torch.tensor([2.0]))
        tensor(2.7726)
    """
    if logits.ndim == 3:
        logits = logits[keep]  # (n, V)
    targets = predicted_tokens(labels, keep)  # (n,)
    nll = F.cross_entropy(logits.float(), targets.to(logits.device), reduction="none")  # (n,)
    return weighted_sum(nll, keep.nonzero()[:, 0] if examples is None else examples, weights)


def weighted_sum(nll: torch.Tensor, examples: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """`sum_i w_i sum_t nll_it` of (n,) losses, each of the example that `examples`, (n,), says; scalar."""
    return (weights.to(nll)[examples.to(nll.device)] * nll).sum()
