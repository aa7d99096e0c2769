"""LoRA's linear layer as one autograd function: the same sum with fewer casts, temporaries and saved tensors.

PEFT's layer casts its input to the adapter's dtype, keeps that copy for the backward pass, scales and adds in separate
kernels, and casts the sum back; at a few hundred tokens these cost as much as the products. Here the low-rank product
is added onto the base's by one `addmm` in the adapter's dtype, with one rounding, and only the input itself is kept.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from peft.tuners.lora.layer import Linear
from torch.autograd.function import once_differentiable

logger = logging.getLogger(__name__)


_Cast = tuple[tuple, torch.Tensor, torch.Tensor]


class _LastCast:
    """The last tensor that was cast, and its cast: layers behind one norm (q, k, v; gate, up) share their input."""

    last: _Cast | None = None  # what identifies it, itself (which keeps its memory from being given away), its cast

    @classmethod
    def of(cls, rows: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """`rows.to(dtype)`."""
        if rows.dtype == dtype:
            return rows
        key, last = (rows.data_ptr(), rows.shape, rows.stride(), rows._version, dtype), cls.last
        if last is None or last[0] != key:
            last = cls.last = key, rows, rows.to(dtype)
        return last[2]


class LowRankSum(torch.autograd.Function):
    """`x W' + b + s (x A') B'` for a frozen base `W, b` and factors `A, B`.

    `(x A') B'` and the sum are computed in the factors' dtype and rounded to `x`'s once, forward and backward.
    Shapes: `x` (..., in), `weight` (out, in), `bias` (out,) or `None`, `a` (r, in), `b` (out, r); returns (..., out).
    """

    @staticmethod
    def forward(ctx, x, weight, bias, a, b, scaling):  # noqa: ANN001, ANN205, D102
        rows = x.reshape(-1, x.shape[-1])
        low = _LastCast.of(rows, a.dtype) @ a.T
        out = F.linear(rows, weight, bias).to(a.dtype).addmm_(low, b.T, alpha=scaling).to(x.dtype)
        ctx.save_for_backward(rows, low, weight, a, b)
        ctx.scaling, ctx.shape = scaling, x.shape
        return out.view(*x.shape[:-1], out.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # noqa: ANN001, ANN205, D102
        rows, low, weight, a, b = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1])
        exact = grad.to(a.dtype)
        grad_low = (exact @ b).mul_(ctx.scaling)
        grad_a = grad_low.T @ _LastCast.of(rows, a.dtype) if ctx.needs_input_grad[3] else None
        grad_b = (exact.T @ low).mul_(ctx.scaling) if ctx.needs_input_grad[4] else None
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad @ weight).to(a.dtype).addmm_(grad_low, a).to(rows.dtype).view(ctx.shape)
        return grad_x, None, None, grad_a, grad_b, None


def _is_plain(layer: torch.nn.Module) -> bool:
    """Whether a layer is PEFT's own LoRA linear layer over a frozen `nn.Linear`, as built."""
    return (
        type(layer) is Linear
        and type(layer.base_layer) is torch.nn.Linear
        and not layer.base_layer.weight.requires_grad
        and (layer.base_layer.bias is None or not layer.base_layer.bias.requires_grad)
    )


def _factors(layer: Linear) -> tuple | None:
    """A, B and scaling of the one active adapter, or `None` where PEFT would do more than the sum of LowRankSum."""
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if layer.disable_adapters or layer.merged or len(active) != 1:
        return None
    (name,) = active
    a, b = layer.lora_A[name], layer.lora_B[name]
    simple = isinstance(layer.lora_dropout[name], torch.nn.Identity) and b.bias is None
    if not simple or name in layer.lora_variant or a.weight.dtype != b.weight.dtype:
        return None
    return a.weight, b.weight, layer.scaling[name]


def _forward(layer: Linear, x: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
    found = None if args or kwargs or torch.is_autocast_enabled(x.device.type) else _factors(layer)
    if found is None or not torch.is_grad_enabled() or x.dtype != layer.base_layer.weight.dtype:
        return type(layer).forward(layer, x, *args, **kwargs)
    return LowRankSum.apply(x, layer.base_layer.weight, layer.base_layer.bias, *found)


@contextmanager
def fused_lora(model: torch.nn.Module, enabled: bool = True) -> Iterator[int]:
    """Let the LoRA linear layers of a model compute their sum in one function while the context lasts.

    Layers for which PEFT does more (dropout, DoRA and other variants, biases, several or merged adapters, quantized
    bases) and passes without gradients go PEFT's own way, and so does a layer with its own `forward` or with hooks.

    Args:
        model: anything; a model without such layers is left alone.
        enabled: `False` leaves every layer alone.

    Yields:
        How many layers are fused.

    Example:
        >>> with fused_lora(peft_model) as layers:
        ...     peft_model(input_ids=ids, labels=ids).loss.backward()
    """
    layers = [layer for layer in model.modules() if enabled and _is_plain(layer) and "forward" not in vars(layer)]
    inner = [part for layer in layers for part in (layer.base_layer, *layer.lora_A.values(), *layer.lora_B.values())]
    if any(part._forward_hooks or part._forward_pre_hooks or part._backward_hooks for part in inner):
        layers = []
    for layer in layers:
        layer.forward = _forward.__get__(layer)
    try:
        yield len(layers)
    finally:
        for layer in layers:
            del layer.forward
        _LastCast.last = None
