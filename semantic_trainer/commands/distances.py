"""`semantic-trainer distances`: the report before training, from the base model's answers alone."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoConfig

from ..answers import Endpoint, add_old_answers
from ..answers.decoding import ANSWER_DTYPE, context_length
from ..distance.embedding import EmbeddingTable, add_distances
from ..distance.weighting import known_facts
from ..distribution import is_first, local_main_first
from ..evaluation.forward import teacher_forced
from ..facts.prompts import PromptFormat
from ..facts.schema import replace_columns
from ..facts.sets import read_fact_sets, resolve_format
from ..files import check_writable
from ..hub.plan import Upload
from ..models import choose_dtype, load_model, load_tokenizer, place, resolve_model
from ..report.figures import distance_histogram, save_figure
from ..report.publishing import facts_files
from ..report.summary import describe_distances, distance_warnings
from ..training.training_args import SemanticTrainingArguments
from .checks import check_arms
from .defaults import compared
from .options import parse
from .outlook import describe_outlook, read_search
from .output import DISTANCES_FILE
from .publishing import PublishArguments, publish
from .run import RunArguments, run_config, weigh
from .terminal import console as terminal
from .terminal import printable

logger = logging.getLogger(__name__)
HARDEST = 10


@dataclass
class DistancesArguments(RunArguments):
    """The options of `run`, so that one YAML serves both, and a server to ask in place of the model."""

    endpoint: str | None = field(
        default=None,
        metadata={
            "help": "Base URL of an OpenAI-compatible server of --model, such as http://localhost:8000/v1: it "
            "answers; of the model only tokenizer and embedding table are read. Key: $OPENAI_API_KEY."
        },
    )
    endpoint_model: str | None = field(
        default=None, metadata={"help": "The model's name on the server; None takes the only one it offers."}
    )
    endpoint_concurrency: int = field(default=16, metadata={"help": "Requests in flight."})
    budget: str | None = field(
        default=None,
        metadata={"help": "Folder of a `budget` search with this model: about how many facts will stick."},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.server()  # a bad URL is refused before anything is read
        if self.endpoint_model and not self.endpoint:
            raise ValueError("`endpoint_model` is a name on a server: give its URL as `endpoint`, or leave it out.")
        if self.budget and self.endpoint:
            raise ValueError("`budget` needs the model's loss on each target, which a server does not tell.")

    def server(self) -> Endpoint | None:
        """The server to ask, if there is one."""
        if self.endpoint is None:
            return None
        return Endpoint(self.endpoint, self.endpoint_model, concurrency=self.endpoint_concurrency)


@dataclass
class MeasureArguments(PublishArguments, DistancesArguments):
    """The same, and where to publish facts and answers."""

    def __post_init__(self) -> None:
        DistancesArguments.__post_init__(self)
        self.check_publishing()
        if self.endpoint and self.push:
            raise ValueError(
                "`push` publishes answers with the hash of the weights that gave them, which a server does not tell: "
                "leave `endpoint` out."
            )


def main(argv: Sequence[str]) -> int:
    """Parse, measure, print, draw; publish where that is asked."""
    args, training_args = parse(argv, "distances", (MeasureArguments, SemanticTrainingArguments))
    search = read_search(Path(args.budget), run_config(args, training_args)) if args.budget else None
    facts, model, tokenizer, form = measured(args, training_args)
    if is_first():
        report(facts, training_args)
        if search:
            print(printable("\n".join(describe_outlook(facts, *search))))
    how = (form, training_args.max_new_tokens, training_args.answer_batch_size, ANSWER_DTYPE, None)

    def plan() -> list[Upload]:
        return facts_files(facts, args.push, model, tokenizer, *how, args.base_model, args.license)

    publish(args, plan, f"Upload {len(facts)} facts and old answers")
    return 0


def report(facts: Dataset, training_args: SemanticTrainingArguments) -> None:
    """Print shares and the hardest facts, draw the histogram, warn."""
    described = describe_distances(facts)
    path = save_figure(distance_histogram(described["histogram"]), Path(training_args.output_dir) / DISTANCES_FILE)
    show(facts, described)
    for warning in distance_warnings(described):
        logger.warning(warning)
    print(f"histogram: {path}")


def measure(args: DistancesArguments, training_args: SemanticTrainingArguments) -> Dataset:
    """The facts with old answers, distances and weights."""
    return measured(args, training_args)[0]


def measured(
    args: DistancesArguments, training_args: SemanticTrainingArguments
) -> tuple[Dataset, object, object, PromptFormat]:
    """The same, with who answered (a model or a server), its tokenizer, and how it was asked."""
    if args.threads:
        torch.set_num_threads(args.threads)
    training_args = compared(training_args)
    check_arms(training_args)
    check_writable(Path(training_args.output_dir), "`output_dir`", "Choose another folder.")
    facts, _ = read_fact_sets(args)
    model, tokenizer, table, limit = _asked(args, training_args)
    form = resolve_format(facts, tokenizer, training_args, limit)
    size = training_args.answer_batch_size
    facts = add_old_answers(facts, model, tokenizer, form, training_args.max_new_tokens, size, ANSWER_DTYPE)
    if args.budget:
        losses = teacher_forced(model, tokenizer, facts["prompt"][:], facts["target"][:], form, size, ANSWER_DTYPE)[1]
        facts = replace_columns(facts, {"target_loss": losses})
    return weigh(add_distances(facts, table, tokenizer, form), training_args), model, tokenizer, form


def _asked(
    args: DistancesArguments, training_args: SemanticTrainingArguments
) -> tuple[object, object, EmbeddingTable, int | None]:
    """Who answers (a model or a server), its tokenizer, its embedding table, and its context length."""
    server = args.server()
    if server is None:
        dtype = choose_dtype(args.dtype, base_frozen=True)
        model, tokenizer = load_model(args.model, dtype, args.revision, args.load_in)
        place(model, training_args.device)
        return model, tokenizer, EmbeddingTable.from_model(model), context_length(model)
    with local_main_first():
        source = resolve_model(args.model)
        config = AutoConfig.from_pretrained(source, revision=args.revision)
        table = EmbeddingTable.from_pretrained(source, args.revision)
        tokenizer = load_tokenizer(args.model, args.revision)
    return server, tokenizer, table, context_length(SimpleNamespace(config=config))


def hardest(facts: Dataset, k: int = HARDEST) -> Dataset:
    """The `k` facts not known yet whose distance lies farthest from 0.5, where learning is easiest by the paper."""
    distance = np.clip(np.asarray(facts["distance"][:]), 0.0, 1.0)
    far = np.where(known_facts(facts), -1.0, np.abs(distance - 0.5))
    order = [int(i) for i in np.argsort(-far, kind="stable")[:k] if far[i] >= 0]
    return facts.select(order)


def show(facts: Dataset, described: dict[str, object]) -> None:
    """Print shares and the hardest facts."""
    from rich.markup import escape
    from rich.table import Table

    console = terminal()
    console.print(
        f"{described['n']} facts: mean distance {described['mean']:.3f}, standard deviation {described['std']:.3f}",
        highlight=False,
    )
    shares = Table("share of facts", "")
    for name, share in described["shares"].items():
        shares.add_row(name.replace("_", " "), f"{share:.1%}")
    table = Table("distance", "weight", "prompt", "old answer", "target", title="Hardest by distance")
    for fact in hardest(facts):
        weight = "–" if fact["weight"] is None else f"{fact['weight']:.3f}"  # self-paced ones are of the training
        numbers = f"{fact['distance']:.3f}", weight
        table.add_row(*numbers, *(escape(fact[name]) for name in ("prompt", "old_answer", "target")))
    console.print(shares)
    console.print(table)
