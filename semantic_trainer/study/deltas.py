"""What an adapter, or a training of all weights, adds to each projection: ΔW, as factors where it has some."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from peft import PeftModel
from peft.tuners.adalora import AdaLoraLayer
from peft.tuners.loha import LoHaLayer
from peft.tuners.lokr import LoKrLayer
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.integrations import dequantize_module_weight
from torch import nn

from ..tuners.methods import takes_from_base
from .places import choose, place_of
from .spectra import Array, Factors

RANK_EPSILON = 1e-5  # PEFT's, in AdaLoRA's scale
NO_DELTA = {
    "IA3": "it scales what layers give and adds nothing to their weights",
    "HOULSBY": "its bottlenecks stand after layers and leave their weights alone",
}


class Delta(NamedTuple):
    """The change of one linear layer.

    Attributes:
        layer: number of the block, from 0; `None` outside of the blocks.
        projection: name within the block, such as `self_attn.q_proj`; where query, key and value share one matrix
            (`c_attn`, `query_key_value`), that matrix.
        delta: `(B, A, scale)`, or the (out, in) matrix.
        weight: W, (out, in), dequantized where it was quantized.
    """

    layer: int | None
    projection: str
    delta: Factors | Array
    weight: torch.Tensor


def adapter_deltas(model: PeftModel, adapter: str | None = None) -> Iterator[Delta]:
    """The change of each adapted linear layer, in the model's order, one at a time.

    LoRA gives `(B, A, alpha / r)` and AdaLoRA `(B, E A, scale)` with E the singular values that were not pruned. DoRA
    gives a matrix: `m (W + s B A) / ||W + s B A|| - W`, the change of magnitude included. LoHa and LoKr give matrices.

    Args:
        model: with an adapter that is not merged.
        adapter: its name; by default the active one.

    Raises:
        ValueError: the method has no ΔW (IA3, Houlsby), the adapter began with part of W (PiSSA, OLoRA), or it is
            merged, unknown, or not the only active one.

    Example:
        >>> found = next(d for d in adapter_deltas(model) if (d.layer, d.projection) == (1, "self_attn.q_proj"))
        >>> tuple(found.delta[0].shape), found.delta[2]
        ((32, 8), 2.0)
    """
    adapter = _adapter(model, adapter)
    for name, module in _adapted(model, adapter):
        yield Delta(*place_of(name), *_delta(module, adapter))


def adapter_delta(model: PeftModel, projection: str, layer: int | None = None, adapter: str | None = None) -> Delta:
    """The change of one projection; see `adapter_deltas` and `choose`.

    Example:
        >>> found = adapter_delta(model, "q_proj")
        >>> spectrum(found.delta, found.weight, rank=8).amplification > 0
        True
    """
    adapter = _adapter(model, adapter)
    modules = dict(_adapted(model, adapter))
    name = choose(modules, projection, layer)
    return Delta(*place_of(name), *_delta(modules[name], adapter))


Weights = Mapping[str, torch.Tensor]  # a state dict


def weight_deltas(before: Weights, after: Weights) -> Iterator[Delta]:
    """The change of each linear layer between two state dicts of one model, after training all of its weights.

    Weights of two dimensions within the blocks, (out, in) as `nn.Linear` keeps them; embeddings, norms and biases are
    left out.

    Args:
        before, after: `model.state_dict()`; copy the first one (`{n: t.clone() ...}`), for training changes it.

    Raises:
        ValueError: a weight of one is not in the other, or of another shape.

    Example:
        >>> next(weight_deltas(before, after))[:2]
        (0, 'self_attn.q_proj')
    """
    for name in _weights(before):
        yield _difference(name, before, after)


def weight_delta(before: Weights, after: Weights, projection: str, layer: int | None = None) -> Delta:
    """The change of one projection between two state dicts; see `weight_deltas` and `choose`."""
    return _difference(choose(_weights(before), projection, layer), before, after)


def _weights(state: Weights) -> list[str]:
    """Names of the linear layers within blocks."""
    found = [key.removesuffix(".weight") for key, t in state.items() if key.endswith(".weight") and t.ndim == 2]
    return [name for name in found if place_of(name)[0] is not None]


def _difference(name: str, before: Weights, after: Weights) -> Delta:
    key = f"{name}.weight"
    old, new = before[key], after.get(key)
    if new is None or new.shape != old.shape:
        found = "missing" if new is None else tuple(new.shape)
        raise ValueError(f"`after` and `before` are of two models: {key!r} is {found}, and was {tuple(old.shape)}")
    return Delta(*place_of(name), new.double() - old.double(), old)


def _adapter(model: object, adapter: str | None) -> str:
    """The adapter's name, checked."""
    if not isinstance(model, PeftModel):
        raise ValueError(
            f"`model` is a {type(model).__name__} without an adapter. Pass a PeftModel, or the state dicts before and "
            "after training to `weight_deltas`."
        )
    active = list(model.active_adapters)
    if adapter is None and len(active) != 1:
        raise ValueError(f"`adapter` is needed: {len(active)} adapters are active ({', '.join(active)})")
    adapter = active[0] if adapter is None else adapter
    if adapter not in model.peft_config:
        raise ValueError(f"`adapter` {adapter!r} is unknown; the model has {', '.join(model.peft_config)}")
    kind = str(getattr(model.peft_config[adapter].peft_type, "value", model.peft_config[adapter].peft_type))
    if kind in NO_DELTA:
        raise ValueError(f"{kind} has no ΔW: {NO_DELTA[kind]}. Use lora, adalora, dora or full.")
    start = getattr(model.peft_config[adapter], "init_lora_weights", True)
    if takes_from_base(start):
        raise ValueError(
            f"`adapter` {adapter!r} began with part of W ({start}), so its product is not ΔW. Pass the state dicts of "
            "the base and of the merged model to `weight_deltas`."
        )
    return adapter


