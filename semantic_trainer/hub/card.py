"""What a published card claims: the numbers in its metadata and in its table, read without trusting who wrote it."""

import math
import re
from collections.abc import Mapping, Sequence

LONGEST, BRACKETS = 50_000, 500  # of metadata; the reader takes time by the square of brackets within each other
FRONT = re.compile(r"\A---\r?\n(.*?)\r?\n---", re.DOTALL)


def card_values(text: str) -> dict[str, float]:
    """Metric -> the value that a card's `model-index` claims, of its first model.

    Raises:
        ValueError: the metadata is no YAML, or not of the shape that the Hub reads.

    Example:
        >>> card_values("---\\nmodel-index: [{results: [{metrics: [{type: locality, value: 1}]}]}]\\n---\\n# card")
        {'locality': 1.0}
    """
    import yaml

    match = FRONT.match(text)
    front = match[1] if match else ""
    try:
        if len(front) > LONGEST or front.count("[") + front.count("{") > BRACKETS:
            raise ValueError("it is far larger than what any card of ours holds")
        # an alias can stand for two others, each of which for two more, and so on
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(front, yaml.SafeLoader)):
            raise ValueError("it holds aliases")
        models = (yaml.safe_load(front) or {}).get("model-index") or []
        metrics = [metric for result in models[0]["results"] for metric in result["metrics"]] if models else []
        return {str(metric["type"]): as_number(metric["value"]) for metric in metrics}
    except (yaml.YAMLError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ValueError(f"the card's metadata cannot be read ({reason})") from error


def as_number(value: object) -> float:
    """A claimed value as a number, or a `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("a value is no number")
    return float(value)


def contradictions(claimed: Mapping[str, float], scores: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Metrics of which a card claims another value than the summary it was made of."""
    return [
        metric
        for metric, value in claimed.items()
        if metric in scores and (scores[metric]["value"] is None or abs(scores[metric]["value"] - value) > 1e-6)
    ]


def other_rows(text: str, rows: Sequence[Sequence[str]]) -> list[str]:
    """Titles of the rows whose numbers stand otherwise in a card's table of results; missing ones do not count.

    Args:
        text: the card.
        rows: of title and cells, as the summary has them.

    Example:
        >>> other_rows("| Locality | 100.0 % | 97.5 % [90.2, 99.6] |", [["Locality", "100.0 %", "12.5 % [1.6, 38.3]"]])
        ['Locality']
    """
    found = {title: list(map(first_number, cells)) for title, *cells in rows}
    lines = [
        [cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if "|" in line
    ]
    return list(dict.fromkeys(t for t, *cells in lines if t in found and found[t] != list(map(first_number, cells))))


def first_number(text: str) -> str | None:
    """The first number of a text; `None` where there is none."""
    match = re.search(r"-?\d+(?:\.\d+)?", text)
    return match and match[0]
