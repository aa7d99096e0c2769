"""`semantic-trainer run` under a launcher: one process's tables, kills, and what is refused."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow.parquet
import pytest

from semantic_trainer import SemanticTrainingArguments
from semantic_trainer.commands.arms import last_whole_checkpoint
from semantic_trainer.commands.output import OutputFolder
from semantic_trainer.distribution import gather, is_first, local_main_first, on_first, world

from . import jobs

ROOT = Path(__file__).parents[2]
SECONDS = 180


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model and a file of facts."""
    folder = tmp_path_factory.mktemp("inputs")
    jobs.tiny_llama().save_pretrained(folder / "model")
    jobs.TOKENIZER.save_pretrained(folder / "model")
    (folder / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in jobs.facts().to_list()))
    return folder


@pytest.fixture
def start(inputs: Path, tmp_path: Path) -> Callable[..., subprocess.Popen]:
    """Starts `run`, four rows a step over all processes, in its own process group and with a cache of its own."""

    def begin(name: str, processes: int, *flags: str) -> subprocess.Popen:
        launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
        options = {
            "facts": inputs / "facts.jsonl",
            "model": inputs / "model",
            "output_dir": tmp_path / name,
            "dtype": "float32",
            "threads": 1,
            "max_new_tokens": 8,
            "answer_batch_size": 3,
            "num_train_epochs": 3,
            "per_device_train_batch_size": 4 // processes,
            "learning_rate": 0.01,
            "lora_r": 2,
            "save_strategy": "steps",
            "save_steps": 2,
            "disable_tqdm": True,
            "report_to": "none",
        }
        argv = [part for key, value in options.items() for part in (f"--{key}", str(value))]
        command = [sys.executable, "-m", *(launcher if processes > 1 else []), "semantic_trainer.cli", "run"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "SEMANTIC_TRAINER_CACHE": str(tmp_path / f"{name}-cache")}
        with open(tmp_path / f"{name}.txt", "a") as terminal:
            return subprocess.Popen(
                [*command, *argv, *flags],
                cwd=ROOT,
                env=environment,
                stdout=terminal,
                stderr=terminal,
                start_new_session=True,
            )

    return begin


def finish(process: subprocess.Popen, terminal: Path) -> None:
    assert process.wait(SECONDS) == 0, terminal.read_text()[-3000:]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_launched_run_is_one_processs(start: Callable, tmp_path: Path) -> None:
    for name, processes in (("one", 1), ("two", 2)):
        finish(start(name, processes), tmp_path / f"{name}.txt")
    one, two = tmp_path / "one", tmp_path / "two"
    assert files(two) == files(one)
    tables = [pyarrow.parquet.read_table(folder / "facts.parquet").to_pydict() for folder in (one, two)]
    runs = [json.loads((folder / "semantic_summary.json").read_text())["runs"] for folder in (one, two)]
    for arm in ("plain", "weighted"):  # divergences and losses show the last bits of the weights, answers do not
        losses = [[v for row in table.pop(f"{arm}_losses") for v in row] for table in tables]
        assert losses[1] == pytest.approx(losses[0], rel=1e-5)
        divergences = [[v for row in table.pop(f"{arm}_next_token_kl") for v in row] for table in tables]
        assert divergences[1] == pytest.approx(divergences[0], rel=1e-3)
        assert runs[1][arm].pop("next_token_kl")["n"] == runs[0][arm].pop("next_token_kl")["n"] == 11
    assert tables[0] == tables[1]
    assert runs[0] == runs[1]
    printed = (tmp_path / "two.txt").read_text()
    assert printed.count("11 facts, two runs of") == 1  # one process speaks
    assert printed.count("Knowledge accuracy") == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_launched_run_goes_on_after_a_kill(seed: int, start: Callable, tmp_path: Path) -> None:
    began = time.perf_counter()
    finish(start("unbroken", 2), tmp_path / "unbroken.txt")
    delay = random.Random(seed).uniform(0.3, 1.0) * (time.perf_counter() - began)
    process = start("killed", 2)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        workers = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
        for worker in workers:  # they live in sessions of their own, and would outlive the launcher
            worker.kill()
        process.wait(SECONDS)
    print(f"seed {seed}: killed after {delay:.1f} s; there was {files(tmp_path / 'killed')}")
    finish(start("killed", 2, "--resume"), tmp_path / "killed.txt")
    killed, unbroken = tmp_path / "killed", tmp_path / "unbroken"
    assert (killed / "facts.parquet").read_bytes() == (unbroken / "facts.parquet").read_bytes()
    assert files(killed) == files(unbroken)


@pytest.mark.slow
def test_fewer_facts_than_processes_are_refused_before_anything_is_written(
    start: Callable, inputs: Path, tmp_path: Path
) -> None:
    one = tmp_path / "one.jsonl"
    one.write_text((inputs / "facts.jsonl").read_text().partition("\n")[0])
    assert start("few", 2, "--facts", str(one)).wait(SECONDS) != 0
    assert "`facts` has 1 row for 2 processes" in (tmp_path / "few.txt").read_text()
    assert not (tmp_path / "few").exists()


def test_another_number_of_processes_is_another_run(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir(parents=True)
    (tmp_path / "run_config.json").write_text('{"processes": 2}')
    with pytest.raises(ValueError, match=r"other options: processes \(was 2, is 1\)"):
        OutputFolder(tmp_path, {"processes": 1}).prepare(resume=True, overwrite=False)


def test_a_folder_in_use_is_refused(tmp_path: Path, cache: Path) -> None:
    first, second = OutputFolder(tmp_path / "out", {}), OutputFolder(tmp_path / "out", {})
    with first.held():
        with pytest.raises(ValueError, match=r"out' is being written to by another process.*choose another"):
            second.held().__enter__()
        with OutputFolder(tmp_path / "other", {}).held():
            pass
    with second.held():
        assert not (tmp_path / "out").exists()  # the lock lies in the cache


def test_fsdp_that_would_be_ddp_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`fsdp` was asked for, but on a CPU .* plain DDP"):
        SemanticTrainingArguments(str(tmp_path), fsdp="full_shard", use_cpu=True)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")  # what `accelerate launch --use_fsdp` sets
    with pytest.raises(ValueError, match="`--use_fsdp` of `accelerate launch`"):
        SemanticTrainingArguments(str(tmp_path), use_cpu=True)


def test_a_checkpoint_needs_every_processs_random_state(tmp_path: Path) -> None:
    import torch

    for step in (2, 4):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text("{}")
        torch.save({}, folder / "rng_state_0.pth")
    torch.save({}, tmp_path / "checkpoint-2" / "rng_state_1.pth")
    (tmp_path / "checkpoint-4" / "rng_state_1.pth").write_bytes(b"PK")  # cut short
    assert last_whole_checkpoint(tmp_path, processes=2) == str(tmp_path / "checkpoint-2")
    assert not (tmp_path / "checkpoint-4").exists()


def test_alone_everything_is_a_no_op() -> None:
    assert world() == (0, 1)
    assert is_first()
    assert gather([1, 2]) == [1, 2]
    assert on_first(max, 3, 5) == 5
    with pytest.raises(ZeroDivisionError), local_main_first():
        on_first(lambda: 1 / 0)
