"""Simulate how often each test cries wolf, and how often each 95 % interval covers the truth.

    python benchmarks/type_one_error.py [--simulations 1000] [--output results/type_one_error.json]

About 10 minutes on one core. Facts have unequal difficulty, `p ~ Beta(2 base, 2 (1 - base))`; `rows` is one answer a
fact, `means` the mean of three that agree more often than chance, because each run learns a fact well or badly as a
whole (the rows are clustered).
"""

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby, product
from operator import itemgetter
from pathlib import Path

import numpy as np
from scipy import stats

from semantic_trainer.evaluation import statistics
from semantic_trainer.evaluation.comparison import paired_facts, paired_runs
from semantic_trainer.evaluation.significance import holm, mcnemar, paired_interval
from semantic_trainer.files import write_atomically
from semantic_trainer.report.summary import describe_environment

ALPHA, RESAMPLES, ROWS, SEED = 0.05, 1_000, 3, 0
SIZES, BASES, SHIFT = (10, 30, 100), (0.1, 0.5, 0.9), 0.1
RUN_TESTS = {"paired t-test over runs": "t", "sign-flip over runs": "sign_flip"}
TOGETHER = {"n": 100, "kind": "rows", "base": 0.5, "group": 10}


def draw_facts(rng: np.random.Generator, kind: str, n: int, base: float, shift: float = 0.0, group: int = 1) -> tuple:
    """Scores of two runs on the same n facts, each (n, rows); facts of one group are learnt well or badly together.

    `shift` is at most 0.25, so that `p + 4 shift p (1 - p)` stays a probability.
    """
    easy = rng.beta(2 * base, 2 * (1 - base), n)
    rows = 1 if kind == "rows" else ROWS
    sides = []
    for p in (easy, easy + 4 * shift * easy * (1 - easy)):
        if kind == "means":
            p = rng.beta(4 * p + 1e-9, 4 * (1 - p) + 1e-9)
        if group > 1:
            push = np.repeat(rng.normal(0, 0.25, -(-n // group)), group)[:n]
            p = np.clip(p + push, 0, 1)
        sides.append((rng.random((n, rows)) < p[:, None]).astype(float))
    return tuple(sides)


def true_difference(base: float, shift: float) -> float:
    """The mean over the Beta of `4 shift p (1 - p)`."""
    return 4 * shift * base * (1 - base) * 2 / 3


def draw_runs(rng: np.random.Generator, n: int) -> tuple[list[dict], list[dict]]:
    """Accuracy of two arms in n runs of 100 facts; a run's facts and seed move both arms together."""
    luck, shared = rng.beta(5, 5, n), rng.normal(0, 0.05, (2, n))
    found = rng.binomial(100, np.clip(luck + shared, 0, 1)) / 100
    return tuple([{"value": float(v), "protocol": "simulated"} for v in side] for side in found)


def facts_p(rng: np.random.Generator, **design: object) -> float:
    """The p-value of two runs that do not differ."""
    return paired_facts(*draw_facts(rng, **design), "", "").p_value


def runs_p(rng: np.random.Generator, n: int, test: str) -> float:
    """The p-value of two arms that do not differ, over n runs."""
    return paired_runs(*draw_runs(rng, n), test).p_value


def family_p(rng: np.random.Generator, n: int) -> float:
    """Smallest Holm-corrected p-value of four metrics; the first two share answers."""
    a, b = draw_facts(rng, "means", n, 0.5)
    pairs = [(a[:, :1], b[:, :1]), (a, b), draw_facts(rng, "means", n, 0.5), draw_facts(rng, "rows", n, 0.5)]
    return min(holm([paired_facts(*pair, "", "").p_value for pair in pairs]))


def pooled_p(rng: np.random.Generator, n: int) -> float:
    """What a test would say that takes every answer for a unit of its own."""
    return mcnemar(*(side.ravel() for side in draw_facts(rng, "means", n, 0.5)))


def false_alarms(simulations: int, p_value: Callable[..., float], **design: object) -> float:
    """Share of p < 0.05 among seeded simulations without a difference."""
    rng = np.random.default_rng(SEED)
    return sum(p_value(rng, **design) < ALPHA for _ in range(simulations)) / simulations


def type_one_rows(simulations: int) -> Iterator[dict]:
    """False alarms of every test, of Holm's family, and of two tests with a wrong unit."""

    def row(name: str, data: str, p_value: Callable[..., float], /, **design: object) -> dict:
        return {"test": name, "data": data, "n": design["n"], "share": false_alarms(simulations, p_value, **design)}

    for kind, test in (("rows", "McNemar's exact test"), ("means", "sign-flip over facts")):
        for n, base in product(SIZES, BASES):
            yield row(test, f"{kind}, base {base}", facts_p, n=n, kind=kind, base=base)
    for (name, test), n in product(RUN_TESTS.items(), (3, 5, 10, 30)):
        yield row(name, "runs of 100 facts", runs_p, n=n, test=test)
    yield row("Holm, any of four metrics", "rows and means, base 0.5", family_p, n=100)
    yield row("wrong unit: McNemar over single answers", "means, base 0.5", pooled_p, n=100)
    yield row("wrong unit: McNemar over facts", "rows, ten facts learnt together", facts_p, **TOGETHER)


def coverage(
    draw: Callable[..., tuple], truth: float, methods: dict[str, Callable], simulations: int
) -> dict[str, float]:
    """Share of seeded simulations in which each method's interval holds the truth."""
    rng, hits = np.random.default_rng(SEED), dict.fromkeys(methods, 0)
    for _ in range(simulations):
        a, b = draw(rng)
        for name, method in methods.items():
            low, high = method(a, b)
            hits[name] += bool(low - 1e-12 <= truth <= high + 1e-12)
    return {name: count / simulations for name, count in hits.items()}


def bootstrap(values: np.ndarray, method: str) -> tuple[float, float]:
    """scipy's bootstrap of a mean; equal values have a point for an interval."""
    if np.ptp(values) == 0:
        return values[0], values[0]
    options = {"n_resamples": RESAMPLES, "batch": 500, "method": method, "rng": np.random.default_rng(SEED)}
    return tuple(stats.bootstrap((values,), np.mean, **options).confidence_interval)


def coverage_rows(simulations: int) -> Iterator[dict]:
    """Coverage of intervals of a difference, and of one run's mean per fact."""
    difference = {
        "used": lambda a, b: paired_interval(b.mean(1) - a.mean(1)),
        "percentile": lambda a, b: bootstrap(b.mean(1) - a.mean(1), "percentile"),
        "BCa": lambda a, b: bootstrap(b.mean(1) - a.mean(1), "BCa"),
    }
    mean = {
        "used": lambda a, b: statistics.score(a, "")["ci95"],
        "percentile": lambda a, b: bootstrap(a.mean(1), "percentile"),
        "BCa": lambda a, b: bootstrap(a.mean(1), "BCa"),
    }
    for kind, n, base in product(("rows", "means"), SIZES, BASES):
        one = {"kind": kind, "base": base, "n": n}
        for shift in (0.0, SHIFT):
            truth, draw = true_difference(base, shift), partial(draw_facts, kind=kind, n=n, base=base, shift=shift)
            yield {"of": "difference", **one, "truth": truth, **coverage(draw, truth, difference, simulations)}
        draw = partial(draw_facts, kind=kind, n=n, base=base)
        yield {"of": "mean", **one, "truth": base, **coverage(draw, base, mean, simulations)}


def markdown(result: dict) -> list[str]:
    """The two tables of docs/comparing.md: per test and size the largest share, per interval the range of coverage."""
    lines = ["| test | facts or runs | false alarms at most |", "|---|---|---|"]
    key = itemgetter("test", "n")
    for (test, n), rows in groupby(sorted(result["type_one_error"], key=key), key):
        lines.append(f"| {test} | {n} | {100 * max(row['share'] for row in rows):.1f} % |")
    lines += ["", "| of | facts | used here | percentile bootstrap | BCa bootstrap |", "|---|---|---|---|---|"]
    key = itemgetter("of", "kind", "n")
    for (of, kind, n), rows in groupby(sorted(result["coverage"], key=key), key):
        shares = zip(*([row[name] for name in ("used", "percentile", "BCa")] for row in rows), strict=True)
        ranges = (f"{100 * min(share):.1f}–{100 * max(share):.1f} %" for share in shares)
        lines.append(f"| {of}, {kind} | {n} | {' | '.join(ranges)} |")
    return lines


def main() -> None:
    """Simulate, print line by line, then the tables, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1_000)
    parser.add_argument("--output", type=Path, default=Path("results/type_one_error.json"))
    args = parser.parse_args()
    statistics.RESAMPLES = RESAMPLES
    tables = {}
    for name, rows in (("type_one_error", type_one_rows), ("coverage", coverage_rows)):
        tables[name] = []
        for row in rows(args.simulations):
            tables[name].append(row)
            print(json.dumps(row), flush=True)
    config = {"simulations": args.simulations, "resamples": RESAMPLES, "seed": SEED, "alpha": ALPHA}
    result = {"config": config, "environment": describe_environment(), **tables}
    print("\n".join(markdown(result)))
    write_atomically(args.output, (json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
