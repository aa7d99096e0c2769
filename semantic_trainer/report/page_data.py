"""What the page's tables show, as JSON that cannot end its script element: facts, and prompts that were disturbed."""

import json
import math
from collections.abc import Mapping, Sequence

from datasets import Dataset
from markupsafe import Markup

ARMS = ("plain", "weighted")
# Characters that HTML or old JavaScript would read; inside JSON they only occur in strings, where \u is the same.
UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
PLAIN = ("prompt", "target", "relation", "ground_truth", "known_label", "old_answer", "distance", "weight")
LISTS = ("paraphrases", "locality_prompts", "before_locality_answers", "before_knowledge_accuracy")
OF_ARM = (
    *("answer", "answer_truncated", "distance", "knowledge_accuracy", "deviation"),
    *("paraphrase_answers", "generality", "locality_answers", "first_learnt"),
)
Row = Mapping[str, object]


def to_island(data: object) -> Markup:
    """JSON for a `<script type="application/json">`, with nothing in it that HTML could read.

    Example:
        >>> print(to_island("</script>"))
        "\\u003c/script\\u003e"
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.translate(UNSAFE))


def page_data(table: Dataset) -> dict[str, list[dict]]:
    """`{"facts": rows, "disturbed": rows}` of a run's per-fact table; columns it lacks are left empty."""
    names = [*PLAIN, *LISTS, *(f"{arm}_{name}" for arm in ARMS for name in OF_ARM)]
    rows = table.select_columns([name for name in names if name in table.column_names]).to_list()
    disturbed = disturbed_prompts(rows)
    places = {row["prompt"]: i for i, row in enumerate(disturbed)}
    return {"facts": [_fact(row, places, disturbed) for row in rows], "disturbed": disturbed}


def disturbed_prompts(rows: Sequence[Row]) -> list[dict]:
    """Locality prompts whose answer changed in either arm, each once, those of most facts first.

    Returns:
        `{prompt, old, plain, weighted, facts}`: the base's answer and the arms', `None` where it is still the base's.
    """
    found: dict[str, dict] = {}
    for row in rows:
        old = row.get("before_locality_answers") or []
        new = [row.get(f"{arm}_locality_answers") or old for arm in ARMS]
        asked = {prompt: rest for prompt, *rest in zip(row.get("locality_prompts") or [], old, *new, strict=False)}
        for prompt, (was, *now) in asked.items():
            changed = {arm: text if text != was else None for arm, text in zip(ARMS, now, strict=True)}
            if any(text is not None for text in changed.values()):
                found.setdefault(prompt, {"prompt": prompt, "old": was, **changed, "facts": 0})["facts"] += 1
    return sorted(found.values(), key=lambda row: -row["facts"])


def _fact(row: Row, places: Mapping[str, int], disturbed: Sequence[Row]) -> dict[str, object]:
    """One fact as the page shows it."""
    near = sorted({places[prompt] for prompt in row.get("locality_prompts") or [] if prompt in places})
    return {
        **{name: row.get(name) for name in ("prompt", "target", "relation", "ground_truth", "known_label")},
        "old": row.get("old_answer"),
        "known": bool(row.get("before_knowledge_accuracy")),
        "distance": _number(row.get("distance")),
        "weight": _number(row.get("weight")),
        "paraphrases": row.get("paraphrases") or [],
        **{arm: _arm(row, arm, [i for i in near if disturbed[i][arm] is not None]) for arm in ARMS},
    }


def _arm(row: Row, arm: str, disturbed: Sequence[int]) -> dict[str, object]:
    """What an arm made of a fact; `disturbed` are places in the list of disturbed prompts."""
    return {
        "answer": row.get(f"{arm}_answer"),
        "cut": bool(row.get(f"{arm}_answer_truncated")),
        "right": bool(row.get(f"{arm}_knowledge_accuracy")),
        "away": bool(row.get(f"{arm}_deviation")),
        "distance": _number(row.get(f"{arm}_distance")),
        "rephrased": row.get(f"{arm}_paraphrase_answers") or [],
        "general": row.get(f"{arm}_generality") or [],
        "disturbed": disturbed,
        "learnt": _epoch(row, f"{arm}_first_learnt"),
    }


def _epoch(row: Row, name: str) -> int | None:
    """The epoch in which a fact was first learnt, 0 where it was in none; `None` where no history was kept."""
    return (row[name] or 0) if name in row else None


def _number(value: float | None) -> float | None:
    """Five decimals; what is no number is null."""
    return None if value is None or not math.isfinite(value) else round(value, 5)
