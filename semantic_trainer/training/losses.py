"""The weighted loss of Eq. 5, as pure functions on tensors."""

import inspect

import torch
import torch.nn.functional as F
from transformers import modeling_utils

IGNORED = -100


def forward_parameters(model: torch.nn.Module) -> set[str]:
    """Names of what a model's forward takes; of a `PeftModel`'s, its base's."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return set(inspect.signature(base.forward).parameters)


def keeps_positions(model: torch.nn.Module) -> bool:
    """Whether `logits_to_keep` may be a mask (B, T): that came with slice_logits_to_keep, before it took integers.

    Virtual tokens of prompt tuning stand before the mask's first position, so that it would not fit.
    """
    virtual = any(
        getattr(config, "is_prompt_learning", False) for config in getattr(model, "peft_config", {}).values()
    )
    masks = hasattr(modeling_utils, "slice_logits_to_keep")
    return masks and not virtual and "logits_to_keep" in forward_parameters(model)


def predicting_positions(labels: torch.Tensor) -> torch.Tensor:
    """Positions whose next token is a target: (B, T) bool from (B, T) labels; the last column is never one."""
    return F.pad(labels[:, 1:] != IGNORED, (0, 1), value=False)


def weighted_nll_sum(
    logits: torch.Tensor, labels: torch.Tensor, keep: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """`sum_i w_i sum_t nll_it` over the target tokens of a batch (Eq. 5 before its division by the token count).

    Args:
        logits: (n, V) at the kept positions, row by row, or (B, T, V) at all positions.
        labels: (B, T), -100 where nothing is to be predicted.
        keep: (B, T) bool, `predicting_positions(labels)`, n of them true.
        weights: (B,) one an example.

    Returns:
        Scalar in float32, in nats.

    Example:
        >>> labels = torch.tensor([[-100, 1, 0]])
        >>> weighted_nll_sum(torch.zeros(1, 3, 2), labels, predicting_positions(labels), torch.tensor([2.0]))
        tensor(2.7726)
    """
    if logits.ndim == 3:
        logits = logits[keep]  # (n, V)
    targets = F.pad(labels[:, 1:], (0, 1), value=IGNORED)[keep]  # (n,)
    nll = F.cross_entropy(logits.float(), targets.to(logits.device), reduction="none")  # (n,)
    rows = keep.nonzero()[:, 0].to(logits.device)  # (n,)
    return (weights.to(nll)[rows] * nll).sum()


def left_padded_positions(attention_mask: torch.Tensor) -> torch.Tensor | None:
    """Position ids (B, T) that restart at each row's first real token, or `None` where no row is left-padded."""
    if attention_mask.ndim != 2 or bool(attention_mask[:, 0].all()):
        return None
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)
