"""Sets of facts as options name them: which files, which half, and how all of them are asked."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from datasets import Dataset

from .checks import FactCheck, check_facts
from .collecting import FactRows, join_tables, to_dataset
from .formats import FORMATS
from .prompts import PromptFormat, tokenize_facts
from .readers import read_source
from .shots import check_shots, parse_shots

logger = logging.getLogger(__name__)


@dataclass
class FactsArguments:
    """Which facts."""

    facts: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Fact sets: builtin:counterfactual, builtin:invented, files, ORG/NAME; NAME[k] draws k by seed."
        },
    )
    facts_format: str = field(default="auto", metadata={"help": f"auto, {', '.join(FORMATS)}."})
    columns: list[str] | None = field(
        default=None, metadata={"help": "Your column names, as in: prompt=question target=answer."}
    )
    split: str | None = field(
        default=None, metadata={"help": "dev or test: the half with even or odd sha256(subject)."}
    )
    limit: int | None = field(default=None, metadata={"help": "The first N facts, after those to drop are dropped."})
    facts_seed: int = field(default=42, metadata={"help": "Seeds the draw of NAME[k]."})

    def __post_init__(self) -> None:
        for name in ("facts", "columns"):  # a YAML may name one without making a list of it
            if isinstance(getattr(self, name), str):
                setattr(self, name, [getattr(self, name)])
        if isinstance(self.limit, int) and self.limit < 1:
            raise ValueError(f"`limit` must be at least 1, but {self.limit} was passed")


def parse_columns(columns: Sequence[str] | None) -> dict[str, str] | None:
    """`["prompt=question"]` -> `{"prompt": "question"}`."""
    if isinstance(columns, dict) or not columns:
        return columns or None
    wrong = [entry for entry in columns if "=" not in entry]
    if wrong:
        raise ValueError(f"`columns` entries look like prompt=your_column, but {wrong[0]!r} was passed")
    return dict(entry.split("=", 1) for entry in columns)


def read_fact_sets(args: FactsArguments) -> tuple[Dataset, FactCheck]:
    """All sets in turn, checked together; what cannot be taught is dropped and said. Then the first `limit` facts."""
    if not args.facts:
        raise ValueError("`facts` is empty: name at least one set, for example --facts builtin:counterfactual")
    columns = parse_columns(args.columns)
    tables = [read_source(source, args.facts_format, columns, args.split, args.facts_seed) for source in args.facts]
    table = tables[0] if len(tables) == 1 else join_tables(tables, args.facts)
    check = check_facts(FactRows(table))
    for line in check.describe():
        logger.warning("facts: %s", line)
    facts = to_dataset(table, check)
    if not len(facts):
        raise ValueError(f"`facts` {args.facts} hold nothing to teach: {'; '.join(check.describe()) or 'no rows'}")
    if args.limit is not None and args.limit > len(facts):
        logger.warning("limit is %d, but there are only %d facts", args.limit, len(facts))
    return facts.select(range(min(args.limit or len(facts), len(facts)))), check


def with_unrelated(facts: Dataset, most: int) -> Dataset:
    """The facts with so many locality prompts and onward questions each at most: what takes longest to score.

    Example:
        >>> facts = Dataset.from_list([{"prompt": "a", "locality_prompts": ["b", "c"]}])
        >>> with_unrelated(facts, 1)["locality_prompts"][:]
        [['b']]
    """
    names = [name for name in ("locality_prompts", "portability") if name in facts.column_names]
    return facts.map(lambda row: {name: (row[name] or [])[:most] for name in names}) if names else facts


def resolve_format(facts: Dataset, tokenizer: object, training_args: object, max_length: int | None) -> PromptFormat:
    """The run's prompt format, after every check that needs no forward pass."""
    form = PromptFormat.resolve(
        training_args.prompt_format,
        facts["prompt"][:],
        tokenizer,
        training_args.system_prompt,
        parse_shots(training_args.shots),
    )
    check_shots(form.shots, facts)
    tokenize_facts(facts, tokenizer, form, max_length)
    return form
