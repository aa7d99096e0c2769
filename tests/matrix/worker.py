"""One of two processes: `torchrun --nproc_per_node 2 -m tests.matrix.worker FOLDER SUBSET`."""

import sys
from pathlib import Path

import torch

if __name__ == "__main__":
    from .cells import SUBSETS
    from .measuring import measure

    folder, subset = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    found = {tuple(cell): measure(cell, folder) for cell in SUBSETS[subset] if cell.processes == 2}
    if None not in found.values():
        torch.save({cell: tuple(measured) for cell, measured in found.items()}, folder / "two.pt")
    torch.distributed.destroy_process_group()
