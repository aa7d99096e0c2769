"""TRL's two formats: `prompt` and `completion`, as texts or as turns of a chat, and `messages`."""

from .cells import Row, answers, own_columns
from .messages import shown
from .schema import as_list


def _content(content: object) -> str:
    """A turn's text: a string, or the texts of its parts one after another."""
    if isinstance(content, str):
        return content
    parts = as_list(content)
    if not isinstance(parts, (list, tuple)) or not all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str) for part in parts
    ):
        raise ValueError(f"a turn's content must be a text or a list of text parts, but {shown(content)} was found")
    return "".join(part["text"] for part in parts)


def _turns(value: object, column: str) -> list[tuple[object, str]]:
    turns = as_list(value)
    if not isinstance(turns, (list, tuple)) or not all(
        isinstance(turn, dict) and {"role", "content"} <= set(turn) for turn in turns
    ):
        raise ValueError(f"column {column!r} must be a list of {{role, content}}, but {shown(value)} was found")
    return [(turn["role"], _content(turn["content"])) for turn in turns]


def _fact(row: Row, turns: list[tuple[object, str]]) -> dict[str, object]:
    """A fact is one question and one answer; what the system message says is counted and left out by the loader."""
    roles = [role for role, _ in turns]
    if roles not in (["user", "assistant"], ["system", "user", "assistant"]):
        raise ValueError(
            "a fact is one user turn and one assistant turn, after a system message or none, but the roles "
            f"{shown(roles)} were found. Keep one question and its answer a row"
        )
    *system, (_, prompt), (_, target) = turns
    said = {"system": system[0][1]} if system else {}
    return {**own_columns(row), **answers(target, row, "content"), "prompt": prompt, **said}


def read_messages(row: Row) -> dict[str, object]:
    """TRL's `messages`: a system turn or none, a user turn, an assistant turn."""
    return _fact(row, _turns(row.get("messages"), "messages"))


def read_prompt_completion(row: Row) -> dict[str, object]:
    """TRL's `prompt` and `completion`: both texts, or both lists of turns; no completion is an empty one."""
    prompt, completion = as_list(row.get("prompt")), as_list(row.get("completion"))
    if isinstance(prompt, list) and completion is None:
        completion = [{"role": "assistant", "content": ""}]
    if isinstance(prompt, list) or isinstance(completion, list):
        return _fact(row, _turns(prompt, "prompt") + _turns(completion, "completion"))
    return {**own_columns(row), **answers(completion, row, "completion"), "prompt": prompt}
