"""Answered examples before a prompt: how they are given, and that they give no fact away."""

import re
from collections.abc import Sequence

from datasets import Dataset

ARROW = "=>"
# Question/answer pairs, {question, answer} mappings, or "Question? => Answer" texts.
Shots = Sequence[object]


def parse_shots(shots: Sequence[object] | str | None) -> tuple[tuple[str, str], ...]:
    """`"Question? => Answer"` texts, `{question, answer}` mappings or pairs -> question/answer pairs.

    Raises:
        ValueError: it is no list, or an entry has no question or no answer.
    """
    if not isinstance(shots, Sequence | None):
        raise ValueError(f'`shots` must be a list of "Question? {ARROW} Answer", but {shots!r} was passed')
    pairs = []
    for shot in [shots] if isinstance(shots, str) else shots or ():
        if isinstance(shot, str):
            question, _, answer = shot.rpartition(ARROW)
        elif isinstance(shot, dict):
            question, answer = shot.get("question") or "", shot.get("answer") or ""
        else:
            question, answer = shot if isinstance(shot, Sequence) and len(shot) == 2 else ("", "")
        if not (str(question).strip() and str(answer).strip()):
            raise ValueError(f'`shots` entry {shot!r} is not of the form "Question? {ARROW} Answer"')
        pairs.append((str(question).strip(), str(answer).strip()))
    return tuple(pairs)


def check_shots(shots: Sequence[tuple[str, str]], facts: Dataset) -> None:
    """Raise a `ValueError` where a shot gives a fact away: it asks one of its questions or names its subject."""
    columns = ("prompt", "paraphrases", "locality_prompts", "subject")
    rows = facts.select_columns([c for c in columns if c in facts.column_names])
    for question, answer in shots:
        for i, row in enumerate(rows):
            others = [*(row.get("paraphrases") or ()), *(row.get("locality_prompts") or ())]
            asked = {row["prompt"].strip(), *(other.strip() for other in others)}
            subject = (row.get("subject") or "").strip()
            named = bool(subject) and re.search(rf"(?<!\w){re.escape(subject)}(?!\w)", question, re.IGNORECASE)
            if question.strip() in asked or named:
                raise ValueError(
                    f"`shots` must be disjoint from all facts, but {question!r} -> {answer!r} is about row {i} "
                    f"({row['prompt']!r}). Choose another example."
                )
