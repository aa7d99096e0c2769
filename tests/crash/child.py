"""What a process does that is about to be killed: one job, and a count of its file operations."""

import json
import os
import signal
import sys
from pathlib import Path

import torch

# Audit events of what changes a file or a folder; the rest of an event's arguments does not matter.
WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}


def count_writes(folder: Path, kill_at: int | None, log: Path | None) -> None:
    """Write the name of every file operation below `folder` to `log`; the process kills itself at number `kill_at`."""
    names: list[str] = []

    def hook(event: str, args: tuple) -> None:
        opened = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
        if not (opened or event in WRITES) or not isinstance(args[0], (str, os.PathLike)):
            return
        path = os.path.abspath(os.fspath(args[0]))
        if not path.startswith(str(folder)) or path == str(log):
            return
        if len(names) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        names.append(os.path.relpath(path, folder))
        if log:
            log.write_text(json.dumps(names))

    sys.addaudithook(hook)


def command(argv: list[str]) -> int:
    from semantic_trainer.cli import main

    return main(argv)


def script(facts: str, model: str, out: str) -> int:
    """A user's own training, which goes on from its checkpoints if there are any."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
    from transformers.trainer_utils import get_last_checkpoint

    from semantic_trainer import SemanticTrainingArguments, SemanticWeightedTrainer, load_facts

    set_seed(3)
    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(model), LoraConfig(r=2, task_type="CAUSAL_LM"))
    fixed = {"use_cpu": True, "disable_tqdm": True, "report_to": "none", "save_strategy": "no", "max_new_tokens": 9}
    args = SemanticTrainingArguments(
        out, gamma=1.0, num_train_epochs=1, answer_batch_size=3, prompt_format="cloze", **fixed
    )
    trainer = SemanticWeightedTrainer(
        tuned, args, train_dataset=load_facts(facts), processing_class=AutoTokenizer.from_pretrained(model)
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(out))
    tuned.save_pretrained(Path(out) / "adapter")
    return 0


JOBS = {"command": command, "script": script}


def work(job: str, args: list, folder: str, output: str, kill_at: int | None = None, log: str | None = None) -> None:
    """Do a job in a process of its own; what it prints goes to the file `output`, its exit code is the process's."""
    terminal = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(terminal, 1)
    os.dup2(terminal, 2)
    os.environ["SEMANTIC_TRAINER_CACHE"] = str(Path(folder) / "cache")
    os.chdir(folder)
    torch.set_num_threads(1)
    count_writes(Path(folder), kill_at, Path(log) if log else None)
    sys.exit(JOBS[job](*args))
