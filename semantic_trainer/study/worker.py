"""A worker: loads a base once, and makes one run after the other with a fresh adapter on it."""

import gc
import logging
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import datasets
import torch
from datasets import Dataset
from peft import PeftModel

from ..answers.decoding import ANSWER_DTYPE
from ..evaluation.evaluator import ask_facts
from ..evaluation.forward import last_prompt_features
from ..evaluation.record import BaseRecord
from ..evaluation.table import score_table
from ..files import temporary_path
from ..report.summary import describe_environment
from ..training.teaching import DivergedError, Taught, teach
from ..training.training_args import SemanticTrainingArguments, optimizer_steps
from ..tuners.arguments import adapter_config
from .measures import check_projection, measure_spectrum, write_features
from .pool import Base, Pool
from .protocol import draw_rows
from .replacing import replace_facts
from .results import Unit, is_finished, write_result
from .scoring import describe_training, summarise_run
from .settings import Setting, describe_draw


class Worker:
    """Makes the runs of a study one by one.

    Args:
        folder: the study's folder.
        data_dir: where bare names of fact files are looked for.
        threads: CPU threads; the last bits of a training depend on them.
        keep_diverged: whether a training that diverges is a result, without scores, and not an error.

    Attributes:
        seconds: wall time in `training` and in `decoding` so far.
    """

    def __init__(self, folder: Path, data_dir: str | None, threads: int, keep_diverged: bool = False) -> None:
        torch.set_num_threads(threads)
        self.folder, self.data_dir, self.seconds = folder, data_dir, Counter()
        self.keep_diverged = keep_diverged
        self.environment = describe_environment()
        self.forget()

    def forget(self) -> None:
        """Let the base and everything made with it go."""
        self._base: tuple[object, Base] | None = None
        self._pools: dict[str, Pool] = {}
        self._record: tuple[object, BaseRecord] | None = None  # of the last run: its arms come one after the other
        gc.collect()

    def pool(self, setting: Setting) -> Pool:
        """The setting's pool, asked and measured, on a base that is loaded only where another one is in memory.

        Raises:
            ValueError: a group has too few facts for one run.
        """
        key = Base.key(setting)
        if self._base is None or self._base[0] != key:
            self.forget()
            self._base = key, Base.load(setting)
        if setting.tunes_base:
            self._base[1].keep_weights()
        if setting.name not in self._pools:
            self._check_modules(setting)
            clock = partial(self._clock, "decoding")
            with quietly():  # what there is to say of them was said when the runs were planned
                facts = setting.read_pool(self.data_dir)
            self._pools[setting.name] = Pool(setting, self._base[1], facts, clock)
        return self._pools[setting.name]

    def _check_modules(self, setting: Setting) -> None:
        """Raise a `ValueError` where an arm's modules are not there, or are not what spectra are to be measured of."""
        model = self._base[1].fresh()
        for arm in setting.arms:
            args, training = setting.model_of(arm), setting.training_of(arm, 0, ".")
            try:
                adapter_config(model, args, optimizer_steps(training, range(setting.per_run)))
            except ValueError as error:
                raise ValueError(f"`arms` {arm.name!r}: {error}") from error
            if "spectra" in setting.measures:
                check_projection(model, args, setting.projection, setting.layer)

    def run(self, unit: Unit) -> None:
        """Make one run and write its result, unless another process has done so meanwhile.

        Raises:
            ValueError: there is a result made with other options, or the training has diverged.
        """
        if is_finished(unit, self.folder):
            return
        before, start = Counter(self.seconds), time.perf_counter()
        pool = self.pool(unit.setting)
        with quietly(), self._scratch(unit) as scratch:
            result = self._run(unit, pool, str(scratch))
        spent = {**(self.seconds - before), "total": time.perf_counter() - start}
        result["environment"] = self.environment | {"seconds": {name: round(s, 1) for name, s in spent.items()}}
        write_result(unit.path(self.folder), result)
        gc.collect()  # the optimizer, which the trainer's own cycles hold

    def seconds_per_fact(self, unit: Unit, n: int) -> dict[str, float]:
        """Wall time a fact that `training` and `decoding` take in a run, from the first n of its facts."""
        pool, draw, size = self.pool(unit.setting), unit.draw, unit.setting.per_run
        rows = draw_rows(pool.rows[draw.group], size, draw.run, unit.setting.training.seed)[:n]
        facts = pool.facts.select(rows)
        record, before = pool.record(facts), Counter(self.seconds)
        with quietly(), self._scratch(unit) as scratch:
            args = unit.setting.training_of(unit.arm, draw.seed, str(scratch))
            tuned = self._train(unit, pool, facts, args).model
            self._score(unit, pool, tuned, facts, record)
        return {name: (self.seconds - before)[name] / len(facts) for name in ("training", "decoding")}

    def _run(self, unit: Unit, pool: Pool, scratch: str) -> dict[str, object]:
        setting, draw, arm = unit.setting, unit.draw, unit.arm
        rows = draw_rows(pool.rows[draw.group], setting.per_run, draw.run, setting.training.seed)
        facts = pool.facts.select(rows)
        replaced = replace_facts(arm, facts, pool.facts, rows, draw.seed) if arm.filters else None
        record, losses = self._record_of(unit, pool, facts), pool.losses(replaced.scored if replaced else facts)
        args = setting.training_of(arm, draw.seed, scratch)
        said = {
            "config": unit.config,
            "arm": arm.name,
            "draw": {"group": draw.group, "run": draw.run, "seed": draw.seed},
            "answer_store": pool.store.name,
            "facts": describe_draw(facts["distance"][:]),
        }
        try:
            tuned, state, history = self._train(unit, pool, replaced.train if replaced else facts, args)
        except DivergedError as error:
            if self.keep_diverged:
                return said | {"diverged": str(error), "scores": {}, "rows": {}}
            raise ValueError(f"{unit.label}: {error}") from error
        scored = replaced.scored if replaced else facts
        table = self._score(unit, pool, tuned, scored, record) | {"target_loss": losses}
        if not replaced:  # what was scored is what was taught
            table["first_learnt"] = history.first_learnt()
        measured = self._measure(unit, pool, tuned, facts)
        return {
            **said,
            "training": describe_training(state, args.max_grad_norm),
            **({"filter": replaced.described} if replaced else {}),
            **measured,
            **summarise_run(table, replaced, draw.seed, pool.protocol, setting.examples),
        }

    def _record_of(self, unit: Unit, pool: Pool, facts: Dataset) -> BaseRecord:
        """The base's side of a run's evaluation: the last one where it is of the same run."""
        key = (unit.setting.name, unit.draw)
        if self._record is None or self._record[0] != key:
            self._record = None
            self._record = key, pool.record(facts)
        return self._record[1]

    def _train(
        self, unit: Unit, pool: Pool, facts: Dataset, args: SemanticTrainingArguments, **more: object
    ) -> Taught:
        """A fresh adapter taught these facts; `more` goes to `teach`."""
        base, model_args = pool.base, unit.setting.model_of(unit.arm)
        with self._clock("training"):
            model = base.fresh()
            config = adapter_config(model, model_args, optimizer_steps(args, facts))
            base.trained = config is None
            taught = teach(model, base.tokenizer, facts, pool.form, args, config, quiet=True, **more)
            base.model = taught.model
        return taught

    def _score(
        self, unit: Unit, pool: Pool, tuned: torch.nn.Module, facts: Dataset, record: BaseRecord
    ) -> dict[str, list]:
        """The per-fact table of a trained model; the very first of a group also says how stable the base is."""
        first = unit.draw.run == 0 and unit.arm == unit.setting.arms[0]
        floor = first and isinstance(tuned, PeftModel)  # its base can still be asked
        how = {"seed": unit.draw.seed, "noise_floor": floor, "keep": False, "base": record}
        with self._clock("decoding"):
            tokenizer, size = pool.base.tokenizer, pool.batch_size
            found = ask_facts(tuned, tokenizer, facts, pool.form, pool.table, pool.settings, size, **how)
        return score_table(facts, found)

    def _measure(self, unit: Unit, pool: Pool, tuned: torch.nn.Module, facts: Dataset) -> dict[str, object]:
        """What the setting measures of a tuned model; features go to a file beside the result, which comes later."""
        setting, base = unit.setting, pool.base
        if "features" in setting.measures:
            prompts = facts["prompt"][:]
            with self._clock("decoding"):
                rows = last_prompt_features(tuned, base.tokenizer, prompts, pool.form, pool.batch_size, ANSWER_DTYPE)
            write_features(unit.path(self.folder), rows)
        if "spectra" not in setting.measures:
            return {}
        rank = setting.model_of(unit.arm).lora_r
        place = setting.projection, setting.layer
        return {"spectrum": measure_spectrum(tuned, base.weights, *place, rank, unit.draw.seed)}

    @contextmanager
    def _clock(self, name: str) -> Iterator[None]:
        """Count the block's wall time."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    @contextmanager
    def _scratch(self, unit: Unit) -> Iterator[Path]:
        """What a trainer takes for its output folder; of a killed process the next one sweeps it up."""
        folder = temporary_path(unit.path(self.folder).with_suffix(".training"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def libraries_set_apart() -> Iterator[None]:
    """The garbage collector, which is called after each run, passes by what was there before: all of the libraries."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def quietly() -> Iterator[None]:
    """What the libraries and we say of each training was said of the pool already."""
    ours, shown = logging.getLogger("semantic_trainer"), not datasets.are_progress_bars_disabled()
    level = ours.level
    ours.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        ours.setLevel(level)
        if shown:
            datasets.enable_progress_bars()
