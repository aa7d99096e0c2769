"""Of what type an option's value may be: of those of a YAML, and of those that a dataclass was made of."""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Union, get_args, get_origin, get_type_hints

SPELLED = {bool: "true or false", int: "an integer", float: "a number", str: "a text", NoneType: "nothing"}


def check_values(
    options: Mapping[str, object], types: tuple[type, ...], texts_are_read: bool = True, where: str = ""
) -> None:
    """Refuse values of a YAML that are no number, text, true or false where the option is one.

    The dataclasses, and those who train with them, take that for granted.

    Args:
        texts_are_read: whether a parser reads a text as it would on the command line, whatever the option is.
        where: begins the error.

    Raises:
        ValueError: an option's value is of another type, or nothing where there must be something.
    """
    hints = {name: hint for kind in types for name, hint in get_type_hints(kind).items()}
    for name, value in options.items():
        kinds = kinds_of(hints.get(name))
        if (texts_are_read and isinstance(value, str)) or not SPELLED.keys() >= {*kinds}:
            continue
        if type(value) not in kinds and not (float in kinds and type(value) is int):
            wanted, found = " or ".join(map(SPELLED.get, kinds)), "nothing" if value is None else repr(value)
            raise ValueError(f"{where}`{name}` must be {wanted}, but {found} was passed")


def kinds_of(hint: object) -> tuple[object, ...]:
    """The types that a hint names: `int | None` gives two."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def check_types(arguments: object) -> None:
    """Raise a `ValueError` where an option of ours is not of its type, entries of lists included."""
    from transformers import TrainingArguments

    theirs = TrainingArguments.__dataclass_fields__
    for name, hint in get_type_hints(type(arguments)).items():
        value = getattr(arguments, name, None)
        if name in theirs or name not in type(arguments).__dataclass_fields__:
            continue
        kinds = kinds_of(hint)
        allowed = [get_origin(kind) or kind for kind in kinds]
        number = float in allowed and isinstance(value, int) and not isinstance(value, bool)
        right = type(value) in allowed or number or (name in ("columns", "method_options") and isinstance(value, dict))
        if list in allowed and isinstance(value, list) and name != "shots":
            entries = int if list[int] in kinds else (int, float) if list[float] in kinds else str
            right = all(isinstance(entry, entries) for entry in value)
        mappings = [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
        if mappings and not right:
            key, rest = next(iter(mappings[0].items()), ("NAME", "..."))
            raise ValueError(
                f"`{name}` holds a mapping, {mappings[0]!r}, where a text must be: YAML takes an entry with a colon "
                f'for one. Put it in quotes, as in "{key}: {rest}"'
            )
        if not right:
            names = " or ".join("nothing" if kind is NoneType else kind.__name__ for kind in allowed)
            raise ValueError(f"`{name}` must be of type {names}, but {value!r} was passed")
