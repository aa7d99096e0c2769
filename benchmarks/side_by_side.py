"""What the side-by-side benchmarks share: alternating timings, their spread and ratios, peak memory, the JSON.

A side is a function that prepares one run and returns what is to be timed; what it prepares is outside the clock.
"""

import argparse
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from scipy.stats import bootstrap

from semantic_trainer.files import write_atomically
from semantic_trainer.models import DEFAULT_MODEL
from semantic_trainer.report.summary import describe_environment

OURS = "semantic-trainer"
QUICK_FACTS, QUICK_REPEATS = 20, 3
Side = Callable[[], Callable[[], object]]


def parser(description: str) -> argparse.ArgumentParser:
    """The options every benchmark has."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="20 facts, 1 epoch, 3 repeats")
    options.add_argument("--facts", type=int, help="how many facts")
    options.add_argument("--repeats", type=int, help="how many timings of each side")
    options.add_argument("--threads", type=int, help="default: as many as torch takes")
    options.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the base's weights")
    options.add_argument("--model", default=DEFAULT_MODEL, help="Hub id or folder")
    options.add_argument("--source", help="default: zsre_mend_1k.json in $DATA_DIR, else built-in facts")
    options.add_argument("--output", type=Path, help="JSON file; the sections of other benchmarks in it stay")
    return options


def settle(args: argparse.Namespace, facts: int, repeats: int) -> argparse.Namespace:
    """Fill in what was not given, and set the threads."""
    args.facts = args.facts or (QUICK_FACTS if args.quick else facts)
    args.repeats = args.repeats or (QUICK_REPEATS if args.quick else repeats)
    torch.set_num_threads(args.threads or torch.get_num_threads())
    return args


def alternate(sides: dict[str, Side], repeats: int, warm_up: int = 1) -> tuple[dict[str, list[float]], dict]:
    """Time the sides in turns, every other turn in reverse order: `(name -> seconds, name -> last result)`.

    What is there before a run is kept from the garbage collector meanwhile: collections that the timed work asks for
    (trainers do) would else go through everything that was imported.
    """
    seconds, results = {name: [] for name in sides}, {}
    for turn in range(warm_up + repeats):
        for name in list(sides)[:: -1 if turn % 2 else 1]:
            gc.unfreeze()
            gc.collect()
            run = sides[name]()
            gc.freeze()
            start = time.perf_counter()
            results[name] = run()
            elapsed = time.perf_counter() - start
            del run
            if turn >= warm_up:
                seconds[name].append(elapsed)
    gc.unfreeze()
    return seconds, results


def spread(values: Sequence[float]) -> dict[str, object]:
    """Median, quartiles and every value."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return {"median": median, "quartiles": [low, high], "all": list(values)}


def paired_ratio(upper: Sequence[float], lower: Sequence[float], seed: int = 0) -> dict[str, object]:
    """Median of the ratios of N pairs, and its percentile bootstrap 95 % interval (`None` for a single pair)."""
    ratios, interval = np.asarray(upper, dtype=float) / np.asarray(lower, dtype=float), None
    if len(ratios) > 1:
        drawn = bootstrap((ratios,), np.median, method="percentile", rng=np.random.default_rng(seed))
        interval = [float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)]
    return {"value": float(np.median(ratios)), "ci95": interval, "pairs": len(ratios)}


def scenario(
    name: str,
    measured: dict[str, Sequence[float]],
    ratio: tuple[str, str],
    at_least: float | None = None,
    at_most: float | None = None,
    unit: str = "s",
    **more: object,
) -> dict[str, object]:
    """One row of the table: what each side took, the ratio of two of them, and whether it is where it must be.

    `at_most` is for the interval's upper end, `at_least` for the ratio itself.
    """
    found = paired_ratio(measured[ratio[0]], measured[ratio[1]])
    upper_end = found["ci95"][1] if found["ci95"] else found["value"]
    bar = {"at_least": at_least} if at_least is not None else {"at_most": at_most}
    holds = found["value"] >= at_least if at_least is not None else upper_end <= at_most
    return {
        "name": name,
        "unit": unit,
        "measured": {side: spread(values) for side, values in measured.items()},
        "ratio": {"of": ratio[0], "to": ratio[1], **found, **bar, "holds": bool(holds)},
        **more,
    }


def in_child(function: Callable, *args: object) -> object:
    """What a module's function returns in a fresh process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def peak_above(function: Callable[[], object]) -> float:
    """How far, in MB, the process's resident memory rises above what it holds now; for a process of its own.

    Linux keeps the peak of a process's own pages, which can be set back; `ru_maxrss`, taken elsewhere, would start
    from what the parent process held.
    """
    status = Path("/proc/self/status")

    def held(key: str) -> float:
        if status.exists():
            line = next(line for line in status.read_text().splitlines() if line.startswith(key))
            return int(line.split()[1]) / 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)

    gc.collect()
    before = held("VmRSS:")
    if status.exists():
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins again from here
    function()
    return held("VmHWM:") - before


def ratio_text(ratio: dict) -> str:
    """`4.10 [3.95, 4.22]`."""
    interval = f" [{ratio['ci95'][0]:.2f}, {ratio['ci95'][1]:.2f}]" if ratio["ci95"] else ""
    return f"{ratio['value']:.2f}{interval}"


def _without_folder(value: object) -> object:
    """An option's value, of a path on this machine its name."""
    there = isinstance(value, (str, Path)) and Path(value).exists()
    return Path(value).name if there or isinstance(value, Path) else value


def report(name: str, args: argparse.Namespace, scenarios: list[dict], **more: object) -> None:
    """Print the rows, and with `--output` write them as this benchmark's section of the JSON, one for each dtype."""
    for row in scenarios:
        print(row["name"])
        for side, values in row["measured"].items():
            low, high = values["quartiles"]
            print(f"  {side:<42} {values['median']:9.3f} {row['unit']}  ({low:.3f} to {high:.3f})")
        ratio = row["ratio"]
        bar = f"at least {ratio['at_least']}" if "at_least" in ratio else f"at most {ratio['at_most']}"
        print(f"  {ratio['of']} / {ratio['to']}: {ratio_text(ratio)}, {bar}: {'yes' if ratio['holds'] else 'NO'}")
        print(f"  checks: {row.get('checks')}", flush=True)
    if args.output:
        sections = json.loads(args.output.read_text(encoding="utf-8")) if args.output.exists() else {}
        config = {key: _without_folder(value) for key, value in vars(args).items()}
        environment = {**describe_environment(), "load": os.getloadavg()}
        sections[name if args.dtype == "float32" else f"{name} {args.dtype}"] = {
            "config": config,
            "environment": environment,
            "scenarios": scenarios,
            **more,
        }
        text = json.dumps(sections, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomically(args.output, text.encode())
