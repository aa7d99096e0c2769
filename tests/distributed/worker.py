"""One of several processes: `torchrun --nproc_per_node 2 -m tests.distributed.worker OUT_DIR`."""

import os
import sys
from pathlib import Path

import torch

if __name__ == "__main__":
    out, rank, world_size = Path(sys.argv[1]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    os.environ["SEMANTIC_TRAINER_CACHE"] = str(out / f"cache-{rank}")  # apart, so that one sees who writes
    torch.set_num_threads(1)

    from . import adalora_jobs, filter_jobs, jobs

    results = jobs.run_all(out, rank, world_size) | adalora_jobs.run_all(out, world_size)
    results |= {"filtered": filter_jobs.both_ways(out, world_size)}
    torch.save(results, out / f"results-{rank}.pt")
    torch.distributed.destroy_process_group()