def _adapted(model: PeftModel, adapter: str) -> Iterator[tuple[str, BaseTunerLayer]]:
    """Names and modules of the layers that an adapter changes."""
    count = 0
    for name, module in model.named_modules():
        if not isinstance(module, BaseTunerLayer) or adapter not in _adapters_of(module):
            continue
        if module.merged:
            raise ValueError("`model` has its adapter merged: W is no longer there. Call `unmerge_adapter` first.")
        if not isinstance(module, (LoraLayer, LoHaLayer, LoKrLayer)) or module.get_base_layer().weight.ndim < 2:
            raise ValueError(f"{name!r} is a {type(module).__name__}, whose ΔW is not known here")
        count += 1
        yield name, module
    if not count:
        raise ValueError(f"`adapter` {adapter!r} changes no linear layer")


def _adapters_of(module: BaseTunerLayer) -> set[str]:
    return {name for part in module.adapter_layer_names for name in getattr(module, part, {})}


def _delta(module: BaseTunerLayer, adapter: str) -> tuple[Factors | Array, torch.Tensor]:
    """ΔW and W of one layer, both (out, in), whichever way round the layer keeps them."""
    weight = dequantize_module_weight(module.get_base_layer()).detach()
    turned = getattr(module, "fan_in_fan_out", False)  # GPT-2 keeps (in, out)
    if isinstance(module, (LoHaLayer, LoKrLayer)):
        return module.get_delta_weight(adapter).detach(), weight
    if isinstance(module.get_base_layer(), nn.Embedding):
        factors = module.lora_embedding_A[adapter].T, module.lora_embedding_B[adapter].T
        return (*(f.detach() for f in factors), module.scaling[adapter]), weight
    weight = weight.T if turned else weight
    if isinstance(module, AdaLoraLayer):
        scale = float(module.scaling[adapter] / (module.ranknum[adapter] + RANK_EPSILON))
        a = (module.lora_A[adapter] * module.lora_E[adapter]).detach()
        return (module.lora_B[adapter].detach(), a, scale), weight
    b, a = module.lora_B[adapter].weight.detach(), module.lora_A[adapter].weight.detach()
    if module.use_dora.get(adapter, False):
        merged = weight.double() + module.scaling[adapter] * b.double() @ a.double()
        magnitude = module.lora_magnitude_vector[adapter].weight.detach().double()
        return (magnitude / merged.norm(dim=1))[:, None] * merged - weight.double(), weight
    return (b, a, float(module.scaling[adapter])), weight
