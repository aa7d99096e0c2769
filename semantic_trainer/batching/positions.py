"""Which positions of a batch predict a target, and what a model's forward can be told about positions."""

import inspect

import torch
import torch.nn.functional as F
from transformers import modeling_utils

IGNORED = -100


def forward_parameters(model: torch.nn.Module) -> set[str]:
    """Names of what a model's forward takes; of a `PeftModel`'s, its base's."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return set(inspect.signature(base.forward).parameters)


def has_virtual_tokens(model: torch.nn.Module) -> bool:
    """Whether an adapter puts tokens of its own in front of every row (prompt tuning and its kin)."""
    configs = getattr(model, "peft_config", {}).values()
    return any(getattr(config, "is_prompt_learning", False) for config in configs)


def keeps_positions(model: torch.nn.Module) -> bool:
    """Whether `logits_to_keep` may be a mask (B, T): that came with slice_logits_to_keep, before it took integers.

    Virtual tokens of prompt tuning stand before the mask's first position, so that it would not fit.
    """
    masks = hasattr(modeling_utils, "slice_logits_to_keep")
    return masks and not has_virtual_tokens(model) and "logits_to_keep" in forward_parameters(model)


def predicting_positions(labels: torch.Tensor) -> torch.Tensor:
    """Positions whose next token is a target: (B, T) bool from (B, T) labels; the last column is never one."""
    return F.pad(labels[:, 1:] != IGNORED, (0, 1), value=False)


def predicted_tokens(labels: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """The target behind each kept position, row by row: (n,) from (B, T) labels and positions."""
    return F.pad(labels[:, 1:], (0, 1), value=IGNORED)[keep]


def left_padded_positions(attention_mask: torch.Tensor) -> torch.Tensor | None:
    """Position ids (B, T) that restart at each row's first real token, or `None` where no row is left-padded."""
    if attention_mask.ndim != 2 or bool(attention_mask[:, 0].all()):
        return None
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)


def forward_inputs(model: torch.nn.Module, inputs: dict, keep: torch.Tensor | None) -> dict:
    """Inputs of a forward pass: with position ids for left padding, and with logits at the kept positions only.

    Args:
        inputs: of a batch, without labels.
        keep: (B, T) bool; `None` for logits at all positions.

    Raises:
        ValueError: left padding, and a model that takes no position ids.
    """
    mask = inputs.get("attention_mask")
    if mask is not None and "position_ids" not in inputs:
        positions = left_padded_positions(mask)
        if positions is not None:
            if "position_ids" not in forward_parameters(model):
                raise ValueError(
                    "the batch is padded at the left, and this model takes no position ids. Pad at the right: "
                    'processing_class.padding_side = "right", or leave the trainer\'s own data_collator in place.'
                )
            inputs = {**inputs, "position_ids": positions}
    return {**inputs, "logits_to_keep": keep} if keep is not None and keeps_positions(model) else inputs
