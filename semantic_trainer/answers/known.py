"""Known before training? The greedy part of SliCK: how often few-shot prompts bring the base to say the answer."""

import logging
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..facts.cutting import strict
from ..facts.prompts import PromptFormat, as_prompt_format, check_tokenizer
from ..facts.schema import replace_columns, require_columns, require_dataset, require_strings
from .decoding import GenerationSettings
from .stage import answer_prompts, open_store
from .store import model_key

logger = logging.getLogger(__name__)
LABELS = ("unknown", "weakly_known", "maybe_known", "highly_known")


def known_label(share: float) -> str:
    """The label of a share of right answers: 0, below a half, below 1, and 1.

    Example:
        >>> [known_label(share) for share in (0.0, 0.3, 0.5, 1.0)]
        ['unknown', 'weakly_known', 'maybe_known', 'highly_known']
    """
    return LABELS[0 if share <= 0 else 3 if share >= 1 else 1 if share < 0.5 else 2]


def with_shots(form: PromptFormat, shots: Sequence[tuple[str, str]], processing_class: object) -> PromptFormat:
    """The format with these examples in the place of its own.

    Raises:
        ValueError: it is none of those that can be made anew, such as one of prompts that TRL has rendered.
    """
    if form.kind == "chat":
        return PromptFormat.chat(processing_class, form.system, shots)
    if form.kind not in ("question_answer", "cloze"):
        raise ValueError(f'`prompt_format` "{form.kind}" takes no other examples. Use chat, question_answer or cloze.')
    return PromptFormat.question_answer(shots) if form.kind == "question_answer" else PromptFormat.cloze(shots)


def _groups(facts: Dataset, shots: int) -> list[list[int]]:
    """Rows that may serve one another as examples: those of one relation, or all others where that has too few."""
    relations = facts["relation"][:] if "relation" in facts.column_names else [None] * len(facts)
    groups: dict[str | None, list[int]] = defaultdict(list)
    for i, relation in enumerate(relations):
        groups[relation].append(i)
    large = [rows for rows in groups.values() if len(rows) >= 2 * shots]
    small = sorted(set(range(len(facts))) - {i for rows in large for i in rows})
    if 0 < len(small) < 2 * shots and large:
        large[-1] = sorted([*large[-1], *small])
        small = []
    return [*large, small] if small else large


def draw_prompts(facts: Dataset, answers: Sequence[str], shots: int, draws: int, seed: int) -> list[dict]:
    """`{"shots": pairs, "rows": row numbers}`: who is asked after which examples, every row once a draw.

    Each draw takes two disjoint sets of examples from a group; the rows of the first are asked after the second.
    """
    prompts, plan = facts["prompt"][:], []
    for rows in _groups(facts, shots):
        few = min(shots, len(rows) // 2)
        for draw in range(draws):
            drawn = random.Random(f"{seed} {draw} {rows[0]}").sample(rows, 2 * few)
            first, second = drawn[:few], drawn[few:]
            for examples, asked in ((first, [i for i in rows if i not in first]), (second, first)):
                pairs = tuple((prompts[i].strip(), answers[i].strip()) for i in examples)
                plan.append({"shots": pairs, "rows": asked})
    return plan


def add_known_labels(
    facts: Dataset,
    model: object,
    processing_class: object,
    prompt_format: PromptFormat | str | None = None,
    answer_column: str = "target",
    shots: int = 4,
    draws: int = 10,
    max_new_tokens: int = 32,
    batch_size: int = 64,
    dtype: str = "auto",
    store_dir: str | Path | None = None,
    seed: int = 42,
) -> Dataset:
    """Add `known_share`, the share of few-shot prompts that the base answers right, and `known_label`, its bin.

    The greedy part of SliCK ("Does Fine-Tuning LLMs on New Knowledge Encourage Hallucinations?", Gekhman et al., EMNLP
    2024): `P(correct | greedy)` over 10 prompts with random examples of the same relation. SliCK tells its two lower
    categories apart by sampling; here four bins of the greedy share carry the names: `unknown` 0, `weakly_known`
    below a half, `maybe_known` below 1, `highly_known` 1.

    Args:
        facts: dataset with `prompt`, `target` and, if there are any, `relation` and `aliases`; at least two facts.
        answer_column: what counts as right, and stands in the examples: `target`, or `ground_truth` for what a
            counterfactual fact replaces.
        shots: examples a prompt, from facts of the same relation where it has twice as many; default 4.
        draws: prompts a fact; default 10. Each is answered, so this asks the base `draws` times.
        prompt_format: as in `add_old_answers`; the examples that are drawn take the place of its own.
        max_new_tokens, batch_size, dtype, store_dir: as there.
        seed: of the examples.

    Returns:
        The dataset with `known_share`, float64 in [0, 1], and `known_label` added or replaced.

    Raises:
        TypeError: `facts` is no `datasets.Dataset`.
        ValueError: missing column, blank cells, fewer than two facts, `shots` or `draws` below 1.

    Example:
        >>> facts = add_known_labels(load_facts("builtin:counterfactual[16]"), model, tokenizer)
        >>> facts[0]["known_label"]
        'unknown'
    """
    require_dataset(facts)
    require_columns(facts, ("prompt", answer_column))
    require_strings(facts, ("prompt", answer_column))
    check_tokenizer(processing_class)
    if shots < 1 or draws < 1:
        raise ValueError(f"`shots` and `draws` must be at least 1, but {shots} and {draws} were passed")
    if len(facts) < 2:
        raise ValueError("`facts` must hold at least two facts: each is asked after examples made of others.")
    right = facts[answer_column][:]
    aliases = facts["aliases"][:] if answer_column == "target" and "aliases" in facts.column_names else None
    form = as_prompt_format(prompt_format, facts["prompt"][:], processing_class)
    settings, hits = GenerationSettings(max_new_tokens, dtype), np.zeros(len(facts))
    key = model_key(model) if hasattr(model, "state_dict") else None  # it reads all weights: once
    for part in draw_prompts(facts, right, shots, draws, seed):
        asked = facts.select(part["rows"])["prompt"][:]
        drawn = with_shots(form, part["shots"], processing_class)
        store = open_store(model, processing_class, drawn, settings, store_dir, key) if key else None
        how = (settings, False, batch_size, store_dir, "few-shot answers")
        found = answer_prompts(model, processing_class, asked, drawn, *how, store=store)
        for i, prompt in zip(part["rows"], asked, strict=True):
            hits[i] += strict(found[prompt].text, right[i], (aliases[i] or ()) if aliases else ())
    shares = hits / draws
    return replace_columns(facts, {"known_share": shares, "known_label": [known_label(s) for s in shares]})
