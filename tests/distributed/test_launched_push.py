"""Two processes answer, publish once, and take over what was published."""

import json
import subprocess
from pathlib import Path

import pytest

from ..hub.server import environment, serve
from . import jobs
from .launch import ROOT, TWO


@pytest.mark.slow
def test_two_processes_publish_once_and_take_over(tmp_path: Path) -> None:
    jobs.tiny_llama().save_pretrained(tmp_path / "model")
    jobs.TOKENIZER.save_pretrained(tmp_path / "model")
    facts = tmp_path / "facts.jsonl"
    facts.write_text("".join(json.dumps(row) + "\n" for row in jobs.facts().to_list()))
    options = {
        **{"model": tmp_path / "model", "output_dir": tmp_path / "out", "base_model": "org/base", "threads": 1},
        **{"max_new_tokens": 8, "answer_batch_size": 3, "dtype": "float32", "use_cpu": "true"},
    }

    def distances(source: object, target: str, home: str) -> str:
        argv = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
        command = [*TWO, "-m", "semantic_trainer.cli", "distances", "--facts", str(source), "--push", target, *argv]
        env = environment(hub, tmp_path / home) | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-4000:]
        assert done.stdout.count(f"Published {target}") == 1
        return done.stderr

    with serve() as hub:
        assert "taken over" not in distances(facts, "org/one", "first")
        n = len(jobs.facts())
        assert f"the old answers of {n} facts came with them, and are taken over" in distances(
            "org/one", "org/two", "second"
        )
        assert sum("/commit/" in asked for asked in hub.asked) == 2
        one, two = (hub.repos[f"datasets/org/{name}"]["main"]["facts.parquet"] for name in ("one", "two"))
        assert one == two
