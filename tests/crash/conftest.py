"""Processes that start in no time and may be killed, and what they are given."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from . import child

SECONDS = 120


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.BaseContext:
    """A server that has imported everything once and forks from there: a process starts in no time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "semantic_trainer.commands.run",
            "semantic_trainer.commands.output",
            "semantic_trainer.commands.study",
            child.__name__,
        ]
    )
    return context


@pytest.fixture(scope="module")
def start(processes: multiprocessing.context.BaseContext) -> Callable[..., multiprocessing.Process]:
    def begin(job: str, args: list, folder: Path, **options: object) -> multiprocessing.Process:
        process = processes.Process(target=child.work, args=(job, args, str(folder), str(folder / "terminal.txt")),
                                    kwargs=options)  # fmt: skip
        process.start()
        return process

    return begin


@pytest.fixture(scope="module")
def inputs(
    _tiny_llama: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str]:
    """`(facts, model)` on disk."""
    folder = tmp_path_factory.mktemp("inputs")
    _tiny_llama.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    cities = ["Rome", "Berlin", "Paris", "Lisbon", "Madrid", "Oslo"]
    rows = [
        {
            "prompt": f"What is the capital of land {i}?",
            "target": cities[i % 6],
            "paraphrases": [f"Which city is the seat of land {i}?"],
            "locality_prompts": [f"How many legs has spider {i}?"],
        }
        for i in range(12)
    ]
    (folder / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "facts.jsonl"), str(folder / "model")


def finish(process: multiprocessing.Process, folder: Path) -> None:
    process.join(SECONDS)
    assert process.exitcode == 0, (folder / "terminal.txt").read_text()[-3000:]


def kill_after(delay: float, process: multiprocessing.Process) -> str:
    process.join(delay)
    if process.exitcode is None:
        os.kill(process.pid, signal.SIGKILL)
    process.join(SECONDS)
    return f"after {delay:.2f} s"
