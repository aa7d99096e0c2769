"""Time load_facts on a JSONL file of a million facts, each in a process of its own, and its peak memory.

    python benchmarks/readers.py [--rows 1000000]

Prints seconds and peak memory for rows of `prompt` and `target`, and for rows with a subject, a relation and two
paraphrases. The seconds are those of load_facts, without imports; the memory is all of the process.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

LOAD = """
import json, resource, sys, time
from semantic_trainer import load_facts
start = time.perf_counter()
facts = load_facts(sys.argv[1])
seconds = time.perf_counter() - start
assert "torch" not in sys.modules, "torch was loaded"
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
print(json.dumps({"rows": len(facts), "seconds": seconds, "megabytes": peak, "last": facts[-1]["prompt"]}))
"""


def plain_rows(n: int) -> Iterator[dict]:
    """Facts of two columns."""
    return ({"prompt": f"What is the capital of land {i}?", "target": f"City {i}"} for i in range(n))


def full_rows(n: int) -> Iterator[dict]:
    """The same facts with what a fact set usually carries."""
    for i, row in enumerate(plain_rows(n)):
        paraphrases = [f"Which city is the seat of land {i}?", f"Where does land {i} have its capital?"]
        yield {**row, "subject": f"land {i}", "relation": "capital", "paraphrases": paraphrases}


def measure(rows: Iterator[dict], folder: Path) -> dict[str, object]:
    """Write the rows, load them in a fresh process, and return its row count, seconds and peak megabytes."""
    path = folder / "facts.jsonl"
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    done = subprocess.run([sys.executable, "-c", LOAD, str(path)], capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def main() -> None:
    """Measure both kinds of rows, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    n = parser.parse_args().rows
    for name, rows in (("prompt, target", plain_rows(n)), ("with subject, relation, paraphrases", full_rows(n))):
        with tempfile.TemporaryDirectory() as folder:
            found = measure(rows, Path(folder))
        print(f"{found['rows']} rows, {name}: {found['seconds']:.1f} s, {found['megabytes']:.0f} MB peak")


if __name__ == "__main__":
    main()
