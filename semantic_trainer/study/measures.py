"""What a run measures of its tuned model beside its answers, where the recipe asks for it."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel

from ..facts.messages import suggest
from ..files import write_atomically
from ..tuners.arguments import ModelArguments
from ..tuners.methods import target_names
from ..tuners.modules import linear_modules
from .deltas import NO_DELTA, adapter_delta, weight_delta
from .places import choose
from .spectra import delta_rank, spectrum

MEASURES = ("spectra", "features")
PROJECTION = "q_proj"  # the paper's


def check_measures(measures: Iterable[str], methods: Iterable[str]) -> None:
    """Raise a `ValueError` where a measure is unknown, or cannot be taken of a method."""
    for name in measures:
        if name not in MEASURES:
            raise ValueError(f"`measures` {name!r} is unknown.{suggest(name, MEASURES)} Use {', '.join(MEASURES)}.")
    without = [method for method in methods if method.upper() in NO_DELTA] if "spectra" in measures else []
    if without:
        raise ValueError(
            f"`measures` spectra: {without[0]} has no ΔW, {NO_DELTA[without[0].upper()]}. Take that arm out, or leave "
            "spectra out."
        )


def check_projection(model: torch.nn.Module, args: ModelArguments, projection: str, layer: int | None) -> None:
    """Raise a `ValueError`, before any training, where the method will not train that projection."""
    given = args.target_modules if args.target_modules is not None else args.lora_target_modules
    choose(linear_modules(model) if args.method == "full" else target_names(model, list(given)), projection, layer)


def measure_spectrum(
    model: torch.nn.Module,
    before: Mapping[str, torch.Tensor],
    projection: str,
    layer: int | None,
    rank: int,
    seed: int,
) -> dict[str, object]:
    """`spectrum` of one projection of a tuned model, with its layer, name and rank.

    Args:
        before: the base's state dict, where all of its weights were trained.
        layer: `None` for the last one.
        rank: less where ΔW has less: AdaLoRA prunes. Where it has pruned all, what needs directions is `None`.
    """
    where = projection, layer
    found = (
        adapter_delta(model, *where)
        if isinstance(model, PeftModel)
        else weight_delta(before, model.state_dict(), *where)
    )
    rank = delta_rank(found.delta, min(rank, *found.weight.shape))
    place = {"layer": found.layer, "projection": found.projection, "rank": rank}
    if rank:
        return place | asdict(spectrum(found.delta, found.weight, rank, seed))
    nothing = dict.fromkeys(("proj_delta", "proj_weight", "proj_random", "amplification"))
    return place | {"delta_norm": 0.0, "weight_norm": float(found.weight.double().norm()), **nothing}


def features_path(result: Path) -> Path:
    """Where the features of a run lie, beside its JSON."""
    return result.with_suffix(".features.npy")


def write_features(result: Path, features: np.ndarray) -> None:
    """Write (n, d) features of a run in half precision, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, features.astype(np.float16))
    write_atomically(features_path(result), buffer.getvalue())


def read_features(result: Path) -> np.ndarray:
    """(n, d) features of a run as float64.

    Raises:
        FileNotFoundError: they are not there.
        ValueError: the file holds something else.
    """
    path = features_path(result)
    if not path.exists():
        raise FileNotFoundError(
            f"{str(path)!r} is missing, which {result.name} was written with. Run the study again, and it is made."
        )
    try:
        return np.load(path).astype(float)
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"{str(path)!r} holds no features ({error}). Delete it and run the study again, and it is made."
        ) from error
