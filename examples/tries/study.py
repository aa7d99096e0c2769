"""Further tries at teaching more facts or at disturbing less, on the dev half.

    python examples/tries/study.py --config examples/tries/dev.yaml --data_dir DATA [--shard I/N]

An arm is named KIND-STRENGTH, with anything behind a further hyphen; one named after its weighting is just that. What
is there already is not made again.
"""

import shlex
import sys
from functools import partial
from pathlib import Path

import torch
from datasets import Dataset
from tqdm.auto import tqdm
from trainers import SoftDistanceTrainer, refreshed, with_rehearsal

from semantic_trainer.commands.recipe import read_recipe
from semantic_trainer.evaluation.record import BaseRecord
from semantic_trainer.study.arms import Arm
from semantic_trainer.study.pool import Pool
from semantic_trainer.study.results import Unit, is_finished
from semantic_trainer.study.runner import Study, parse_shard, shard_of
from semantic_trainer.study.worker import Worker
from semantic_trainer.training.teaching import Taught
from semantic_trainer.training.training_args import SemanticTrainingArguments

# kind -> its weighting
BASES = {"soft": "none", "refreshed": "paper", "rehearsal": "none", "mixed": "none", "filtered": "self_paced"}


def kind_of(arm: Arm) -> tuple[str, float]:
    """Kind and strength in an arm's name.

    Raises:
        ValueError: there is no such kind, or no strength.
    """
    kind, *rest = arm.name.split("-")
    if kind == arm.base:
        return kind, 0.0
    try:
        strength = float(rest[0])
    except (IndexError, ValueError):
        strength = None
    if kind not in BASES or strength is None:
        raise ValueError(f"`arms` {arm.name!r} is no try. Use {' or '.join(BASES)} with a strength: soft-1.")
    weighting = arm.training.get("weighting", arm.weighting)
    if weighting != BASES[kind]:
        raise ValueError(f"`arms` {arm.name!r} weighs by {weighting!r}, but is to weigh by {BASES[kind]!r}.")
    if kind == "filtered" and not (arm.filters and strength == arm.replace_share):
        raise ValueError(f"`arms` {arm.name!r}: its strength is the share of an arm as in: filter replace_share=0.4")
    return kind, strength


class TryWorker(Worker):
    """Trains an arm as its name says, and writes down what it was."""

    def _run(self, unit: Unit, pool: Pool, scratch: str) -> dict[str, object]:
        kind, strength = kind_of(unit.arm)
        return super()._run(unit, pool, scratch) | {"try": {"kind": kind, "strength": strength}}

    def _score(
        self, unit: Unit, pool: Pool, tuned: torch.nn.Module, facts: Dataset, record: BaseRecord
    ) -> dict[str, list]:
        return super()._score(unit, pool, tuned, facts.remove_columns("portability"), record)  # no table shows it

    def _train(self, unit: Unit, pool: Pool, facts: Dataset, args: SemanticTrainingArguments) -> Taught:
        kind, strength = kind_of(unit.arm)
        more = {}
        if kind == "soft":
            table = pool.table.weight
            more["trainer"] = partial(SoftDistanceTrainer, strength=strength, table=table)
        elif kind == "refreshed":
            more["trainer"] = partial(refreshed, pool, facts, strength)
        elif kind in ("rehearsal", "mixed"):
            facts, args = with_rehearsal(pool, facts, strength, args, grow=kind == "rehearsal")
        taught = super()._train(unit, pool, facts, args, **more)
        taught.history.worst = taught.history.worst[:, : unit.setting.per_run]  # rehearsed rows are not asked
        return taught


def main(argv: list[str]) -> None:
    """Make the runs of this shard that are not there yet."""
    settings, options, folder = read_recipe(argv)
    if options.only_tables:
        raise ValueError("`only_tables` writes tables, which `semantic-trainer study` does with the same options")
    if options.workers != 1:
        raise ValueError(
            f"`workers` is {options.workers}, but this is one. Start it twice: --shard 0/2 and --shard 1/2"
        )
    for setting in settings:
        for arm in setting.arms:
            kind_of(arm)
    study = Study(settings, folder, options.data_dir, options.threads or 1)
    worker = TryWorker(*study.options)
    failed = []
    for unit in tqdm([u for u in shard_of(study.units(), parse_shard(options.shard)) if not is_finished(u, folder)]):
        try:
            worker.run(unit)
        except ValueError as error:  # a training that failed: the others go on
            failed.append(str(error))
    if failed:
        raise SystemExit("\n".join(failed))
    command = shlex.join(["semantic-trainer", "study", *argv, "--only_tables", "true"])
    print(f"runs are in {folder}; their tables: {command}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"{Path(__file__).name}: error: {error}") from None
