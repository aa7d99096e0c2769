"""SIGKILL at random moments of a study: the same command again ends with the tables of one that nobody disturbed."""

import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml

from .conftest import SECONDS, finish, kill_after

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def recipe(inputs: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two settings, two arms and a filter, two runs each, all measures, tables and pictures."""
    facts, model = inputs
    options = {
        "facts": Path(facts).name,
        "model": model,
        "dtype": "float32",
        "use_cpu": True,
        "tables": ["table1", "table2", "table3"],
        "figures": ["figure3", "figure5"],
        "measures": ["spectra", "features"],
        "max_new_tokens": 9,
        "answer_batch_size": 6,
        "per_device_train_batch_size": 2,
        "learning_rate": 0.01,
        "lora_r": 2,
        "lora_dropout": 0.1,
        "runs": 2,
        "facts_per_run": 4,
        "settings": [
            {"name": "lora", "arms": ["plain", "shuffled", "filter exclude_flagged=false"]},
            {"name": "adalora", "method": "adalora", "arms": ["plain", "paper"]},
        ],
    }
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(yaml.safe_dump(options))
    return str(path)


@pytest.fixture(scope="module")
def argv(recipe: str, inputs: tuple[str, str]) -> list[str]:
    return ["study", "--config", recipe, "--data_dir", str(Path(inputs[0]).parent), "--output_dir", "out"]


def outcome(folder: Path) -> dict[str, object]:
    """Tables, figures, features, and results without machine and seconds; nothing else may be left."""
    found = {}
    for path in sorted(path for path in (folder / "out").rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        found[name] = path.read_bytes()
        if path.suffix == ".json":
            found[name] = {k: v for k, v in json.loads(found[name]).items() if k != "environment"}
    return found


@pytest.fixture(scope="module")
def unbroken(start: Callable, argv: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, list[int]]:
    """What it ends with, and the numbers of its file operations."""
    folder = tmp_path_factory.mktemp("unbroken")
    log = folder / "writes.json"
    finish(start("command", [argv], folder, log=str(log)), folder)
    found, names = outcome(folder), json.loads(log.read_text())
    assert len(found) == 2 * 2 * (3 + 2) + 2 * 3 + 5 + 6
    return found, [i for i, name in enumerate(names) if name.startswith(("out/", "cache/answers"))]


def check_file_operation(seed: int, start: Callable, argv: list[str], unbroken: tuple, folder: Path) -> None:
    """Kill at a random file operation of the answers or the results, then let it end."""
    folder.mkdir()
    number = random.Random(seed).choice(unbroken[1])
    process = start("command", [argv], folder, kill_at=number)
    process.join(SECONDS)
    assert process.exitcode == -signal.SIGKILL, f"file operation {number}"
    finish(start("command", [argv], folder), folder)
    assert outcome(folder) == unbroken[0], f"killed at file operation {number}"


def test_killed_at_a_file_operation(start: Callable, argv: list[str], unbroken: tuple, tmp_path: Path) -> None:
    check_file_operation(0, start, argv, unbroken, tmp_path / "0")


@pytest.mark.slow
def test_killed_at_ten_file_operations(start: Callable, argv: list[str], unbroken: tuple, tmp_path: Path) -> None:
    for seed in range(1, 11):
        check_file_operation(seed, start, argv, unbroken, tmp_path / str(seed))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_ten_moments(
    workers: int, start: Callable, argv: list[str], unbroken: tuple, tmp_path: Path
) -> None:
    rng, more, began = random.Random(workers), [*argv, "--workers", str(workers)], time.perf_counter()
    finish(start("command", [more], tmp_path), tmp_path)
    seconds = time.perf_counter() - began
    for kill in range(10):
        folder = tmp_path / str(kill)
        folder.mkdir()
        process = start("command", [more], folder)
        print(f"killed {kill_after(rng.uniform(0.1, 0.95) * seconds, process)}, exit code {process.exitcode}")
        finish(start("command", [more], folder), folder)
        assert outcome(folder) == unbroken[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        [["--workers", "2"]],
        [["--shard", "1/2"], ["--shard", "0/2", "--workers", "2"]],
        [["--executor", "ray", "--workers", "2"]],
    ],
    ids=["workers", "shards", "ray"],
)
def test_workers_shards_and_ray_make_no_difference(
    flags: list[list[str]], start: Callable, argv: list[str], unbroken: tuple, tmp_path: Path
) -> None:
    if "ray" in flags[0]:
        pytest.importorskip("ray")
    for more in flags:
        finish(start("command", [[*argv, *more]], tmp_path), tmp_path)
    assert outcome(tmp_path) == unbroken[0]


def workers_of(process: multiprocessing.Process) -> list[psutil.Process]:
    """The processes that a study of two workers has started, once there are two."""
    until = time.time() + 60
    while len(found := psutil.Process(process.pid).children(recursive=True)) < 2 and time.time() < until:
        time.sleep(0.1)
    assert len(found) >= 2
    return found


@pytest.mark.slow
def test_workers_end_with_the_process_that_started_them(start: Callable, argv: list[str], tmp_path: Path) -> None:
    process = start("command", [[*argv, "--workers", "2", "--runs", "99"]], tmp_path)
    workers = workers_of(process)
    os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


@pytest.mark.slow
def test_a_killed_worker_is_said(start: Callable, argv: list[str], tmp_path: Path) -> None:
    process = start("command", [[*argv, "--workers", "2", "--runs", "99"]], tmp_path)
    workers_of(process)[-1].kill()
    process.join(SECONDS)
    assert process.exitcode == 2
    assert "a worker was killed" in (tmp_path / "terminal.txt").read_text()
