"""Which modules of a model an adapter can go to, read from its modules, whatever it is called."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from ..facts.messages import readable, suggest

_BLOCK = re.compile(r"((?:.*?\.)?\d+)\.(.+)")  # the first number in a name counts the blocks
_ATTENTION = re.compile(r"\w*(?:attn|attention)\w*", re.IGNORECASE)
# Paths below a block of the projections whose output meets the residual.
_ATTENTION_OUTPUT = re.compile(rf"(?:{_ATTENTION.pattern}\.)+(?:o_proj|out_proj|dense|c_proj)", re.IGNORECASE)
_MLP_OUTPUT = re.compile(r"(?:(?:mlp|ffn|feed_forward)\.)?(?:down_proj|fc2|fc_out|dense_4h_to_h|c_proj)")


class SublayerOutputs(NamedTuple):
    """Names of the projections that end each block's attention, and its MLP."""

    attention: list[str]
    mlp: list[str]


def modules_outside_adapters(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """`named_modules()` as it was before adapters: an adapted module stands for its base layer."""
    inside = None  # modules come parents first, so the last adapted one is enough to know
    for name, module in model.named_modules():
        if inside is not None and name.startswith(inside):
            continue
        if isinstance(module, BaseTunerLayer):
            inside = f"{name}."
            module = module.get_base_layer()
        yield name, module


def linear_modules(model: nn.Module) -> list[str]:
    """Names of all linear layers but the output head: `nn.Linear` (bitsandbytes' are such too), GPT-2's `Conv1D`."""
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    linear = (nn.Linear, Conv1D)
    return [name for name, m in modules_outside_adapters(model) if isinstance(m, linear) and m is not head]


def attention_modules(model: nn.Module) -> list[str]:
    """Names of the linear layers inside attention modules: queries, keys, values and output."""
    return [
        name for name in linear_modules(model) if any(map(_ATTENTION.fullmatch, name.rpartition(".")[0].split(".")))
    ]


def sublayer_outputs(model: nn.Module) -> SublayerOutputs:
    """The projections that end attention and MLP, of every block.

    Raises:
        ValueError: a block does not have exactly one of each; it says what to pass instead.
    """
    blocks: dict[str, SublayerOutputs] = defaultdict(lambda: SublayerOutputs([], []))
    others: dict[str, list[str]] = defaultdict(list)
    for name in linear_modules(model):
        if not (match := _BLOCK.fullmatch(name)):
            continue
        block, path = match.groups()
        others[block].append(path)
        if _ATTENTION_OUTPUT.fullmatch(path):
            blocks[block].attention.append(name)
        elif _MLP_OUTPUT.fullmatch(path):
            blocks[block].mlp.append(name)
    for block, paths in others.items():
        found = blocks[block]
        if len(found.attention) != 1 or len(found.mlp) != 1:
            kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
            raise ValueError(
                f"no default `target_modules` for a {kind} model: of {block} ({readable(sorted(set(paths)))}), "
                f"{len(found.attention)} layers are known to end the attention and {len(found.mlp)} the MLP, one of "
                "each is needed. Pass the names of the linear layers whose output meets the residual, as in: "
                "target_modules=['self_attn.o_proj', 'mlp.down_proj']."
            )
    if not blocks:
        raise ValueError(f"no default `target_modules` for a {type(model).__name__}: no numbered blocks in it.")
    return SublayerOutputs(
        [name for found in blocks.values() for name in found.attention],
        [name for found in blocks.values() for name in found.mlp],
    )


def shortest_names(model: nn.Module, names: Iterable[str]) -> set[str]:
    """The shortest endings that match these modules and no other, as PEFT matches: `{"o_proj", "down_proj"}`."""
    wanted = set(names)
    all_names = [name for name, _ in modules_outside_adapters(model)]
    taken = {ending for name in all_names if name not in wanted for ending in _endings(name)}
    return {next((ending for ending in _endings(name) if ending not in taken), name) for name in wanted}


def _endings(name: str) -> list[str]:
    """`a.b.c` -> `["c", "b.c", "a.b.c"]`."""
    parts = name.split(".")
    return [".".join(parts[i:]) for i in range(len(parts) - 1, -1, -1)]


def matching_modules(model: nn.Module, names: Sequence[str], keywords: Sequence[str] = ()) -> list[str]:
    """The modules that these names, or endings of names, match, as PEFT matches them.

    Args:
        keywords: words that a wrong name may have been meant as.

    Raises:
        ValueError: a name matches no module, or one that holds others.
    """
    modules = {name: module for name, module in modules_outside_adapters(model) if name}
    endings = {ending for name in modules for ending in _endings(name)}
    for name in names:
        if name not in endings:
            leaves = sorted({linear.rpartition(".")[2] for linear in linear_modules(model)})
            meant = suggest(name, [*keywords, *sorted(endings)])
            raise ValueError(
                f"`target_modules` names {name!r}, which no module of this model is called.{meant} "
                f"Its linear layers are {readable(leaves)}."
            )
    matching = [name for name in modules if not set(_endings(name)).isdisjoint(names)]
    for name in matching:
        if inner := [child for child, _ in modules[name].named_children()]:
            raise ValueError(
                f"`target_modules` names {name!r}, which holds other modules: {readable(inner)}. Name some of these."
            )
    return matching
