"""Options shared by the commands, and how they become facts, a model and a prompt format."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import get_args, get_origin, get_type_hints

from datasets import Dataset

from ..facts.checks import FactCheck, check_facts
from ..facts.collecting import FactRows, join_tables, to_dataset
from ..facts.formats import FORMATS
from ..facts.messages import suggest
from ..facts.prompts import PromptFormat, check_shots, parse_shots, tokenize_facts
from ..facts.readers import read_source
from ..models import DEFAULT_MODEL

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


@dataclass
class ModelArguments:
    """Which model, and the adapter to train on it."""

    model: str = field(default=DEFAULT_MODEL, metadata={"help": "Hub id, local folder, or the built-in model."})
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit on the Hub."})
    dtype: str = field(
        default="auto", metadata={"help": "Base weights: auto, float32 or bfloat16 (frozen base only)."}
    )
    load_in: str | None = field(
        default=None, metadata={"help": "4bit or 8bit: quantize the base's linear layers with bitsandbytes."}
    )
    method: str = field(
        default="lora", metadata={"help": "lora, adalora, dora, ia3, houlsby or full; see docs/tuning_methods.md."}
    )
    target_modules: list[str] | None = field(
        default=None, metadata={"help": "all-linear, attention, or names of modules. None takes lora_target_modules."}
    )
    method_options: list[str] | None = field(
        default=None, metadata={"help": "Other fields of the method's PEFT config, as in: bottleneck_size=32."}
    )
    lora_r: int = field(default=8, metadata={"help": "Rank of the adapter."})
    lora_alpha: int = field(default=16, metadata={"help": "Scale of the adapter, divided by its rank."})
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout before the adapter."})
    lora_target_modules: list[str] = field(
        default_factory=lambda: ["all-linear"], metadata={"help": "Modules to adapt, or all-linear."}
    )

    def __post_init__(self) -> None:
        for name in ("target_modules", "method_options", "lora_target_modules"):
            if isinstance(getattr(self, name), str):
                setattr(self, name, [getattr(self, name)])


def parse(argv: Sequence[str], prog: str, types: tuple[type, ...]) -> tuple:
    """Dataclass instances from `--config FILE.yaml` and the command line, which wins."""
    from trl import TrlParser

    usage = f"semantic-trainer {prog} [--config FILE.yaml] [--OPTION VALUE ...]"  # argparse would list every option
    parser = TrlParser(types, prog=f"semantic-trainer {prog}", usage=usage, allow_abbrev=False)
    parser.error = _raise  # argparse would print every option first
    argv = [part for option in argv for part in (option.split("=", 1) if option.startswith("--config=") else [option])]
    config = argv[argv.index("--config") + 1 :][:1] if "--config" in argv else None
    if config is not None and (not config or config[0].startswith("--")):
        raise ValueError("`--config` needs a YAML file after it")
    if config:
        check_config(Path(config[0]))
    *parsed, unknown = parser.parse_args_and_config(argv, return_remaining_strings=True)
    if unknown:
        name = next((part for part in unknown if part.startswith("--")), unknown[0]).lstrip("-").partition("=")[0]
        known = [f.name for kind in types for f in fields(kind)]
        raise ValueError(f"`{name}` is no option of {prog}.{suggest(name, known)} --help lists them all.")
    for instance in parsed:
        check_types(instance)
    return tuple(parsed)


def check_config(path: Path) -> None:
    """Raise an error where `--config` is no file, no YAML, no mapping of names, or has a name twice."""
    import yaml

    if not path.is_file():
        raise FileNotFoundError(f"`--config` {str(path)!r} is no file. Give a YAML file of options.")
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"`--config` {str(path)!r} is no YAML: {error}") from error
    if node is None:
        return
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"`--config` {str(path)!r} must hold a mapping of options, as in: learning_rate: 0.001")
    names = [key.value if key.tag.endswith(":str") else None for key, _ in node.value]
    if None in names:
        raise ValueError(f"`--config` {str(path)!r}: every option's name must be a text, as in: learning_rate: 0.001")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"`--config` {str(path)!r} names `{twice[0]}` twice. Leave one of them out.")


def _raise(message: str) -> None:
    raise ValueError(message)


def check_types(arguments: object) -> None:
    """Raise a `ValueError` where an option of ours, from a YAML say, is not of its type. Trainer checks its own."""
    from transformers import TrainingArguments

    theirs = TrainingArguments.__dataclass_fields__
    for name, hint in get_type_hints(type(arguments)).items():
        value = getattr(arguments, name, None)
        if name in theirs and hint in (int, float) and isinstance(value, (list, dict)):
            raise ValueError(f"`{name}` must be a number, but {value!r} was passed")
        if name in theirs or name not in type(arguments).__dataclass_fields__:
            continue
        kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        allowed = [get_origin(kind) or kind for kind in kinds]
        number = float in allowed and isinstance(value, int) and not isinstance(value, bool)
        right = type(value) in allowed or number or (name in ("columns", "method_options") and isinstance(value, dict))
        if list in allowed and isinstance(value, list) and name != "shots":
            numbers = list[float] in kinds
            right = all(isinstance(entry, (int, float) if numbers else str) for entry in value)
        if not right:
            names = " or ".join("nothing" if kind is NoneType else kind.__name__ for kind in allowed)
            raise ValueError(f"`{name}` must be of type {names}, but {value!r} was passed")


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


def resolve_format(facts: Dataset, tokenizer: object, training_args: object, max_length: int | None) -> PromptFormat:
    """The run's prompt format, after every check that needs no forward pass."""
    form = PromptFormat.resolve(
        training_args.prompt_format,
        facts["prompt"][:],
        tokenizer,
        training_args.system_prompt,
        parse_shots(training_args.shots),
    )
    check_shots(form, facts)
    tokenize_facts(facts, tokenizer, form, max_length)
    return form
