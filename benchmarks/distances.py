"""Time add_distances on a memory-mapped Dataset of a million facts, beside Eq. 1 as it is written, pair by pair.

    python benchmarks/distances.py [--rows 1000000] [--out results/distances.json]

Each number of rows is measured in a process of its own. Seconds are those of add_distances, tokenisation included;
memory is what the process allocates at most above what it held before (private pages, sampled every 10 ms, not the
mapped file), and `megabytes_as_lists` is that of both columns as Python lists and their token ids, for comparison.
The reference tokenises and measures one pair at a time; its processor seconds are taken on a sample, alternating with
those of add_distances on the same rows, and the largest difference of the two is printed.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
import numpy as np
import torch
import transformers
from datasets import Dataset
from datasets.arrow_writer import ArrowWriter

from semantic_trainer import EmbeddingTable, PromptFormat, add_distances, load_facts
from semantic_trainer.models import DEFAULT_MODEL, resolve_model

SAMPLE, REPEATS, PART = 2_000, 5, 50_000
FORM = PromptFormat.question_answer()


def write_pairs(n: int, path: Path) -> None:
    """An Arrow file of `n` rows: answers and targets of one to four words out of the built-in facts, seeded."""
    facts, rng = load_facts("builtin:counterfactual"), np.random.default_rng(0)
    words = np.array(sorted({word for text in facts["target"][:] for word in text.split()}))
    with ArrowWriter(path=str(path)) as writer:
        for start in range(0, n, PART):
            rows = min(PART, n - start)
            drawn, lengths = words[rng.integers(0, len(words), (2, rows, 4))], rng.integers(1, 5, (2, rows))
            texts = [
                [" ".join(w[:k]) for w, k in zip(*side, strict=True)] for side in zip(drawn, lengths, strict=True)
            ]
            prompts = [f"What is the name of item {i}?" for i in range(start, start + rows)]
            writer.write_batch({"prompt": prompts, "old_answer": texts[0], "target": texts[1]})
        writer.finalize()


def private_megabytes() -> float:
    """Memory of this process alone, without the pages of mapped files (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this kernel does not tell private from mapped memory")


def peak_megabytes(function: Callable[[], object]) -> tuple[object, float]:
    """What the function gives, and how far private memory rose above its start."""
    before, peak, done = private_megabytes(), 0.0, threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, private_megabytes())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        value = function()
    finally:
        done.set()
        thread.join()
    return value, max(peak, private_megabytes()) - before


def prepare() -> tuple[EmbeddingTable, object]:
    """Embedding table and tokenizer of the default model."""
    folder = resolve_model(DEFAULT_MODEL)
    return EmbeddingTable.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)


def reference(old: str, target: str, table: EmbeddingTable, tokenizer: object) -> float:
    """Eq. 1 for one pair, as it is written."""
    a, b = (FORM.completion_ids(tokenizer, [PromptFormat.cut(text)])[0] for text in (old, target))
    x, y = table.weight[a].double().mean(0), table.weight[b].double().mean(0)
    return float(1 - torch.dot(x, y) / (x.norm() * y.norm()))


def measure(path: Path) -> dict[str, float]:
    """Seconds and memory of add_distances on a file, in this process."""
    table, tokenizer = prepare()
    facts = Dataset.from_file(str(path))
    add_distances(facts.select(range(min(len(facts), 2048))), table, tokenizer, FORM)  # threads and caches are there
    start, cpu = time.perf_counter(), time.process_time()
    added, megabytes = peak_megabytes(lambda: add_distances(facts, table, tokenizer, FORM))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {
        "rows": len(facts),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "megabytes": round(megabytes, 1),
        "mean_distance": float(np.mean(added.data["distance"].to_numpy())),
    }


def as_lists(path: Path) -> dict[str, float]:
    """Memory of the same columns as Python lists with the token ids of every text, in this process."""
    _, tokenizer = prepare()
    facts = Dataset.from_file(str(path))

    def hold() -> object:
        texts = [PromptFormat.cut(text) for name in ("old_answer", "target") for text in facts[name][:]]
        return texts, FORM.completion_ids(tokenizer, list(dict.fromkeys(texts)))

    return {"megabytes_as_lists": round(peak_megabytes(hold)[1], 1)}


def compare(path: Path) -> dict[str, float]:
    """Processor seconds of the reference over those of add_distances on the same sample, alternating."""
    table, tokenizer = prepare()
    facts = Dataset.from_file(str(path)).select(range(SAMPLE))
    old, target = facts["old_answer"][:], facts["target"][:]
    ratios, rates, difference = [], [], 0.0
    add_distances(facts, table, tokenizer, FORM)  # threads and caches are there
    for _ in range(REPEATS):
        start = time.process_time()
        fast = np.asarray(add_distances(facts, table, tokenizer, FORM)["distance"][:])
        seconds = time.process_time() - start
        start = time.process_time()
        slow = np.array([reference(a, b, table, tokenizer) for a, b in zip(old, target, strict=True)])
        slow_seconds = time.process_time() - start
        ratios.append(slow_seconds / seconds)
        rates.append(SAMPLE / slow_seconds)
        difference = max(difference, float(np.abs(fast - slow).max()))
    return {
        "sample": SAMPLE,
        "repeats": REPEATS,
        "ratio_median": round(statistics.median(ratios), 1),
        "ratio_range": [round(min(ratios), 1), round(max(ratios), 1)],
        "reference_pairs_per_cpu_second": round(statistics.median(rates)),
        "largest_difference": difference,
    }


def in_a_process(what: str, path: Path) -> dict[str, float]:
    """One of the functions above in a fresh process."""
    command = [sys.executable, __file__, "--measure", what, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def sizes(rows: int) -> Iterator[int]:
    """A tenth of the rows, then all: time should grow with them, memory by 8 bytes a row."""
    yield from sorted({max(rows // 10, SAMPLE), rows})


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        function = {"measure": measure, "as_lists": as_lists, "compare": compare}[args.measure[0]]
        print(json.dumps(function(Path(args.measure[1]))))
        return
    found: dict[str, object] = {"runs": []}
    with tempfile.TemporaryDirectory() as folder:
        for rows in sizes(args.rows):
            path = Path(folder) / f"{rows}.arrow"
            write_pairs(rows, path)
            run = in_a_process("measure", path) | in_a_process("as_lists", path)
            found["runs"].append(run)
            memory = f"{run['megabytes']:.0f} MB (as lists {run['megabytes_as_lists']:.0f})"
            print(f"{rows} pairs: {run['seconds']:.1f} s, {memory}", flush=True)
        found["reference"] = in_a_process("compare", path)
    print(f"pair by pair on {SAMPLE}: {found['reference']}")
    found["environment"] = {
        **{module.__name__: module.__version__ for module in (torch, transformers, datasets, np)},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
