"""How a command's options are read: dataclasses filled from a YAML and the command line, every value checked."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import NoReturn, TypeVar, get_args, get_origin, get_type_hints

from ..facts.messages import suggest

T = TypeVar("T")


def parse(
    argv: Sequence[str], prog: str, types: tuple[type, ...], defaults: Mapping[str, object] | None = None
) -> tuple:
    """Dataclass instances from `--config FILE.yaml` and the command line, which wins.

    Args:
        defaults: what holds where neither says anything else; or what stands in the file, where it has been read.
    """
    from trl import TrlParser

    usage = f"semantic-trainer {prog} [--config FILE.yaml] [--OPTION VALUE ...]"  # argparse would list every option
    parser = TrlParser(types, prog=f"semantic-trainer {prog}", usage=usage, allow_abbrev=False)
    parser.error = refuse  # argparse would print every option first
    argv = [part for option in argv for part in (option.split("=", 1) if option.startswith("--config=") else [option])]
    config = argv[argv.index("--config") + 1 :][:1] if "--config" in argv else None
    if config is not None and (not config or config[0].startswith("--")):
        raise ValueError("`--config` needs a YAML file after it")
    if config:
        check_config(Path(config[0]))
    from_defaults = parser.set_defaults_with_config(**(defaults or {}))
    *parsed, unknown = parser.parse_args_and_config(argv, return_remaining_strings=True)
    unknown = [*from_defaults, *unknown]
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
    twice = _named_twice(node)
    if twice:
        raise ValueError(f"`--config` {str(path)!r} names `{twice}` twice. Leave one of them out.")


def _named_twice(node: object) -> str | None:
    """A name that one mapping of a YAML has twice, at any depth: the last one would win without a word."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        return next(filter(None, map(_named_twice, node.value)), None)
    if not isinstance(node, yaml.MappingNode):
        return None
    names = [key.value for key, _ in node.value]
    twice = next((str(name) for name in names if names.count(name) > 1), None)
    return twice or next(filter(None, (_named_twice(value) for _, value in node.value)), None)


def refuse(message: str) -> NoReturn:
    """In the place of a parser's `error`, which would print every option and leave."""
    raise ValueError(message)


def part_of(args: object, kind: type[T]) -> T:
    """The options of one dataclass among those of another that inherits from it."""
    return kind(**{f.name: getattr(args, f.name) for f in fields(kind)})


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
            entries = int if list[int] in kinds else (int, float) if list[float] in kinds else str
            right = all(isinstance(entry, entries) for entry in value)
        if not right:
            names = " or ".join("nothing" if kind is NoneType else kind.__name__ for kind in allowed)
            raise ValueError(f"`{name}` must be of type {names}, but {value!r} was passed")
