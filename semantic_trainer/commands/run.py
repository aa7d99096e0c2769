"""`semantic-trainer run`: facts in, adapters with an honest report out; every stage can be gone on with."""

import logging
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import torch
from datasets import Dataset
from peft import get_peft_model

from ..answers.decoding import ANSWER_DTYPE, context_length
from ..answers.known import add_known_labels
from ..answers.store import text_hash
from ..batching.layout import Layout
from ..batching.positions import IGNORED
from ..batching.probe import unsuited
from ..distance.embedding import EmbeddingTable
from ..distance.weighting import add_weights
from ..distribution import is_first, on_first
from ..evaluation.evaluator import Evaluation, evaluate_facts
from ..evaluation.record import record_base
from ..facts.answered import without_answers
from ..facts.checks import FactCheck
from ..facts.prompts import PromptFormat, tokenize_facts
from ..facts.schema import replace_columns
from ..facts.sets import FactsArguments, read_fact_sets, resolve_format
from ..models import choose_dtype, load_model, place
from ..report.summary import RUNS, RunSummary, describe_distances, describe_environment, distance_warnings
from ..report.taught import describe_base, describe_taught
from ..training.checks import check_processes
from ..training.training_args import SemanticTrainingArguments, decisive_options, optimizer_steps
from ..tuners.arguments import ModelArguments, adapter_config, check_pruning, check_tuning
from .arms import base_again, read_history, train_arm
from .checks import check_arms, check_steps
from .defaults import compared, run_defaults
from .options import parse
from .output import OutputFolder, print_results, write_outputs

logger = logging.getLogger(__name__)
MOST_THREADS = 1024
OF_WEIGHTS = ("gamma", "known_lambda", "clip_distance", "pacing_temperature", "pacing_annealing")


@dataclass
class RunArguments(FactsArguments, ModelArguments):
    """Facts, model, adapter, and what to do with a folder that is in use."""

    resume: bool = field(default=False, metadata={"help": "Go on with the run in output_dir."})
    overwrite: bool = field(default=False, metadata={"help": "Delete the run in output_dir and start again."})
    known_labels: bool = field(
        default=False, metadata={"help": "Label facts known or unknown beforehand; asks the base 10 times a fact."}
    )
    threads: int | None = field(
        default=None,
        metadata={"help": "CPU threads; the last bits of a training depend on them. None leaves it to torch."},
    )

    def __post_init__(self) -> None:
        FactsArguments.__post_init__(self)
        ModelArguments.__post_init__(self)
        if isinstance(self.threads, int) and not 1 <= self.threads <= MOST_THREADS:
            raise ValueError(f"`threads` must be from 1 to {MOST_THREADS}, but {self.threads} was passed")
        if self.resume and self.overwrite:
            raise ValueError("`resume` and `overwrite` exclude each other")


def main(argv: Sequence[str]) -> int:
    """Parse, run, print."""
    types = (RunArguments, SemanticTrainingArguments)
    method = parse(argv, "run", types, run_defaults("lora"))[0].method  # --help shows LoRA's
    args, training_args = parse(argv, "run", types, run_defaults(method))
    summary = run(args, training_args)
    if is_first():
        print_results(summary, training_args.output_dir)
    return 0


