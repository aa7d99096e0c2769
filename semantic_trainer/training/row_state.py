"""What a checkpoint keeps of every training row, in one safetensors file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import safe_open

from ..files import write_atomically


def write_rows(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, whole or not at all."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    write_atomically(path, safetensors.torch.save(tensors))


def read_rows(path: Path, rows: int) -> dict[str, np.ndarray]:
    """The arrays of a file, `losses` among them.

    Args:
        rows: N, of the training set: the length of `losses`' last axis.

    Raises:
        ValueError: they are of another number of rows.
    """
    with safe_open(path, "np") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}
    trained = found["losses"].shape[-1]
    if trained != rows:
        raise ValueError(
            f"the checkpoint {str(path.parent)!r} was trained on {trained} rows, but `train_dataset` has {rows}. Go "
            "on with the same facts, or start anew."
        )
    return found
