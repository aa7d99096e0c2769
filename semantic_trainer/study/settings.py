"""A setting of a study: facts, model, training and arms, and the runs that they make."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..answers.store import text_hash
from ..facts.answered import without_answers
from ..facts.sets import FactsArguments, read_fact_sets, with_unrelated
from ..facts.sources import parse_source
from ..training.checks import check_length, check_numbers
from ..training.training_args import SemanticTrainingArguments, decisive_options, optimizer_steps
from ..tuners.arguments import ModelArguments, check_pruning, check_tuning
from ..tuners.methods import LOW_RANK
from .arms import Arm, check_name
from .measures import PROJECTION, check_measures
from .protocol import Draw, draws, facts_per_run
from .replacing import make_filter

FIXED = {  # what a run of a study does not leave to its options: it is short, and kept as one JSON
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "logging_strategy": "steps",
    "logging_steps": 1,
    "remove_unused_columns": True,
    "learning_history": True,
    "eval_strategy": "no",
    "load_best_model_at_end": False,
    "push_to_hub": False,
    "resume_from_checkpoint": None,
}
OUTPUTS = ("tables", "figures")  # folders beside those of settings


@dataclass(frozen=True)
class Setting:
    """One regime of a study: everything but the run's number and the arm.

    Attributes:
        name: its folder.
        facts: the pool.
        model, training: what all arms share; an arm may change options of both.
        arms: the first one is what the others are compared with.
        protocol, size: `multi` with `size` facts a run, or `single` with one.
        runs: how many, in each group.
        groups: name -> (low, high) of distances, for stratified sampling; empty for random sampling.
        examples: facts of a run whose texts are kept in its JSON; the others keep ids and scores.
        measures: `spectra` and `features`, of each tuned model.
        projection, layer: of which spectra are measured; the last layer where it is `None`.
        unrelated: locality prompts, and onward questions, asked of each fact at most; `None` asks all.
    """

    name: str
    facts: FactsArguments
    model: ModelArguments
    training: SemanticTrainingArguments
    arms: tuple[Arm, ...]
    protocol: str = "multi"
    size: int = 100
    runs: int = 20
    groups: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    examples: int = 0
    measures: tuple[str, ...] = ()
    projection: str = PROJECTION
    layer: int | None = None
    unrelated: int | None = None

    def __post_init__(self) -> None:
        check_name(self.name, "`settings`")
        if self.name in OUTPUTS:
            raise ValueError(f"`settings`: {self.name!r} is where the study's {self.name} go. Choose another name.")
        facts_per_run(self.protocol, self.size)
        for name, least in (("runs", 1), ("examples", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, but {getattr(self, name)} was passed")
        if self.unrelated is not None and self.unrelated < 0:
            raise ValueError(f"`unrelated` must be at least 0, but {self.unrelated} was passed")
        for arm in self.arms:
            try:
                self._check_arm(arm)
            except ValueError as error:
                raise ValueError(f"`arms` {arm.name!r}: {error}") from error
        check_measures(self.measures, [self.model_of(arm).method for arm in self.arms])

    def _check_arm(self, arm: Arm) -> None:
        """Refuse options of an arm that would do nothing, or undo it, or are out of their range."""
        for name in ("lora_r", "lora_alpha"):
            value = arm.model.get(name, 1)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` must be an integer of at least 1, but {value!r} was passed")
        training = self.training_of(arm, 0, ".")
        if training.weighting == "column":
            raise ValueError("weighting=column is for your own script; a study computes weights.")
        if training.weighting != "none" and training.gamma == 0.0:
            raise ValueError("it weighs with `gamma` 0, which is the plain loss. Use plain.")
        idle = [name for name in arm.training if name in FIXED or name in training.idle_options()]
        if idle:
            raise ValueError(f"`{idle[0]}` has no effect on this arm of a study. Leave it out.")
        check_numbers(training)
        check_length(training)
        if arm.filters:
            make_filter(arm)
        check_tuning(self.model_of(arm))
        check_pruning(self.model_of(arm), optimizer_steps(training, range(self.per_run)))

    @property
    def per_run(self) -> int:
        """Facts a run."""
        return facts_per_run(self.protocol, self.size)

    @property
    def draws(self) -> list[Draw]:
        """Its runs."""
        return draws(list(self.groups), self.runs, self.training.seed)

    @property
    def tunes_base(self) -> bool:
        """Whether an arm trains the base's own weights."""
        return any(self.model_of(arm).method == "full" for arm in self.arms)

    def model_of(self, arm: Arm) -> ModelArguments:
        """Model and method of an arm; what has no effect on another method than the shared one is at its default."""
        method, plain = arm.model.get("method", self.model.method), ModelArguments()
        idle = [] if method == self.model.method else ["method_options"]
        if method not in LOW_RANK:
            idle += [name for name in vars(plain) if name.startswith("lora_") and name != "lora_target_modules"]
        if method == "full":
            idle += ["lora_target_modules", "target_modules"]
        changed = {**{name: getattr(plain, name) for name in idle}, **arm.model}
        if "lora_r" in arm.model and "lora_alpha" not in arm.model:  # the scale keeps its ratio to the rank
            changed["lora_alpha"] = round(self.model.lora_alpha / self.model.lora_r * arm.model["lora_r"])
        return replace(self.model, **changed)

    def training_of(self, arm: Arm, seed: int, output_dir: str) -> SemanticTrainingArguments:
        """The training of one run: its seed is the draw's."""
        changed = {"weighting": arm.weighting, **arm.training, **FIXED, "seed": seed, "output_dir": output_dir}
        return replace(self.training, **changed)

    def read_pool(self, data_dir: str | None) -> Dataset:
        """Its facts, checked; bare file names are looked for in `data_dir`."""
        facts = read_fact_sets(replace(self.facts, facts=locate(self.facts.facts, data_dir)))[0]
        return without_answers(facts if self.unrelated is None else with_unrelated(facts, self.unrelated))

    def config(self, draw: Draw, arm: Arm, pool_hash: str, threads: int) -> dict[str, object]:
        """Every option that decides one run, as plain values: a result under another one is another result."""
        facts = {n: v for n, v in vars(self.facts).items() if n != "facts"}
        names = [
            Path(name).name if "/" in name and not name.startswith("builtin:") else name for name in self.facts.facts
        ]
        plain = {
            **decisive_options(self.training_of(arm, draw.seed, ".")),
            **vars(self.model_of(arm)),
            **facts,
            "facts": names,
            "pool_hash": pool_hash,
            "protocol": self.protocol,
            "facts_per_run": self.per_run,
            "distances": self.groups.get(draw.group),
            "filter": {"kind": arm.base, **arm.filter} if arm.filters else None,
            "examples": self.examples,
            "measures": sorted(self.measures),
            "threads": threads,
        }
        if self.unrelated is not None:
            plain["unrelated"] = self.unrelated
        if "spectra" in self.measures:
            plain |= {"projection": self.projection, "layer": self.layer}
        return json.loads(json.dumps(plain, default=str))


