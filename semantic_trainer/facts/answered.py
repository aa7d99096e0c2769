"""Old answers that come with facts, and who gave them: the columns that published facts have beside their own."""

import re
from collections.abc import Callable, Iterable

from datasets import Dataset, Features, Value

from .cells import Row
from .cutting import cut
from .messages import shown
from .schema import STRING

ANSWERED_BY = "answered_by"
ANSWER_FEATURES = Features(
    {
        "old_answer": STRING,
        "old_answer_truncated": Value("bool"),
        ANSWERED_BY: STRING,
        "distance": Value("float64"),
    }
)
# What an answer depends on, each with the first digits of its hash: `model:0123456789abcdef tokenizer:...`.
PARTS = ("model", "tokenizer", "prompt_format", "generation")
STAMP = re.compile(" ".join(f"{part}:[0-9a-f]{{16}}" for part in PARTS))
SLACK = 1e-6  # of a distance, for rounding


def answer_columns(keys: Iterable[str]) -> tuple[str, ...]:
    """The columns of old answers that are read from a set with these: none where it is not said who answered.

    Example:
        >>> answer_columns(["prompt", "target", "old_answer", "distance"])
        ()
    """
    keys = set(keys)
    return tuple(name for name in ANSWER_FEATURES if name in keys) if {"old_answer", ANSWERED_BY} <= keys else ()


def reading_answers(read: Callable[[Row], dict], columns: tuple[str, ...]) -> Callable[[Row], dict]:
    """How a row of a format is read, with these columns of old answers too."""
    return lambda row: {**read(row), **{name: _checked(name, row.get(name)) for name in columns}}


def _checked(name: str, value: object) -> object:
    """A cell of old answers as it is, or a `ValueError`: others may have written it."""
    if name == "old_answer":
        whole = isinstance(value, str) and value == value.encode(errors="replace").decode()
        right, wanted = whole and cut(value) == value, "an answer of one line, without a full stop or quotes around it"
    elif name == "old_answer_truncated":
        right, wanted = isinstance(value, bool), "true or false"
    elif name == ANSWERED_BY:
        right, wanted = isinstance(value, str) and bool(STAMP.fullmatch(value)), "what push_facts has written there"
    else:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        right, wanted = number and -SLACK <= value <= 2 + SLACK, "a number from 0 to 2"
    if not right:
        raise ValueError(f"column {name!r} must hold {wanted}, but {shown(value)} was found")
    return value


def differing_parts(stamps: Iterable[str], own: str) -> list[str]:
    """What others' answers were given by that is not one's own, in words.

    Example:
        >>> differing_parts(["model:1 tokenizer:2"], "model:3 tokenizer:2")
        ['model']
    """
    mine = set(own.split())
    parts = {part.partition(":")[0] for stamp in set(stamps) for part in set(stamp.split()) - mine}
    return [part.replace("_", " ") for part in PARTS if part in parts]


def require_own_answers(facts: Dataset, argument: str = "facts") -> None:
    """Raise a `ValueError` where the old answers came with the facts: whose they are has not been looked at yet."""
    if ANSWERED_BY in facts.column_names:
        raise ValueError(
            f"`{argument}` came with old answers, perhaps of another model (column {ANSWERED_BY!r}). Call "
            "add_old_answers(facts, model, processing_class) first: it takes over those of this model."
        )


def without_answers(facts: Dataset) -> Dataset:
    """The facts without the old answers that came with them; answers that were added here stay."""
    if ANSWERED_BY not in facts.column_names:
        return facts
    return facts.remove_columns([name for name in ANSWER_FEATURES if name in facts.column_names])
