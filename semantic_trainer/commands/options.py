"""How a command's options are read: dataclasses filled from a YAML and the command line, every value checked."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import NoReturn, TypeVar

from ..facts.messages import suggest
from .values import check_types, check_values

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
    in_file = read_config(Path(config[0])) if config else {}
    check_values({**(defaults or {}), **in_file}, types)
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


def read_config(path: Path) -> dict[str, object]:
    """The options that stand in the file of `--config`.

    Raises:
        FileNotFoundError: it is no file.
        ValueError: it is no YAML, no mapping of names, or has a name twice.
    """
    import yaml

    if not path.is_file():
        raise FileNotFoundError(f"`--config` {str(path)!r} is no file. Give a YAML file of options.")
    try:
        text = path.read_text(encoding="utf-8")
        node, options = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # a date that there is not, say, is a ValueError
        raise ValueError(f"`--config` {str(path)!r} is no YAML: {error}") from error
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"`--config` {str(path)!r} must hold a mapping of options, as in: learning_rate: 0.001")
    names = [key.value if key.tag.endswith(":str") else None for key, _ in node.value]
    if None in names:
        raise ValueError(f"`--config` {str(path)!r}: every option's name must be a text, as in: learning_rate: 0.001")
    twice = _named_twice(node)
    if twice:
        raise ValueError(f"`--config` {str(path)!r} names `{twice}` twice. Leave one of them out.")
    return options


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
