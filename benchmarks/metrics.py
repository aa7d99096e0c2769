"""Time the metrics on 1,000,000 rows, beside a metric that takes the same rows and scores nothing.

    python benchmarks/metrics.py [ROWS]

evaluate writes all rows to an Arrow file and reads them again; what is ours is the difference to the trivial metric.
Printed are seconds of this process on a processor, which other work on the machine hardly moves, and ratios.
"""

import sys
import time
from pathlib import Path

sys.path.remove(str(Path(__file__).parent))  # evaluate.py beside this file is not the library

import datasets
import evaluate
import numpy as np

ROOT = Path(__file__).parents[1]


class Trivial(evaluate.Metric):
    """Takes what the configuration says, texts with lists of texts or numbers, and counts it."""

    def _info(self) -> evaluate.MetricInfo:
        kind = datasets.Value("string" if self.config_name == "texts" else "float64")
        references = [kind] if self.config_name == "texts" else kind
        return evaluate.MetricInfo("Counts rows.", "", datasets.Features(predictions=kind, references=references))

    def _compute(self, predictions: list, references: list) -> dict[str, int]:
        return {"rows": len(predictions) + len(references)}


def seconds(metric: evaluate.EvaluationModule, **inputs: object) -> float:
    """Processor time of one compute()."""
    start = time.process_time()
    metric.compute(**inputs)
    return time.process_time() - start


def texts(n: int) -> tuple[list[str], list[list[str]]]:
    """Answers as models give them, quoted or with a second line, and one or two targets each."""
    rng = np.random.default_rng(0)
    names = [f"Person {i % 997} of Town {i % 1009}" for i in range(n)]
    shapes = ("{}", '"{}".', "{}.\nIt is", "It is {}")
    answers = [shapes[k].format(name) for k, name in zip(rng.integers(0, 4, n), names, strict=True)]
    return answers, [[name, name[:8]][: 1 + i % 2] for i, name in enumerate(names)]


def main() -> None:
    """Time each metric and match on the same rows."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    answers, targets = texts(n)
    rows = {"predictions": answers, "references": targets}
    base = seconds(Trivial(config_name="texts"), **rows)
    print(f"{n:,} rows; a metric that scores nothing: {base:.1f} s on texts")
    metric = evaluate.load(str(ROOT / "metrics" / "generality"))
    mixed = [row[0] if len(row) == 1 else row for row in targets]
    for match in ("strict", "normalized", "contains"):
        total = seconds(metric, predictions=answers, references=mixed, groups=[i // 3 for i in range(n)], match=match)
        print(f"{match}: {total:.1f} s, {total - base:.1f} s beyond it, ratio {total / base:.2f}")
    new, old = np.random.default_rng(0).uniform(0, 2, (2, n)).tolist()
    base = seconds(Trivial(config_name="numbers"), predictions=new, references=old)
    total = seconds(evaluate.load(str(ROOT / "metrics" / "deviation")), predictions=new, references=old)
    print(f"deviation: {total:.1f} s, {total - base:.1f} s beyond {base:.1f} s, ratio {total / base:.2f}")


if __name__ == "__main__":
    main()
