"""A worker: loads a base once, and makes one run after the other with a fresh adapter on it."""

import gc
import logging
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import TrainerState

from ..answers import answer_prompts
from ..answers.decoding import GenerationSettings, context_length
from ..answers.reading import Answer
from ..answers.stage import open_store, warn_about_long_targets
from ..answers.store import AnswerStore
from ..distance.embedding import EmbeddingTable, add_distances
from ..evaluation.evaluator import answer_protocol, ask_facts
from ..evaluation.forward import next_token_distributions
from ..evaluation.record import BaseRecord
from ..evaluation.table import score_table, summarise, text_lists
from ..facts.prompts import PromptFormat
from ..facts.schema import replace_columns
from ..facts.sets import resolve_format
from ..files import temporary_path
from ..models import choose_dtype, load_model, place
from ..report.summary import describe_environment
from ..training.teaching import teach
from ..training.training_args import SemanticTrainingArguments, optimizer_steps
from ..tuners.arguments import adapter_config
from .arms import Arm
from .protocol import Draw, check_groups, draw_rows, members
from .replacing import Replaced, replace_facts
from .results import TEXTS, Unit, is_finished, select_columns, write_result
from .settings import ANSWER_DTYPE, Setting, describe_draw

logger = logging.getLogger(__name__)


@dataclass
class Base:
    """A base model in memory, with what brings it back after all its weights were trained."""

    model: torch.nn.Module
    tokenizer: object
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def fresh(self) -> torch.nn.Module:
        """The base as it was loaded; of the run before nothing is left."""
        if isinstance(self.model, PeftModel):
            self.model = self.model.unload()
        if self.weights:
            self.model.load_state_dict(self.weights)
            self.model.requires_grad_(True)
        return self.model


@dataclass
class Pool:
    """A setting's facts with the base's answers and distances, and what asks and measures them."""

    facts: Dataset
    form: PromptFormat
    table: EmbeddingTable
    store: AnswerStore
    answers: dict[str, Answer]
    rows: dict[str, np.ndarray]