def run(args: RunArguments, training_args: SemanticTrainingArguments) -> RunSummary:
    """Teach facts twice, `plain` and `weighted`, with the same seed, steps and path; evaluate both and the base.

    Under `torchrun` or `accelerate launch` the processes share answering and training; the first one writes.

    Args:
        args: facts, model, adapter, resume or overwrite.
        training_args: as for the trainer; `gamma` and `weighting` (`None` is `paper`) are the weighted arm's.

    Returns:
        The summary, which `output_dir` then holds beside adapters, per-fact table, figures, page and card.

    Raises:
        ValueError: nothing to teach, an `output_dir` in use, options that differ from the run to go on with.
    """
    if args.threads:
        torch.set_num_threads(args.threads)
    started = time.perf_counter()
    training_args = compared(training_args)
    check_arms(training_args)
    check_tuning(args)
    facts, check = read_fact_sets(args)
    facts = without_answers(facts)  # the base is asked much besides: all of it here
    if args.known_labels and len(facts) < 2:
        raise ValueError(
            "`known_labels` asks each fact after examples made of others, but there is 1 fact. Leave it out."
        )
    check_processes(facts, training_args.world_size, "`facts`")
    check_steps(training_args, len(facts))
    check_pruning(args, optimizer_steps(training_args, facts))
    decisive = {"facts_hash": text_hash(facts.to_list()), "processes": training_args.world_size}
    folder = OutputFolder(Path(training_args.output_dir), run_config(args, training_args) | decisive)
    with folder.held():
        finished = on_first(folder.prepare, args.resume, args.overwrite)
        return finished or _teach(args, training_args, facts, check, folder, started)


def _teach(
    args: RunArguments,
    training_args: SemanticTrainingArguments,
    facts: Dataset,
    check: FactCheck,
    folder: OutputFolder,
    started: float,
) -> RunSummary:
    """The run itself, once facts and folder are in order."""
    environment = describe_environment()
    dtype = choose_dtype(args.dtype, base_frozen=args.method != "full")
    model, tokenizer = load_model(args.model, dtype, args.revision, args.load_in)
    base = on_first(describe_base, args.model, args.revision, getattr(model.config, "_commit_hash", None))
    place(model, training_args.device)
    form = resolve_format(facts, tokenizer, training_args, context_length(model))
    table = EmbeddingTable.from_model(model)
    config = adapter_config(model, args)
    if config is not None:  # an impossible adapter is refused before anything starts
        model = get_peft_model(model, config).unload()
    on_first(folder.start, {name: base[name] for name in ("sha256", "commit")})
    how = (training_args.max_new_tokens, training_args.answer_batch_size, ANSWER_DTYPE)

    def evaluate(current: torch.nn.Module, **more: object) -> Evaluation:
        return evaluate_facts(current, tokenizer, facts, form, table, *how, seed=training_args.seed, **more)

    evaluations = {"before": evaluate(model, noise_floor=True)}
    record = None if config else record_base(model, tokenizer, facts, form, *how)
    facts = with_distances(facts, evaluations["before"], training_args)
    seconds = time.perf_counter() - started
    if args.known_labels:
        facts = with_known_labels(facts, model, tokenizer, form, training_args)
    described = describe_distances(facts)
    for warning in distance_warnings(described):
        logger.warning(warning)
    if is_first():
        announce(model, tokenizer, facts, form, training_args, seconds)
    tuned = None
    for arm, weighting in (("plain", "none"), ("weighted", training_args.weighting)):
        model = model if tuned is None else base_again(tuned, args)
        arm_args = replace_arm(training_args, folder, arm, weighting)
        tuned = train_arm(model, tokenizer, facts.remove_columns("weight"), form, arm_args, args, folder.adapter(arm))
        evaluations[arm] = evaluate(tuned, base=record)
    facts = facts.add_column("target_tokens", target_tokens(facts, tokenizer, form))
    tables = {name: evaluations[name].table for name in RUNS}
    for arm in RUNS[1:]:
        tables[arm] = replace_columns(tables[arm], on_first(read_history, folder.adapter(arm)))
    summary = RunSummary(
        config=folder.config
        | {"prompt_text": form.prompt_text("{prompt}"), "prompt_format": form.kind, "dtype": str(dtype)[6:]},
        environment=environment | {"base": base, "seconds": round(time.perf_counter() - started, 1)},
        facts={"read": check.n, **check.counts(), "dropped": len(check.dropped), "taught": len(facts)}
        | describe_taught(facts, tables, args.facts),
        distances=described,
        runs={name: evaluations[name].summary for name in RUNS},
    )
    on_first(write_outputs, folder, summary, facts, tables)
    return summary


