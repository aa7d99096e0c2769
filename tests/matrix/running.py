"""The whole matrix, or some of it: here, in two processes, and once more from disk."""

from pathlib import Path

import torch

from ..distributed.launch import ALONE, TWO, launch
from .cells import ARCHITECTURES, SUBSETS, Cell, base
from .measuring import Measured, measure

SECONDS = 3600


def measure_all(subset: str, folder: Path) -> dict[Cell, Measured]:
    """What each cell of a subset gives; the folder is filled with checkpoints."""
    torch.set_num_threads(1)
    for architecture in ARCHITECTURES:
        base(architecture).save_pretrained(folder / "base" / architecture)
    found = {cell: measure(cell, folder) for cell in SUBSETS[subset] if cell.processes == 1}
    launch(TWO, "tests.matrix.worker", folder, subset, timeout=SECONDS)
    found |= {Cell(*cell): Measured(*values) for cell, values in torch.load(folder / "two.pt").items()}
    launch(ALONE, "tests.matrix.reload", folder, timeout=SECONDS)
    reloaded = torch.load(folder / "reloaded.pt")
    return {cell: found[cell]._replace(reloaded=reloaded[tuple(cell)]) for cell in SUBSETS[subset]}