class Worker:
    """Makes the runs of a study one by one.

    Args:
        folder: the study's folder.
        data_dir: where bare names of fact files are looked for.
        threads: CPU threads; the last bits of a training depend on them.

    Attributes:
        seconds: wall time in `training` and `decoding`, and `total` in this worker.
    """

    def __init__(self, folder: Path, data_dir: str | None, threads: int) -> None:
        torch.set_num_threads(threads)
        self.folder, self.data_dir, self.seconds = folder, data_dir, Counter()
        self.environment = describe_environment()
        self._base: tuple[object, Base] | None = None
        self._pools: dict[str, Pool] = {}
        self._record: tuple[object, BaseRecord] | None = None

    @contextmanager
    def clock(self, name: str) -> Iterator[None]:
        """Count the block's wall time."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def forget(self) -> None:
        """Let the base and everything made with it go."""
        self._base, self._pools, self._record = None, {}, None
        gc.collect()

    def base(self, setting: Setting) -> Base:
        """The setting's base: the one in memory where it is the same."""
        model = setting.model
        key = (model.model, model.revision, model.dtype, model.load_in, setting.tunes_base, setting.training.use_cpu)
        if self._base is None or self._base[0] != key:
            self.forget()
            dtype = choose_dtype(model.dtype, base_frozen=not setting.tunes_base)
            loaded, tokenizer = load_model(model.model, dtype, model.revision, model.load_in)
            place(loaded, setting.training.device)
            weights = {n: t.clone() for n, t in loaded.state_dict().items()} if setting.tunes_base else {}
            self._base = key, Base(loaded, tokenizer, weights)
        return self._base[1]

    def pool(self, setting: Setting) -> Pool:
        """The setting's pool, asked and measured; the base's answers of all of it are kept in the store.

        Raises:
            ValueError: a group has too few facts for one run.
        """
        if setting.name in self._pools:
            return self._pools[setting.name]
        base, args = self.base(setting), setting.training
        model, facts = base.fresh(), setting.read_pool(self.data_dir)
        form = resolve_format(facts, base.tokenizer, args, context_length(model))
        warn_about_long_targets(facts["target"][:], base.tokenizer, form, args.max_new_tokens)
        settings = GenerationSettings(args.max_new_tokens, ANSWER_DTYPE)
        table = EmbeddingTable.from_model(model)
        store = open_store(model, base.tokenizer, form, settings)
        pool = Pool(facts, form, table, store, {}, {})
        self._ask_base(setting, pool, facts["prompt"][:], "old answers")
        answers = [pool.answers[prompt] for prompt in facts["prompt"][:]]
        columns = {"old_answer": [a.text for a in answers], "old_answer_truncated": [a.truncated for a in answers]}
        pool.facts = add_distances(replace_columns(facts, columns), table, base.tokenizer, form)
        pool.rows = members(pool.facts["distance"][:], setting.groups)
        check_groups(pool.rows, setting.per_run)
        self._pools[setting.name] = pool
        return pool

    def _ask_base(self, setting: Setting, pool: Pool, prompts: list[str], description: str) -> None:
        """Have the base's answers to these prompts in the pool's."""
        missing = [prompt for prompt in prompts if prompt not in pool.answers]
        if missing:
            base, args = self.base(setting), setting.training
            settings = GenerationSettings(args.max_new_tokens, ANSWER_DTYPE)
            how = {"batch_size": args.answer_batch_size, "description": description, "store": pool.store}
            with self.clock("decoding"):
                pool.answers |= answer_prompts(base.fresh(), base.tokenizer, missing, pool.form, settings, **how)

    def run(self, unit: Unit) -> None:
        """Make one run and write its result, unless another process has done it meanwhile."""
        if is_finished(unit, self.folder):
            return
        before, start = Counter(self.seconds), time.perf_counter()
        setting, draw, arm = unit.setting, unit.draw, unit.arm
        pool = self.pool(setting)
        rows = draw_rows(pool.rows[draw.group], setting.per_run, draw.run, setting.training.seed)
        facts = pool.facts.select(rows)
        replaced = replace_facts(arm, facts, pool.facts, rows, draw.seed) if arm.filters else None
        record = self._record_of(setting, pool, draw, facts)
        with quietly(), self._scratch(unit) as scratch:
            args = setting.training_of(arm, draw.seed, str(scratch))
            tuned, state = self._train(setting, arm, replaced.train if replaced else facts, pool, args)
            scored = self._score(setting, arm, tuned, replaced.scored if replaced else facts, pool, record, draw)
        result = {
            "config": unit.config,
            "arm": arm.name,
            "draw": {"group": draw.group, "run": draw.run, "seed": draw.seed},
            "answer_store": pool.store.name,
            "facts": describe_draw(facts["distance"][:]),
            "training": describe_training(state, args),
            **({"filter": replaced.described} if replaced else {}),
            **summarised(scored, replaced, draw, self._protocol(pool, setting), setting.examples),
        }
        spent = self.seconds - before
        result["environment"] = self.environment | {
            "seconds": {n: round(s, 1) for n, s in (*spent.items(), ("total", time.perf_counter() - start))}
        }
        write_result(unit.path(self.folder), order_result(result))
        del tuned
        gc.collect()  # the optimizer, which the trainer's own cycles hold

    @contextmanager
    def _scratch(self, unit: Unit) -> Iterator[Path]:
        """What a trainer takes for its output folder; of a killed process the next one sweeps it up."""
        folder = temporary_path(unit.path(self.folder).with_suffix(".training"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _protocol(self, pool: Pool, setting: Setting) -> str:
        return answer_protocol(pool.form, GenerationSettings(setting.training.max_new_tokens, ANSWER_DTYPE))

    def _record_of(self, setting: Setting, pool: Pool, draw: Draw, facts: Dataset) -> BaseRecord:
        """The base's side of a run's evaluation, shared by its arms."""
        key = (setting.name, draw)
        if self._record is None or self._record[0] != key:
            self._record = None
            base, args = self.base(setting), setting.training
            unrelated = list(dict.fromkeys(p for group in text_lists(facts, "locality_prompts") for p in group))
            self._ask_base(setting, pool, unrelated, "base answers")
            with self.clock("decoding"):
                rows = next_token_distributions(
                    base.fresh(), base.tokenizer, unrelated, pool.form, args.answer_batch_size, ANSWER_DTYPE
                )
            settings = GenerationSettings(args.max_new_tokens, ANSWER_DTYPE)
            moved = dict(zip(unrelated, rows, strict=True))
            self._record = key, BaseRecord(pool.answers, moved, pool.table, pool.form, settings)
        return self._record[1]

    def _train(
        self, setting: Setting, arm: Arm, facts: Dataset, pool: Pool, args: SemanticTrainingArguments
    ) -> tuple[torch.nn.Module, TrainerState]:
        base = self.base(setting)
        model = base.fresh()
        config = adapter_config(model, setting.model_of(arm), optimizer_steps(args, facts))
        with self.clock("training"):
            base.model, state = teach(model, base.tokenizer, facts, pool.form, args, config, quiet=True)
        return base.model, state

    def _score(
        self,
        setting: Setting,
        arm: Arm,
        tuned: torch.nn.Module,
        facts: Dataset,
        pool: Pool,
        record: BaseRecord,
        draw: Draw,
    ) -> dict[str, list]:
        """The per-fact table of a trained model; the very first of a group also says how stable the base is."""
        base, args = self.base(setting), setting.training
        floor = draw.run == 0 and arm == setting.arms[0] and isinstance(tuned, PeftModel)
        settings = GenerationSettings(args.max_new_tokens, ANSWER_DTYPE)
        how = {"seed": draw.seed, "noise_floor": floor, "keep": False, "base": record}
        with self.clock("decoding"):
            found = ask_facts(
                tuned, base.tokenizer, facts, pool.form, pool.table, settings, args.answer_batch_size, **how
            )
        return score_table(facts, found)


def summarised(
    table: dict[str, list], replaced: Replaced | None, draw: Draw, protocol: str, examples: int
) -> dict[str, object]:
    """`scores` of the run's own facts and `rows` of all that were scored; with a filter also those of its parts."""
    strictly, original = f"strict, {protocol}", replaced.parts["original"] if replaced else None
    out = {
        "scores": summarise(select_rows(table, original), strictly, protocol, True, draw.seed),
        "rows": select_columns(table) | ({"part": replaced.labels} if replaced else {}),
    }
    if replaced:
        accuracy = {
            part: summarise(select_rows(table, rows), strictly, protocol, True, draw.seed)["knowledge_accuracy"]
            for part, rows in replaced.parts.items()
        }
        out["knowledge_accuracy_of"] = accuracy
    if examples:
        out["examples"] = [{n: table[n][i] for n in (*TEXTS, "distance", "new_distance")} for i in range(examples)]
    return out


def select_rows(table: dict[str, list], rows: np.ndarray | None) -> dict[str, list]:
    """Some rows of a per-fact table; all of them for `None`."""
    return table if rows is None else {name: [column[i] for i in rows] for name, column in table.items()}


def describe_training(state: TrainerState, args: SemanticTrainingArguments) -> dict[str, object]:
    """Steps, the mean loss, and the share of steps whose gradient was clipped."""
    norms = [log["grad_norm"] for log in state.log_history if "grad_norm" in log]
    return {
        "steps": state.global_step,
        "loss": next((log["train_loss"] for log in reversed(state.log_history) if "train_loss" in log), None),
        "clipped_share": float(np.mean([norm > args.max_grad_norm for norm in norms])) if norms else None,
    }


def order_result(result: dict[str, object]) -> dict[str, object]:
    """The same result with its rows last."""
    return {**{name: value for name, value in result.items() if name != "rows"}, "rows": result["rows"]}


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
    """What the libraries and we say of each training is said of the pool already."""
    ours = logging.getLogger("semantic_trainer")
    level = ours.level
    ours.setLevel(logging.ERROR)
    try:
        yield
    finally:
        ours.setLevel(level)
