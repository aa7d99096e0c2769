"""What others wrote, checked before it is used: JSON of bounded depth, and a summary of the right types."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

Check = tuple[str, Callable[[object], bool]]  # what it must be, in words; whether it is
DEEPEST, LONGEST, MANY = 30, 200_000, 100_000
SHOWN = 60


def read_json(path: Path, where: str) -> dict[str, object]:
    """A JSON object from a file that somebody else wrote.

    Raises:
        ValueError: it is no JSON, holds NaN or infinity, is no object, or is nested more than 30 deep.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except RecursionError:
        raise ValueError(f"{where} is nested too deeply to be what `run` wrote: it is not read.") from None
    except ValueError as error:
        raise ValueError(f"{where} is no JSON ({error}): it is torn, or was never written by `run`.") from error
    if not isinstance(data, dict):
        raise ValueError(f"{where} must hold a JSON object, but {shown(data)} was found.")
    if too_deep(data):
        raise ValueError(f"{where} is nested more than {DEEPEST} deep: it is not read.")
    return data


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def too_deep(value: object, depth: int = 0) -> bool:
    """Whether a value of JSON is nested more than `DEEPEST` deep."""
    if not isinstance(value, (dict, list)):
        return False
    entries = value.values() if isinstance(value, dict) else value
    return depth >= DEEPEST or any(too_deep(entry, depth + 1) for entry in entries)


def shown(value: object) -> str:
    """A value in a message: short, in one line, without control characters."""
    text = ascii(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST


def whole(low: int, high: int) -> Check:
    """A whole number within bounds."""
    return (
        f"a whole number from {low} to {high:,}",
        lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high,
    )


def maybe(check: Check) -> Check:
    """The same, or null."""
    return f"{check[0]} or null", lambda v: v is None or check[1](v)


TEXT: Check = (f"a text of at most {LONGEST:,} characters", is_text)
TEXTS: Check = (
    f"a list of at most {MANY:,} texts",
    lambda v: isinstance(v, list) and len(v) <= MANY and all(map(is_text, v)),
)
NUMBER: Check = ("a number", is_number)
SHARE: Check = ("a number from 0 to 1", lambda v: is_number(v) and 0 <= v <= 1)
INTERVAL: Check = ("two numbers", lambda v: isinstance(v, list) and len(v) == 2 and all(map(is_number, v)))
SWITCH: Check = ("true or false", lambda v: isinstance(v, bool))
COLUMNS: Check = (
    "a list or a mapping of texts",
    lambda v: TEXTS[1](v) or (isinstance(v, dict) and all(map(is_text, (*v, *v.values())))),
)
DIGEST: Check = ("64 hexadecimal digits", lambda v: is_text(v) and len(v) == 64 and set(v) <= set("0123456789abcdef"))
# Options that scoring again reads; those with False may be missing.
CONFIG: Mapping[str, tuple[Check, bool]] = {
    **dict.fromkeys(("model", "dtype", "prompt_format", "prompt_text"), (TEXT, True)),
    **dict.fromkeys(("revision", "system_prompt"), (maybe(TEXT), True)),
    **{"max_new_tokens": (whole(1, 4096), True), "answer_batch_size": (whole(1, 4096), False)},
    **{"facts": (TEXTS, True), "shots": (maybe(TEXTS), True), "columns": (maybe(COLUMNS), False)},
    **dict.fromkeys(("seed", "facts_seed"), (whole(0, 2**63 - 1), False)),
    **dict.fromkeys(("method", "facts_format", "facts_hash", "weighting"), (TEXT, False)),
    **dict.fromkeys(("load_in", "split"), (maybe(TEXT), False)),
    **{"limit": (maybe(whole(1, 2**53)), False), "use_cpu": (SWITCH, False)},
}
SCORE = {
    **{"value": (maybe(NUMBER), True), "ci95": (maybe(INTERVAL), True)},
    **{"n": (whole(0, 2**53), True), "protocol": (TEXT, True)},
}
BASE = {
    **dict.fromkeys(("id", "commit", "weights"), (maybe(TEXT), False)),
    **{"name": (TEXT, True), "sha256": (maybe(DIGEST), False)},
}
PUBLISHED = {"arm": (TEXT, True), "sha256": (DIGEST, True)}
UNBOUNDED = ("relative_deviation", "next_token_kl", "leak_gap")  # the metrics that are no shares


def check_fields(data: object, fields: Mapping[str, tuple[Check, bool]], key: str, where: str) -> None:
    """Raise a `ValueError` where an object lacks a field or has one of another type; the message names it."""
    if not isinstance(data, dict):
        raise ValueError(f"{where}: `{key}` must be an object, but {shown(data)} was found.")
    for name, ((words, holds), needed) in fields.items():
        if name not in data:
            if needed:
                raise ValueError(f"{where}: `{key}` lacks `{name}`.")
        elif not holds(data[name]):
            raise ValueError(f"{where}: `{key}.{name}` must be {words}, but {shown(data[name])} was found.")


def check_summary(data: Mapping[str, object], where: str, metrics: tuple[str, ...]) -> None:
    """Raise a `ValueError`, in one sentence that names the key, where a summary is not as `run` writes it.

    Args:
        data: of `semantic_summary.json`.
        where: names the file.
        metrics: those that each run must have.
    """
    for key in ("config", "environment", "facts", "distances", "runs"):
        if not isinstance(data.get(key), dict):
            raise ValueError(f"{where}: `{key}` must be an object, but {shown(data.get(key))} was found.")
    check_fields(data["config"], CONFIG, "config", where)
    check_fields(data["facts"], {"taught": (whole(1, 2**53), True)}, "facts", where)
    for name, fields in (("base", BASE), ("published", PUBLISHED)):
        if data["environment"].get(name) is not None:
            check_fields(data["environment"][name], fields, f"environment.{name}", where)
    if "before" not in data["runs"]:
        raise ValueError(f"{where}: `runs` lacks `before`.")
    for run, scores in data["runs"].items():
        key = f"runs.{shown(run)[1:-1]}"
        if not isinstance(scores, dict) or not set(metrics) <= set(scores):
            raise ValueError(f"{where}: `{key}` must hold the scores {', '.join(metrics)}.")
        for metric in metrics:
            check_fields(scores[metric], SCORE, f"{key}.{metric}", where)
            value = scores[metric]["value"]
            if value is not None and metric not in UNBOUNDED and not SHARE[1](value):
                raise ValueError(f"{where}: `{key}.{metric}.value` must be {SHARE[0]}, but {shown(value)} was found.")
