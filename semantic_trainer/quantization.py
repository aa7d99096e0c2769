"""bitsandbytes' 4-bit and 8-bit bases: how they are loaded, told apart, and made to multiply in float32."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch

from .facts.messages import suggest

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig

LOAD_IN = ("4bit", "8bit")
HALF_PRECISION = (torch.bfloat16, torch.float16)


def check_load_in(load_in: str | None) -> None:
    """Raise where `load_in` is unknown, or bitsandbytes is not there.

    Raises:
        ValueError: it is neither 4bit, 8bit nor `None`.
        ModuleNotFoundError: bitsandbytes is not installed.
    """
    if load_in is None:
        return
    if load_in not in LOAD_IN:
        raise ValueError(f"`load_in` must be 4bit, 8bit or nothing, but {load_in!r} was passed{_near(load_in)}")
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None:
        raise ModuleNotFoundError(
            f"`load_in={load_in}` needs bitsandbytes: pip install 'semantic-trainer[quantization]'. Or leave it out."
        )


def _near(load_in: object) -> str:
    digit = str(load_in).strip()[:1]
    return f". Did you mean {digit}bit?" if f"{digit}bit" in LOAD_IN else suggest(str(load_in), LOAD_IN)


def quantization_config(load_in: str, dtype: torch.dtype) -> "BitsAndBytesConfig":
    """How the linear layers but the output head are quantized: NF4, or int8 with float16 outliers.

    Args:
        load_in: `4bit` or `8bit`.
        dtype: what 4-bit layers are multiplied in; 8-bit ones decide for themselves.
    """
    from transformers import BitsAndBytesConfig

    if load_in == "8bit":
        # One warning for every multiplication of float32 activations, in every layer and step.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def loaded_in(model: torch.nn.Module) -> str | None:
    """`4bit` or `8bit` for a model, or the base of a `PeftModel`, with bitsandbytes' layers; else `None`.

    Example:
        >>> loaded_in(load_model("builtin:smollm2-135m-instruct", torch.float32, load_in="4bit")[0])
        '4bit'
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return next((bits for bits in LOAD_IN if getattr(base, f"is_loaded_in_{bits}", False)), None)


def is_packed(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds packed codes, whatever its dtype says: 4-bit ones may be stored as bfloat16."""
    return type(tensor).__name__ in ("Params4bit", "Int8Params")


def without_repacking(model: torch.nn.Module) -> torch.nn.Module:
    """The model, whose 4-bit layers keep their codes as they are; one without such layers is left alone.

    On processors with AVX-512 bfloat16 instructions, bitsandbytes packs the codes anew at the first pass without
    gradients: the weights' bytes change, such passes differ from those with gradients, and sizes that are no multiples
    of 32 and 64 fail.
    """
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
    return model


@contextmanager
def computing_in_float32(model: torch.nn.Module) -> Iterator[None]:
    """Quantized layers multiply their weights, as they are, in float32 for the time.

    Otherwise 8-bit layers round each token's activations to int8, but for those columns in which any token of the
    batch has an outlier: what one prompt gives would depend on the others.
    """
    without_repacking(model)
    in_4_bits = [m for m in model.modules() if getattr(m, "compute_dtype", None) in HALF_PRECISION]
    # Of a layer's own parameters: an adapter's layer shows its base's weight as if it were its own.
    in_8_bits = [m for m in model.modules() if type(m._parameters.get("weight")).__name__ == "Int8Params"]
    dtypes = [layer.compute_dtype for layer in in_4_bits]
    forwards = [vars(layer).get("forward") for layer in in_8_bits]
    try:
        for layer in in_4_bits:
            layer.compute_dtype = torch.float32
        for layer in in_8_bits:
            layer.forward = partial(_forward_in_float32, layer)
        yield
    finally:
        for layer, dtype in zip(in_4_bits, dtypes, strict=True):
            layer.compute_dtype = dtype
        for layer, forward in zip(in_8_bits, forwards, strict=True):
            del layer.forward
            if forward is not None:
                layer.forward = forward


def _forward_in_float32(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    from bitsandbytes.functional import int8_vectorwise_dequant

    scales = layer.weight.SCB if layer.state.SCB is None else layer.state.SCB  # moved at the first forward pass
    weight = int8_vectorwise_dequant(layer.weight.data, scales.to(x.device))
    bias = None if layer.bias is None else layer.bias.float()
    return torch.nn.functional.linear(x.float(), weight.float(), bias).to(x.dtype)
