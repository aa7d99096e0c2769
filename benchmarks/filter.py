"""Time Eq. 4's filter: 100,000 facts, pools of 1 and 10 million, share 0.6, each in a process of its own.

    python benchmarks/filter.py [--output results/filter.json]

Prints seconds, of the clock and of the processor, peak memory, swaps and pairs looked at next to a bound, for bounds
that never bind and for bounds that do, and how that grows from 1 to 10 million; then the ratio to a scan of all pairs
each step, in numpy, at 200 facts and a pool of 20,000, on the same swaps. Each is the fastest of three. Distances are
drawn, beta(4, 2) * 1.3, seed 0.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from semantic_trainer.distance.swaps import find_swaps
from semantic_trainer.files import write_atomically
from semantic_trainer.report.summary import describe_environment

FACTS, POOLS, SHARE, SEED = 100_000, (1_000_000, 10_000_000), 0.6, 0
SMALL_FACTS, SMALL_POOL = 200, 20_000
# What the mean, 0.867 at the start, must lie between; the weight of the spread; the spread.
CASES = (
    ("never bind", (0.1, 1.2), 1.0, "variance"),
    ("never bind", (0.1, 1.2), 1.0, "std"),
    ("bind", (0.8, 0.9), 3.0, "variance"),
    ("bind", (0.8, 0.9), 3.0, "std"),
    ("bind late", (0.6, 0.9), 1.0, "variance"),
)
RUN = """
import json, resource, sys, time
import numpy as np
from semantic_trainer import SemanticFilter
n, m, share, seed, low, high, weight, spread = json.loads(sys.argv[1])
rng = np.random.default_rng(seed)
train, pool = (rng.beta(4, 2, size) * 1.3 for size in (n, m))
start, cpu = time.perf_counter(), time.process_time()
plan = SemanticFilter((low, high), weight, share, spread).plan(train, pool)
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
assert "torch" not in sys.modules, "torch was loaded"
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "megabytes": peak, "swaps": len(plan),
    "stopped": plan.stopped, "scanned": plan.scanned, "mean": plan.mean[-1], "objective": plan.objective[-1]}))
"""


def measure(pool: int, bounds: tuple[float, float], weight: float, spread: str) -> dict[str, object]:
    """One plan in a fresh process: seconds without imports and without drawing the numbers."""
    argument = json.dumps([FACTS, pool, SHARE, SEED, *bounds, weight, spread])
    done = subprocess.run([sys.executable, "-c", RUN, argument], capture_output=True, text=True, timeout=1200)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def scan(train: np.ndarray, pool: np.ndarray, wanted: int) -> tuple[list[int], list[int]]:
    """Eq. 4 by trying every pair a step, in numpy; variance, no bounds."""
    n, removed, added = len(train), [], []
    kept, used = train.copy(), np.zeros(len(pool), bool)
    gone, current = np.zeros(n, bool), train.copy()
    for _ in range(wanted):
        mean, squares = current.mean(), (current**2).mean()
        means = mean + (pool[None] - kept[:, None]) / n
        objective = means - (squares + (pool[None] ** 2 - kept[:, None] ** 2) / n - means**2)
        objective[gone] = np.inf
        objective[:, used] = np.inf
        i, j = np.unravel_index(objective.argmin(), objective.shape)
        if not objective[i, j] < mean - current.var() - 1e-12:
            break
        current[i], gone[i], used[j] = pool[j], True, True
        removed.append(int(i))
        added.append(int(j))
    return removed, added


def ratio() -> dict[str, object]:
    """Seconds of both on one small instance, on the same swaps."""
    rng = np.random.default_rng(SEED)
    train, pool = (rng.beta(4, 2, size) * 1.3 for size in (SMALL_FACTS, SMALL_POOL))
    wanted = round(SHARE * SMALL_FACTS)
    start = time.perf_counter()
    slow = scan(train, pool, wanted)
    slow_seconds = time.perf_counter() - start
    fast_seconds = []
    for _ in range(5):
        start = time.perf_counter()
        found = find_swaps(train, pool, wanted)
        fast_seconds.append(time.perf_counter() - start)
    assert (found.removed, found.added) == slow, "the two differ"
    best = min(fast_seconds)
    return {"scan_seconds": slow_seconds, "seconds": best, "ratio": slow_seconds / best, "swaps": len(found.removed)}


def markdown(result: dict) -> list[str]:
    """The table of docs/filtering.md."""
    lines = ["| bounds | spread | pool | processor | clock | memory | swaps | pairs at a bound |", "|" + 8 * "---|"]
    for row in result["runs"]:
        size = f"{row['pool'] // 1_000_000} million"
        times = f"{row['cpu_seconds']:.1f} s | {row['seconds']:.1f} s | {row['megabytes']:.0f} MB"
        work = f"{row['swaps']:,} | {row['scanned']:,}"
        lines.append(f"| {row['bounds']} | {row['spread']} | {size} | {times} | {work} |")
    return lines


def main() -> None:
    """Measure, print line by line, then the table, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/filter.json"))
    parser.add_argument("--repeats", type=int, default=3, help="The fastest of so many is kept.")
    args = parser.parse_args()
    runs = []
    for case, bounds, weight, spread in CASES:
        for pool in POOLS:
            load = round(os.getloadavg()[0], 2)
            given = {"bounds": case, "mean_range": bounds, "spread_weight": weight, "spread": spread, "pool": pool}
            tries = [measure(pool, bounds, weight, spread) for _ in range(args.repeats)]
            runs.append({**given, **min(tries, key=lambda found: found["seconds"]), "load_before": load})
            print(json.dumps(runs[-1]), flush=True)
        growth = runs[-1]["cpu_seconds"] / runs[-2]["cpu_seconds"]
        print(f"bounds that {case}, {spread}: {growth:.1f} times the processor's time for ten times the pool")
    small = ratio()
    print(f"{SMALL_FACTS} facts, pool {SMALL_POOL}: {small['ratio']:.0f} times as fast as a scan of all pairs")
    config = {"facts": FACTS, "pools": POOLS, "share": SHARE, "seed": SEED, "small": [SMALL_FACTS, SMALL_POOL]}
    result = {"config": config, "environment": describe_environment(), "runs": runs, "against_a_scan": small}
    print("\n".join(markdown(result)))
    write_atomically(args.output, (json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
