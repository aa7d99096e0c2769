"""Losses at many positions of a large vocabulary: the output head in chunks, whose logits are never all there."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.checkpoint import checkpoint

from .token_nll import token_nll

LOGITS_AT_ONCE = 2**27  # kept positions x vocabulary: 512 MB in float32


def output_head(model: torch.nn.Module) -> torch.nn.Module | None:
    """The layer that makes logits, wrapped by an adapter or not; `None` where a model has none of its own."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None


@contextmanager
def chunked_head(head: torch.nn.Module, targets: torch.Tensor, at_once: int = LOGITS_AT_ONCE) -> Iterator[None]:
    """Inside, a model asked for n positions returns (n, 1) losses, in nats, in the place of (n, V) logits.

    The logits of each chunk are made, turned into losses and made again in the backward pass.

    Args:
        head: `output_head(model)`; what the model does to logits behind it, such as soft-capping, would be lost:
            `is_plain_head` tells.
        targets: (n,) token ids.
        at_once: positions x vocabulary of a chunk.

    Example:
        >>> with chunked_head(model.get_output_embeddings(), targets):
        ...     losses = model(input_ids=ids, logits_to_keep=keep).logits[:, 0]
    """
    own, patched = head.forward, vars(head).get("forward")
    size = max(1, at_once // head.weight.shape[0])

    def nll(hidden: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return token_nll(own(hidden), wanted.to(hidden.device))

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        pairs = zip(hidden.split(size), targets.split(size), strict=True)
        return torch.cat([checkpoint(nll, part, wanted, use_reentrant=False) for part, wanted in pairs])[:, None]

    head.forward = forward
    try:
        yield
    finally:
        del head.forward
        if patched is not None:  # by accelerate, say
            head.forward = patched


@torch.no_grad()
def is_plain_head(model: torch.nn.Module, vocabulary: int = 64) -> bool:
    """Whether a model's logits are its head's output as it is: tried on one position, in the first columns."""
    head, device = output_head(model), next(model.parameters()).device
    if head is None or not hasattr(head, "weight"):
        return False
    seen = []
    hook = head.register_forward_hook(lambda _, __, out: seen.append(out))
    try:
        ids = torch.arange(2, device=device)[None]
        logits = model(input_ids=ids, logits_to_keep=1).logits
    finally:
        hook.remove()
    return len(seen) == 1 and torch.equal(logits[..., :vocabulary], seen[0][..., :vocabulary].to(logits.dtype))
