"""Pieces of messages: row numbers, values cut short, and names that were perhaps meant."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

SHOWN_ROWS = 10
SHOWN_CHARACTERS = 200


def show_rows(rows: Sequence[object]) -> str:
    """Row numbers (counted from 0) for a message, the first ten of them."""
    more = f" and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else ""
    return ("rows " if len(rows) > 1 else "row ") + ", ".join(map(str, rows[:SHOWN_ROWS])) + more


def counted(number: float, noun: str) -> str:
    """`1 epoch`, `4 epochs`."""
    return f"{number:g} {noun}{'s' * (number != 1)}"


def suggest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'target'?`, or an empty string where nothing known is near."""
    near = get_close_matches(name, [str(k) for k in known], n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def meant(name: str, found: Iterable[str]) -> str:
    """` Is 'tagret' meant as 'target'?` for a column that is missing, or an empty string."""
    near = get_close_matches(name, [str(f) for f in found], n=1, cutoff=0.6)
    return f" Is {near[0]!r} meant as {name!r}?" if near else ""


def shown(value: object, width: int = SHOWN_CHARACTERS) -> str:
    """`repr`, cut to `width` characters; what is nested too deeply or too large for `repr` is named by its type."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # a list in a list in a list ...; an integer of more than 4300 digits
        return f"a value of type {type(value).__name__} too large to show"
    return text if len(text) <= width else f"{text[:width]}..."


def readable(names: Iterable[object]) -> str:
    """Column names for a message, in order, each as it stands where it can be printed."""
    shown_names = [str(name) if str(name).isprintable() and str(name) else repr(str(name)) for name in names]
    more = f" and {len(shown_names) - 3 * SHOWN_ROWS} more" if len(shown_names) > 3 * SHOWN_ROWS else ""
    return ", ".join(shown_names[: 3 * SHOWN_ROWS]) + more