@cache
def default_options() -> Mapping[str, object]:
    """Options of facts, model and training at their defaults, as plain values."""
    arguments = SemanticTrainingArguments(output_dir="").to_dict(), vars(ModelArguments()), vars(FactsArguments())
    plain = {name: value for options in arguments for name, value in options.items()} | {"measures": []}
    return json.loads(json.dumps(plain, default=str))


def locate(names: Sequence[str], data_dir: str | None) -> list[str]:
    """Sources of facts, bare file names with the folder `data_dir` before them where they are there.

    Raises:
        FileNotFoundError: a bare file name is neither there nor here.
    """
    found = []
    for name in names:
        bare = parse_source(name)[0]
        there = Path(data_dir or ".").expanduser() / bare
        if is_file_name(name) and not there.is_file() and not Path(bare).is_file():
            where = f"in `data_dir` {data_dir!r}" if data_dir else "here"
            raise FileNotFoundError(f"`facts` {name!r} is not {where}. Give its folder as --data_dir.")
        found.append(str(there.with_name(name)) if is_file_name(name) and there.is_file() else name)
    return found


def is_file_name(name: str) -> bool:
    """Whether a source of facts is a bare file name, which is looked for in `data_dir`."""
    return "/" not in name and not name.startswith("builtin:")


def pool_hash(facts: Dataset) -> str:
    """Hash of all facts of a pool, in their order."""
    return text_hash(facts.to_list())


def describe_draw(distances: Sequence[float]) -> dict[str, float]:
    """n, mean and population variance of a run's distances: what Fig. 6 is drawn against."""
    d = np.asarray(distances, dtype=float)
    return {"n": len(d), "mean_distance": float(d.mean()), "distance_variance": float(d.var())}
