"""Time semantic_distance on 100,000 pairs, after tokenisation, beside the three-line reference.

    python benchmarks/distance.py

Prints the seconds of both, their ratio (the reference is timed on 2,000 pairs and scaled) and the largest difference.
"""

import time

import numpy as np
import torch

from semantic_trainer.distance.embedding import EmbeddingTable, pair_distances

PAIRS, SAMPLE, VOCABULARY, WIDTH = 100_000, 2_000, 49_152, 576


def reference(a: list[int], b: list[int], weight: torch.Tensor) -> float:
    """Eq. 1 for one pair, as it is written."""
    x, y = weight[a].double().mean(0), weight[b].double().mean(0)
    return float(1 - torch.dot(x, y) / (x.norm() * y.norm()))


def main() -> None:
    """Draw random token ids, time both, print."""
    rng = np.random.default_rng(0)
    table = EmbeddingTable(torch.randn(VOCABULARY, WIDTH, generator=torch.Generator().manual_seed(0)))
    rows = [rng.integers(0, VOCABULARY, n).tolist() for n in rng.integers(1, 9, 2 * PAIRS)]
    a, b = rows[:PAIRS], rows[PAIRS:]
    start = time.perf_counter()
    fast = pair_distances(a, b, table)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    slow = np.array([reference(x, y, table.weight) for x, y in zip(a[:SAMPLE], b[:SAMPLE], strict=True)])
    scaled = (time.perf_counter() - start) * PAIRS / SAMPLE
    print(f"{PAIRS} pairs: {seconds:.2f} s; reference {scaled:.2f} s (from {SAMPLE}); ratio {scaled / seconds:.1f}")
    print(f"largest difference on {SAMPLE} pairs: {np.abs(fast[:SAMPLE] - slow).max():.2e}")


if __name__ == "__main__":
    main()
