"""Which solver finds the largest singular values of a projection to 1e-8, and what a spectrum of 4096 x 4096 costs.

    python benchmarks/spectra.py [--model builtin:smollm2-135m-instruct] [--output results/spectra.json]

Each solver's top 8 singular values beside those of a dense float64 SVD: of every attention and MLP projection of the
first, a middle and the last layer, and of made-up spectra that are hard. The error is the largest difference, relative
to the largest value. Then `spectrum` of 4096 x 4096 random weights (the worst case: the values lie closest together)
and of weights whose singular values fall like 1/k, r = 8, and the dense SVD that it does without.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.sparse.linalg import svds
from sklearn.utils.extmath import randomized_svd

from semantic_trainer.files import write_atomically
from semantic_trainer.models import DEFAULT_MODEL, load_model
from semantic_trainer.report.summary import describe_environment
from semantic_trainer.study.places import place_of
from semantic_trainer.study.spectra import spectrum, top_directions

RANK, LARGE, SEED = 8, 4096, 0
WANTED = 1e-8


def _svds(matrix: np.ndarray, solver: str) -> np.ndarray:
    return svds(matrix, RANK, solver=solver, rng=np.random.default_rng(SEED))[1]


def _lowrank(matrix: np.ndarray, steps: int) -> np.ndarray:
    torch.manual_seed(SEED)
    return torch.svd_lowrank(torch.from_numpy(matrix), q=RANK + 10, niter=steps)[1][:RANK].numpy()


SOLVERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ours (ARPACK)": lambda m: top_directions(m, RANK)[0],
    "scipy svds, PROPACK": lambda m: _svds(m, "propack"),
    "scipy svds, LOBPCG": lambda m: _svds(m, "lobpcg"),
    "sklearn randomized_svd, 4 iterations": lambda m: randomized_svd(m, RANK, n_iter=4, random_state=SEED)[1],
    "sklearn randomized_svd, 30 iterations": lambda m: randomized_svd(m, RANK, n_iter=30, random_state=SEED)[1],
    "torch svd_lowrank, 2 iterations": lambda m: _lowrank(m, 2),
    "torch svd_lowrank, 30 iterations": lambda m: _lowrank(m, 30),
}


def projections(model: str) -> dict[str, np.ndarray]:
    """Weights of linear layers, of the first, a middle and the last block."""
    loaded, _ = load_model(model, torch.float32)
    names = {n: m for n, m in loaded.named_modules() if isinstance(m, torch.nn.Linear) and place_of(n)[0] is not None}
    last = max(place_of(name)[0] for name in names)
    shown = {name: m for name, m in names.items() if place_of(name)[0] in (0, last // 2, last)}
    return {f"layer {place_of(n)[0]} {place_of(n)[1]}": m.weight.detach().double().numpy() for n, m in shown.items()}


def with_values(values: np.ndarray) -> np.ndarray:
    """A square matrix with these singular values."""
    rng = np.random.default_rng(SEED)
    u, v = (np.linalg.qr(rng.standard_normal((len(values), len(values))))[0] for _ in range(2))
    return (u * values) @ v.T


def hard() -> dict[str, np.ndarray]:
    """Spectra that iterative solvers find hard."""
    return {
        "random, 576 x 576": np.random.default_rng(SEED).standard_normal((576, 576)),
        "values 1, 1 - 1e-4, ...": with_values(1 - 1e-4 * np.arange(576)),
        "pairs of equal values": with_values(np.repeat(np.arange(288, 0, -1.0), 2)),
    }


def errors(matrices: dict[str, np.ndarray]) -> list[dict[str, object]]:
    """One row a solver: its largest error, where that was, and how often it met 1e-8 or failed."""
    wanted = {name: np.linalg.svd(matrix, compute_uv=False)[:RANK] for name, matrix in matrices.items()}
    rows = []
    for solver, find in SOLVERS.items():
        found, failed, start = {}, 0, time.process_time()
        for name, matrix in matrices.items():
            try:
                values = np.sort(find(matrix))[::-1]
            except np.linalg.LinAlgError:
                failed += 1
                continue
            found[name] = float(np.abs(values - wanted[name]).max() / wanted[name][0])
        worst = max(found, key=found.get)
        met = sum(error <= WANTED for error in found.values())
        rows.append({"solver": solver, "matrices": len(matrices), "met": met, "failed": failed})
        rows[-1] |= {"worst": found[worst], "worst_at": worst, "cpu_seconds": time.process_time() - start}
        print(json.dumps(rows[-1]), flush=True)
    return rows


def large() -> list[dict[str, object]]:
    """Processor seconds of 4096 x 4096."""
    rng = np.random.default_rng(SEED)
    delta = (rng.standard_normal((LARGE, RANK)), rng.standard_normal((RANK, LARGE)), 2.0)
    matrices = {
        "random": rng.standard_normal((LARGE, LARGE)),
        "falling like 1/k": with_values(1 / np.arange(1.0, LARGE + 1)),
    }
    rows = []
    for name, matrix in matrices.items():
        seconds = []
        for _ in range(3):
            start = time.process_time()
            found = spectrum(delta, matrix, RANK)
            seconds.append(time.process_time() - start)
        start = time.process_time()
        values = np.linalg.svd(matrix, full_matrices=False)[1]
        dense = time.process_time() - start
        error = abs(found.proj_weight / np.linalg.norm(values[:RANK]) - 1)
        rows.append({"weights": name, "cpu_seconds": min(seconds), "dense_cpu_seconds": dense, "error": float(error)})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def markdown(result: dict) -> list[str]:
    """The tables of docs/analyses.md."""
    lines = ["| solver | to 1e-8 | failed | largest error |", "|" + 4 * "---|"]
    for row in result["solvers"]:
        lines.append(f"| {row['solver']} | {row['met']} of {row['matrices']} | {row['failed']} | {row['worst']:.0e} |")
    lines += ["", "| 4096 x 4096, r = 8 | spectrum | dense SVD of W alone | error |", "|" + 4 * "---|"]
    for row in result["large"]:
        seconds = f"{row['cpu_seconds']:.1f} s | {row['dense_cpu_seconds']:.0f} s"
        lines.append(f"| weights {row['weights']} | {seconds} | {row['error']:.0e} |")
    return lines


def main() -> None:
    """Measure, print line by line, then the tables, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/spectra.json"))
    parser.add_argument("--model", default=DEFAULT_MODEL)
    args = parser.parse_args()
    config = {"model": args.model, "rank": RANK, "large": LARGE, "seed": SEED, "wanted": WANTED}
    solvers = errors({**projections(args.model), **hard()})
    result = {"config": config, "environment": describe_environment(), "solvers": solvers, "large": large()}
    print("\n".join(markdown(result)))
    write_atomically(args.output, (json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
