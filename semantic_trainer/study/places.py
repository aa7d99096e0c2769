"""Where a module stands: the number of its block, and its name within it."""

import re
from collections.abc import Iterable


def place_of(name: str) -> tuple[int | None, str]:
    """Block and name within it of a module.

    Example:
        >>> place_of("base_model.model.model.layers.29.self_attn.q_proj")
        (29, 'self_attn.q_proj')
    """
    match = re.search(r"(?:^|\.)(\d+)\.(.+)", name)
    return (int(match[1]), match[2]) if match else (None, name)


def choose(names: Iterable[str], projection: str, layer: int | None = None) -> str:
    """The one module that is meant.

    Args:
        names: of modules.
        projection: a name within a block or its ending, such as `q_proj`.
        layer: number of the block; `None` takes the last one that has the projection.

    Raises:
        ValueError: there is none; the message lists the projections, or the layers that have this one.

    Example:
        >>> choose(["layers.0.attn.q_proj", "layers.1.attn.q_proj"], "q_proj")
        'layers.1.attn.q_proj'
    """
    places = {name: place_of(name) for name in names}
    found = [
        (at, name)
        for name, (at, within) in places.items()
        if at is not None and f".{within}".endswith(f".{projection}")
    ]
    if not found:
        known = ", ".join(dict.fromkeys(within for _, within in places.values()))
        raise ValueError(f"`projection` {projection!r} is not trained. Choose one of {known}.")
    layers = sorted({at for at, _ in found})
    layer = layers[-1] if layer is None else layer
    if layer not in layers:
        known = ", ".join(map(str, layers))
        raise ValueError(f"`layer` {layer} has no trained {projection}; layers that have one, from 0: {known}")
    names = [name for at, name in found if at == layer]
    if len(names) > 1:
        known = ", ".join(places[name][1] for name in names)
        raise ValueError(f"`projection` {projection!r} is the ending of several: {known}. Choose one of them.")
    return names[0]
