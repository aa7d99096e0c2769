"""SIGKILL at random moments: the same command with --resume ends as a run that nobody disturbed.

Half of the kills come after a random time, half at a random file operation of a stage. Each failure names its seed:
`pytest tests/crash -k seed-17 -m ''` does it again.
"""

import json
import multiprocessing
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import SECONDS, finish, kill_after

STAGES = {
    "answering": r"cache/answers",
    "training": r"out/checkpoints/(plain|weighted)/",
    "saving": r"out/checkpoints/\.?(plain|weighted)-adapter",
    "evaluating": r"cache/answers",
    "writing": r"out/(?!checkpoints)|out/checkpoints$",
}
SHORT, LONG = range(4), range(4, 40)


@pytest.fixture(scope="module")
def argv(inputs: tuple[str, str]) -> list[str]:
    facts, model = inputs
    options = {
        "facts": facts,
        "model": model,
        "dtype": "float32",
        "output_dir": "out",
        "threads": 1,
        "max_new_tokens": 9,
        "answer_batch_size": 6,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 3,
        "learning_rate": 0.01,
        "lora_r": 2,
        "lora_dropout": 0.1,  # a resume must find the random state again, too
        "save_strategy": "steps",
        "save_steps": 2,
        "save_total_limit": 2,
        "disable_tqdm": True,
        "use_cpu": True,
        "report_to": "none",
    }
    return ["run", *(part for name, value in options.items() for part in (f"--{name}", str(value)))]


def listing(folder: Path) -> list[str]:
    """Every file and folder of a run and of its cache; a lock is named after the run's folder."""
    roots = (folder / "out", folder / "cache")
    paths = (path.with_stem("lock") if path.suffix == ".lock" else path for root in roots for path in root.rglob("*"))
    return sorted(str(path.relative_to(folder)) for path in paths)


def outcome(folder: Path) -> dict[str, object]:
    """What a run must end with: tables, adapters and summary, but for the seconds and the commit of the last try."""
    out = folder / "out"
    summary = json.loads((out / "semantic_summary.json").read_text())
    del summary["environment"]["seconds"], summary["environment"]["commit"]
    files = ("facts.parquet", "adapter_model.safetensors", "plain/adapter_model.safetensors")
    return {"files": listing(folder), "summary": summary, **{name: (out / name).read_bytes() for name in files}}


class Unbroken:
    """The undisturbed run: what it leaves, how long it takes, and the file operations of its stages."""

    def __init__(self, folder: Path, start: Callable, argv: list[str]) -> None:
        log = folder / "writes.json"
        finish(start("command", [argv], folder, log=str(log)), folder)
        self.outcome, names = outcome(folder), json.loads(log.read_text())
        self.stages = {stage: [i for i, name in enumerate(names) if re.match(p, name)] for stage, p in STAGES.items()}
        trained = self.stages["saving"][0]
        self.stages["answering"] = [i for i in self.stages["answering"] if i < trained]
        self.stages["evaluating"] = [i for i in self.stages["evaluating"] if i > trained]
        again = folder / "again"  # timed without the log
        again.mkdir()
        began = time.perf_counter()
        finish(start("command", [argv], again), again)
        self.seconds = time.perf_counter() - began


@pytest.fixture(scope="module")
def unbroken(start: Callable, argv: list[str], tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    return Unbroken(tmp_path_factory.mktemp("unbroken"), start, argv)


def check(seed: int, start: Callable, argv: list[str], unbroken: Unbroken, folder: Path) -> None:
    """A kill, for every third seed a second one while going on, and the end."""
    rng, again = random.Random(seed), [*argv, "--resume"]
    if seed % 2:
        moments = [kill_after(rng.uniform(0, unbroken.seconds), start("command", [argv], folder))]
    else:
        stage = list(STAGES)[seed // 2 % len(STAGES)]
        number = rng.choice(unbroken.stages[stage])
        process = start("command", [argv], folder, kill_at=number)
        process.join(SECONDS)
        assert process.exitcode == -signal.SIGKILL
        moments = [f"{stage}, at file operation {number}"]
    if seed % 3 == 0:
        moments.append(kill_after(rng.uniform(0, unbroken.seconds), start("command", [again], folder)))
    print(f"seed {seed}: killed {'; then '.join(moments)}; a run takes {unbroken.seconds:.2f} s")
    finish(start("command", [again], folder), folder)
    for name, value in outcome(folder).items():
        assert value == unbroken.outcome[name], name


@pytest.mark.parametrize("seed", SHORT, ids="seed-{}".format)
def test_killed_and_gone_on_with(
    seed: int, start: Callable, argv: list[str], unbroken: Unbroken, tmp_path: Path
) -> None:
    check(seed, start, argv, unbroken, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", LONG, ids="seed-{}".format)
def test_killed_and_gone_on_with_many_times(
    seed: int, start: Callable, argv: list[str], unbroken: Unbroken, tmp_path: Path
) -> None:
    check(seed, start, argv, unbroken, tmp_path)


def prepare(start: Callable, inputs: tuple[str, str], folder: Path, **options: object) -> multiprocessing.Process:
    return start("script", [*inputs, "out"], folder, **options)


def prepared(folder: Path) -> dict[str, object]:
    names = ("prepared_facts.parquet", "adapter/adapter_model.safetensors")
    return {"files": listing(folder), **{name: (folder / "out" / name).read_bytes() for name in names}}


@pytest.mark.parametrize("seed", [100, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(101, 108))])
def test_killed_while_the_trainer_prepares_its_facts(
    seed: int, start: Callable, inputs: tuple[str, str], tmp_path: Path
) -> None:
    whole, broken, log = tmp_path / "whole", tmp_path / "broken", tmp_path / "whole" / "writes.json"
    whole.mkdir()
    broken.mkdir()
    finish(prepare(start, inputs, whole, log=str(log)), whole)
    writes = [
        i for i, name in enumerate(json.loads(log.read_text())) if re.match(r"cache/answers|out/\.?prepared", name)
    ]
    number = random.Random(seed).choice(writes)
    process = prepare(start, inputs, broken, kill_at=number)
    process.join(SECONDS)
    assert process.exitcode == -signal.SIGKILL
    print(f"seed {seed}: killed at file operation {number}, of {writes[0]} to {writes[-1]}")
    finish(prepare(start, inputs, broken), broken)
    assert prepared(broken) == prepared(whole)