def run_config(args: RunArguments, training_args: SemanticTrainingArguments) -> dict[str, object]:
    """Every option that decides the result, as plain values; of Trainer's own, those that are not at their default."""
    ours = {name: value for name, value in vars(args).items() if name not in ("resume", "overwrite")}
    theirs = decisive_options(training_args)
    default = None if training_args.weighting == "self_paced" else 1.0
    return {**theirs, **ours, "gamma": default if training_args.gamma is None else training_args.gamma}


def with_distances(facts: Dataset, before: Evaluation, args: SemanticTrainingArguments) -> Dataset:
    """The facts with the base's answers, distances and weights."""
    answers = {
        "old_answer": before.table["old_answer"][:],
        "old_answer_truncated": before.table["new_answer_truncated"][:],
        "distance": before.table["distance"][:],
        "target_loss": before.table["target_loss"][:],  # self-paced weights begin with it
    }
    return weigh(replace_columns(facts, answers), args)


def with_known_labels(
    facts: Dataset, model: torch.nn.Module, tokenizer: object, form: PromptFormat, args: SemanticTrainingArguments
) -> Dataset:
    """The facts with `known_share` and `known_label`: asked in the run's format, after examples made of facts."""
    return add_known_labels(
        facts,
        model,
        tokenizer,
        form,
        max_new_tokens=args.max_new_tokens,
        batch_size=args.answer_batch_size,
        dtype=ANSWER_DTYPE,
        seed=args.seed,
    )


def weigh(facts: Dataset, args: SemanticTrainingArguments) -> Dataset:
    """The facts with the weights of the weighted arm; of self-paced ones, which change with each step, null."""
    gamma, weighting = 1.0 if args.gamma is None else args.gamma, args.resolved_weighting
    if weighting == "self_paced":
        return replace_columns(facts, {"weight": pa.nulls(len(facts), pa.float64())})
    return add_weights(facts, gamma, weighting, args.known_lambda, args.clip_distance, args.seed)


def target_tokens(facts: Dataset, tokenizer: object, form: PromptFormat) -> list[int]:
    """How many tokens each target has, its end included."""
    labels = tokenize_facts(facts.select_columns(["prompt", "target"]), tokenizer, form)["labels"]
    return [sum(label != IGNORED for label in row) for row in labels]


def replace_arm(
    args: SemanticTrainingArguments, folder: OutputFolder, arm: str, weighting: str
) -> SemanticTrainingArguments:
    """The arm's arguments: alike but for the weighting and the checkpoint folder; each fact's losses are kept."""
    own = {"weighting": weighting, "output_dir": str(folder.checkpoints(arm)), "learning_history": True}
    if weighting == "none":
        own |= {name: SemanticTrainingArguments.__dataclass_fields__[name].default for name in OF_WEIGHTS}
    return replace(args, **own, remove_unused_columns=True)


@torch.no_grad()
def announce(
    model: torch.nn.Module,
    tokenizer: object,
    facts: Dataset,
    form: PromptFormat,
    args: SemanticTrainingArguments,
    seconds_before: float,
) -> None:
    """Say how long the rest will take: one forward pass is timed; a training step costs about three."""
    batch = facts.select(range(min(len(facts), args.per_device_train_batch_size)))
    batch = tokenize_facts(batch, tokenizer, form, context_length(model))
    ids, labels = batch["input_ids"][:], batch["labels"][:]
    shared = args.batching == "shared_prefix" and unsuited(model, max(map(len, ids))) is None
    layout = Layout.of(model, ids, labels, tokenizer.pad_token_id, shared)
    for _ in range(2):  # the first one warms up
        start = time.perf_counter()
        layout.logits(model)
        forward = time.perf_counter() - start
    per_epoch = math.ceil(len(facts) / args.per_device_train_batch_size / args.world_size)
    passes = (
        args.max_steps * args.gradient_accumulation_steps if args.max_steps > 0 else args.num_train_epochs * per_epoch
    )
    minutes = (2 * 3 * passes * forward + 2 * seconds_before) / 60
    message = (
        f"{len(facts)} facts, two runs of {passes:.0f} batches, then their answers: about {max(1, round(minutes))} min"
    )
    print(message, file=sys.stderr, flush=True)
