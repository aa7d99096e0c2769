"""What a cell of a row may hold, in whatever shape files write it; what it must not hold is named by its column."""

from collections.abc import Mapping

from .messages import shown
from .schema import as_list, as_texts

Row = Mapping[str, object]


def texts(row: Row, column: str) -> list[str]:
    """A cell of one text or several."""
    value = row.get(column)
    if value is None:
        return []
    try:
        return as_texts(value)
    except ValueError as error:
        raise ValueError(f"column {column!r} {error}") from error


def first_text(value: object, column: str) -> str | None:
    """The first text of a cell that holds one, or a list of them, or a list of such lists, as KnowEdit's do."""
    value = as_list(value)
    while isinstance(value, (list, tuple)):
        value = next((entry for entry in map(as_list, value) if entry), None)
    if not isinstance(value, (str, type(None))):
        raise ValueError(f"column {column!r} must hold a text or a list of texts, but {shown(value)} was found")
    return value if value and value.strip() else None


def an_object(value: object, column: str) -> Mapping:
    """A cell of named values; nothing counts as none."""
    if not isinstance(value, (Mapping, type(None))):
        raise ValueError(f"column {column!r} must hold an object, but {shown(value)} was found")
    return value or {}


def answers(value: object, row: Row, column: str) -> dict[str, object]:
    """`target` and `aliases`: of a cell that holds a list, the first text is the target and the others are aliases.

    Nothing counts as an empty target, which is refused or dropped with its row.
    """
    aliases = texts(row, "aliases")
    value = "" if value is None else value
    if isinstance(value, str):
        return {"target": value, "aliases": aliases}
    value = as_list(value)
    if isinstance(value, (list, tuple)):
        target, *others = texts({column: value}, column) or [""]
        return {"target": target, "aliases": others + aliases}
    return {"target": value, "aliases": aliases}


def questions(value: object, column: str) -> list[Mapping]:
    """A cell of `{prompt, ...}` objects: a list of them, or KnowEdit's groups, an object of such lists."""
    value = as_list(value)
    groups = [as_list(group) for group in (value.values() if isinstance(value, Mapping) else [value])]
    found = [group for group in groups if group is not None]
    if not all(isinstance(group, (list, tuple)) for group in found) or not all(
        isinstance(question, Mapping) and "prompt" in question for group in found for question in group
    ):
        raise ValueError(f"column {column!r} must be a list of objects with a prompt, but {shown(value)} was found")
    return [question for group in found for question in group]


def _hop(prompt: object, answer: object, column: str) -> dict[str, str] | None:
    """One portability question; none where it has no question or no answer."""
    prompt, answer = first_text(prompt, column), first_text(answer, column)
    return {"prompt": prompt, "answer": answer} if prompt and answer else None


def hops(value: object, column: str = "portability") -> list[dict[str, str]]:
    """Portability: `{prompt, answer}` as ours, KnowEdit's groups of `{prompt, ground_truth}`, or EasyEdit's
    `{"New Question", "New Answer"}`."""
    if value is None:
        return []
    value = as_list(value)
    if isinstance(value, Mapping) and "New Question" in value:
        found = [_hop(value["New Question"], value.get("New Answer"), column)]
    else:
        asked = questions(value, column)
        if any("answer" not in question and "ground_truth" not in question for question in asked):
            raise ValueError(f"column {column!r} must be a list of {{prompt, answer}}, but {shown(value)} was found")
        found = [_hop(q["prompt"], q.get("answer", q.get("ground_truth")), column) for q in asked]
    return [hop for hop in found if hop]


def own_columns(row: Row) -> dict[str, object]:
    """Our optional columns, which every format may carry; a text where a list belongs counts as a list of one."""
    return {
        "subject": row.get("subject"),
        "relation": row.get("relation"),
        "ground_truth": row.get("ground_truth"),
        "paraphrases": texts(row, "paraphrases"),
        "locality_prompts": texts(row, "locality_prompts"),
        "portability": hops(row.get("portability")),
    }
