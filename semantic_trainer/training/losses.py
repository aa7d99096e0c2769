"""The weighted loss of Eq. 5, as pure functions on tensors."""

import torch
import torch.nn.functional as F


def weighted_nll_sum(
    logits: torch.Tensor, targets: torch.Tensor, examples: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """`sum_i w_i sum_t nll_it` over the target tokens of a batch (Eq. 5 before its division by the token count).

    Args:
        logits: (n, V) at the positions that predict a target.
        targets: (n,) the predicted tokens.
        examples: (n,) which example each of them belongs to.
        weights: (B,) one an example.

    Returns:
        Scalar in float32, in nats.

    Example:
        >>> targets, examples = torch.tensor([1, 0]), torch.tensor([0, 0])
        >>> weighted_nll_sum(torch.zeros(2, 2), targets, examples, torch.tensor([2.0]))
        tensor(2.7726)
    """
    return weighted_sum(stock_token_nll(logits, targets), examples, weights)


def stock_token_nll(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(n,) losses in nats of n targets, from (n, V) logits, as transformers computes them."""
    return F.cross_entropy(logits.float(), targets.to(logits.device), reduction="none")


def weighted_sum(nll: torch.Tensor, examples: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """`sum_i w_i sum_t nll_it` of (n,) losses, each of the example that `examples`, (n,), says; scalar."""
    return (weights.to(nll)[examples.to(nll.device)] * nll).sum()
