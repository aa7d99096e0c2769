"""The weighted loss of Eq. 5, as pure functions on tensors."""

import torch
import torch.nn.functional as F


def stock_token_nll(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(n,) losses in nats, float32, of n targets from (n, V) logits, as transformers computes them."""
    return F.cross_entropy(logits.float(), targets.to(logits.device), reduction="none")


def weighted_sum(nll: torch.Tensor, examples: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """`sum_i w_i sum_t nll_it` over the target tokens of a batch: Eq. 5 before its division by the token count.

    Args:
        nll: (n,) losses of target tokens, in nats.
        examples: (n,) which example each of them belongs to.
        weights: (B,) one an example.

    Returns:
        Scalar of `nll`'s dtype, in nats.

    Example:
        >>> weighted_sum(torch.tensor([0.5, 1.0]), torch.tensor([0, 0]), torch.tensor([2.0]))
        tensor(3.)
    """
    return (weights.to(nll)[examples.to(nll.device)] * nll).sum()
