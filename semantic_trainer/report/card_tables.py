"""The tables of a model card, and what is said below them."""

from collections.abc import Mapping

from ..evaluation.evaluator import METRICS
from .markdown import as_answer, as_code, as_text, table
from .reproduce import changed_options, words
from .scores import TITLES, format_score
from .summary import RunSummary

SHOWN_RELATIONS = 20


def count(n: int) -> str:
    """`64 facts`."""
    return "1 fact" if n == 1 else f"{n} facts"


def relations(facts: Mapping[str, object]) -> str:
    """A table of the relations and how many facts each has."""
    found = facts.get("relations") or {}
    if not found:
        return f"{count(facts['taught'])}, without named relations."
    shown = list(found.items())[:SHOWN_RELATIONS]
    rest = list(found.items())[SHOWN_RELATIONS:]
    rows = [[as_text(name), str(n)] for name, n in shown]
    if rest:
        rows.append([f"{len(rest)} more relations", str(sum(n for _, n in rest))])
    without = facts["taught"] - sum(found.values())
    return table(["relation", "facts"], rows + ([["none", str(without)]] if without else []))


def examples(facts: Mapping[str, object], arm: str) -> str:
    """A table of the examples: old, target and new answer; the truth where one is known."""
    found = facts.get("examples") or []
    if not found:
        return ""
    true = any(row["truth"] for row in found)
    head = ["question", *(["true answer"] if true else []), "target", "old answer", "new answer"]
    rows = [
        [
            as_text(row["prompt"]),
            *([as_text(row["truth"] or "–")] if true else []),
            as_text(row["target"]),
            as_answer(row["old"]),
            as_answer(row[arm]),
        ]
        for row in found
    ]
    return table(head, rows)


def protocols(summary: RunSummary, arm: str) -> list[str]:
    """How each metric of the table was measured; metrics measured alike are named together."""
    found: dict[str, list[str]] = {}
    for metric in METRICS:
        found.setdefault(str(summary.runs[arm][metric]["protocol"]), []).append(TITLES[metric])
    return [f"{'; '.join(titles)}: {as_text(protocol, 240)}" for protocol, titles in found.items()]


def noise_floor(summary: RunSummary) -> str:
    """How far locality would fall of itself, asked in other batches."""
    score = summary.runs["before"].get("locality_noise_floor")
    if not score or score["value"] is None:
        return ""
    return (
        f"Noise floor of locality: the base, asked again in other batches, answers {format_score(score)} of its "
        f"{score['n']} facts' unrelated questions alike."
    )


def disturbed(summary: RunSummary, arm: str) -> str:
    """What else changed, in words."""
    value = summary.runs[arm]["locality"]["value"]
    return (
        ""
        if value is None
        else f"{1 - value:.0%} of the unrelated questions asked get another answer than from the base."
    )


def options(config: Mapping[str, object]) -> str:
    """A table of the options that are not at their default, or whose default depends on the method."""
    changed = changed_options(config)
    rows = [[as_code(name), as_text("; ".join(words(value, name)), 240)] for name, value in changed.items()]
    return (
        "Options, but for those at a default that holds for every method:\n\n" + table(["option", "value"], rows)
        if rows
        else "All options are at their default."
    )
