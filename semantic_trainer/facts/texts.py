"""Whether facts hold texts where texts belong; each fault is named by column and rows."""

from collections.abc import Iterable
from itertools import chain

from .messages import show_rows, shown
from .schema import FACT_COLUMNS


def _require_text(facts: list[dict], column: str, allowed: tuple[type, ...], what: str, source: str) -> None:
    wrong = [fact for fact in facts if not isinstance(fact[column], allowed)]
    if wrong:
        value = wrong[0][column]
        raise ValueError(
            f"{source}: column {column!r} must hold {what}, but {show_rows([fact['row'] for fact in wrong])} hold(s) "
            f"{type(value).__name__}, first {shown(value)}. Convert it to text before loading."
        )


def _texts(value: object) -> Iterable[str]:
    """Every text in a cell of a fact."""
    if isinstance(value, str):
        return (value,)
    entries = value if isinstance(value, list) else ()
    return chain.from_iterable(entry.values() if isinstance(entry, dict) else (entry,) for entry in entries)


def _encodable(value: object) -> bool:
    try:
        "".join(_texts(value)).encode()
    except UnicodeEncodeError:
        return False
    return True


def check_text(facts: list[dict], source: str) -> None:
    """`prompt` and `target` are texts; a blank target is `check_facts`'s business, a blank prompt is ours."""
    for column in ("prompt", "target"):
        _require_text(facts, column, (str,), "strings", source)
    for column in ("subject", "relation", "ground_truth"):
        _require_text(facts, column, (str, type(None)), "strings or nothing", source)
    blank = [fact["row"] for fact in facts if not fact["prompt"].strip()]
    if blank:
        raise ValueError(
            f"{source}: column 'prompt' is empty in {show_rows(blank)}. Fill it in or leave those rows out."
        )


def broken_text(facts: list[dict], source: str) -> ValueError:
    """Names the column and the rows of a text that UTF-8 cannot hold."""
    column = next(name for name in FACT_COLUMNS[1:] if not all(_encodable(fact[name]) for fact in facts))
    rows = [fact["row"] for fact in facts if not _encodable(fact[column])]
    return ValueError(
        f"{source}: column {column!r} holds half of a surrogate pair, such as \\ud800, in {show_rows(rows)}: no text "
        "that can be written as UTF-8. Take it out, or write the whole character."
    )
