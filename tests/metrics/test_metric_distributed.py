"""Two processes of one evaluation: each adds its rows, process 0 scores them all."""

import multiprocessing
from pathlib import Path
from queue import Queue

import evaluate
import pytest

ROOT = Path(__file__).parents[2]
CASES = {
    "generality": (
        [(["Rome", "Pisa"], ["Rome", ["Rome", "Roma"]]), (["Oslo"], [["Oslo"]])],
        {"groups": ["Italy", "Italy", "Norway"]},
    ),
    "locality": ([(["Eight"], ["Eight"]), ([], [])], {"match": "normalized"}),
    "deviation": ([([0.75, 0.25], [0.5, 0.5]), ([0.5], [0.0])], {}),
}


def worker(rank: int, rows: str, results: Queue) -> None:
    """Score every case in one process of two, and send what it got."""
    found = {}
    for name, (shares, options) in CASES.items():
        metric = evaluate.load(
            str(ROOT / "metrics" / name), num_process=2, process_id=rank, experiment_id="two", cache_dir=rows
        )
        predictions, references = shares[rank]
        found[name] = metric.compute(predictions=predictions, references=references, **options)
    results.put((rank, found))


def test_two_processes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=worker, args=(rank, str(tmp_path), results)) for rank in range(2)]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=240) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert found[1] == dict.fromkeys(CASES)
    assert found[0] == {
        "generality": {"generality": 0.75},
        "locality": {"locality": 1.0},
        "deviation": {
            "deviation": pytest.approx(2 / 3),
            "deviation_in_bad": pytest.approx(2 / 3),
            "relative_deviation": 0.5,
            "undefined": 1,
        },
    }
