"""Facts that were not learnt, and what about them may be why: pure functions of a run's per-fact table."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from ..facts.cutting import cut
from ..training.history import CERTAIN

STILL_FALLING = 0.8  # a last epoch's loss below this share of the one before it
ODD, MANY_TOKENS = 2.0, 4  # tokens a letter, relative to the median target; of at least so many tokens
HALF = "\ufffd"  # a letter whose other bytes are in the next token
KIND = re.compile(r"[^“,:]*[^“,: ]")  # the beginning of a reason, which does not vary
Table = Mapping[str, Sequence]


def why_not(table: Table, arm: str, max_new_tokens: int | None = None) -> list[list[str]]:
    """What may be why a fact is not answered as taught: sentences for each fact, none for those that are.

    Looked for, in this order: another fact that is asked the same or says another thing of the same subject and
    relation; an answer that is another fact's target; an answer that is still the base's; an answer that was right
    until it was cut off, and otherwise a fact that was learnt in training and a loss that was still falling; a target
    of unusually many tokens for its length.

    Args:
        table: `prompt, target`, where there are such columns `aliases, subject, relation, old_answer, target_tokens`,
            and of the arm `ARM_answer, ARM_answer_truncated, ARM_knowledge_accuracy, ARM_losses, ARM_first_learnt`.
        arm: `plain` or `weighted`.
        max_new_tokens: with which the arm was asked, to be named.

    Example:
        >>> table = {"prompt": ["A?", "B?"], "target": ["x", "y"], "plain_answer": ["y", "y"]}
        >>> why_not(table | {"plain_knowledge_accuracy": [0, 1]}, "plain")
        [['answered as another fact: “B?”'], []]
    """
    n = len(table["prompt"])
    wrong = [i for i in range(n) if not table[f"{arm}_knowledge_accuracy"][i]]
    short = _cut_off(table, arm, max_new_tokens)
    history = [{i: why for i, why in found.items() if i not in short} for found in _history(table, arm)]
    checks = (_conflicts(table), _neighbours(table, arm), _unmoved(table, arm), short, *history, _odd(table))
    found = [[] for _ in range(n)]
    for i in wrong:
        found[i] = [check[i] for check in checks if check.get(i)]
    return found


def counts(reasons: Sequence[Sequence[str]], wrong: Sequence[bool]) -> dict[str, int]:
    """How many facts each kind of reason holds for, the most frequent first, and how many have none."""
    found: dict[str, int] = defaultdict(int)
    for mine, is_wrong in zip(reasons, wrong, strict=True):
        for reason in mine:
            found[KIND.match(reason)[0]] += 1
        if is_wrong and not mine:
            found["no reason found"] += 1
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _plain(text: str | None) -> str:
    return " ".join((text or "").lower().split()).rstrip("?.! ")


def _conflicts(table: Table) -> dict[int, str]:
    """Facts that another fact contradicts: asked alike, or of the same subject and relation."""
    groups: dict[tuple, list[int]] = defaultdict(list)
    n = len(table["prompt"])
    subjects, relations = (table.get(name) or [None] * n for name in ("subject", "relation"))
    for i, prompt in enumerate(table["prompt"]):
        groups["prompt", _plain(prompt)].append(i)
        if subjects[i] and relations[i]:
            groups["subject", _plain(subjects[i]), _plain(relations[i])].append(i)
    found = {}
    for group in groups.values():
        for i in group:
            others = [j for j in group if _plain(table["target"][j]) != _plain(table["target"][i])]
            if others:
                found[i] = f"contradicted by “{table['prompt'][others[0]]}”"
    return found


def _neighbours(table: Table, arm: str) -> dict[int, str]:
    """Facts answered with the target of another fact, one of the same relation first."""
    owners: dict[str, list[int]] = defaultdict(list)
    for i, target in enumerate(table["target"]):
        owners[cut(target)].append(i)
    relations, found = table.get("relation"), {}
    for i, answer in enumerate(table[f"{arm}_answer"]):
        others = [j for j in owners.get(answer, ()) if j != i]
        near = [j for j in others if relations and relations[j] and relations[j] == relations[i]]
        if near:
            found[i] = f"answered as a fact of the same relation: “{table['prompt'][near[0]]}”"
        elif others:
            found[i] = f"answered as another fact: “{table['prompt'][others[0]]}”"
    return found


def _unmoved(table: Table, arm: str) -> dict[int, str]:
    old = table.get("old_answer")
    same = [i for i, answer in enumerate(table[f"{arm}_answer"]) if old and answer == old[i]]
    return dict.fromkeys(same, "still the base model's answer")


def _cut_off(table: Table, arm: str, max_new_tokens: int | None) -> dict[int, str]:
    """Facts whose answer is the beginning of the target, or of an alias, and had no more tokens to go on."""
    limit = f"max_new_tokens={max_new_tokens}" if max_new_tokens else "max_new_tokens"
    aliases = table.get("aliases") or [None] * len(table["prompt"])
    found = {}
    for i, is_cut in enumerate(table.get(f"{arm}_answer_truncated") or ()):
        answer = table[f"{arm}_answer"][i].rstrip(HALF)
        texts = (table["target"][i], *(aliases[i] or ()))
        if is_cut and answer and any(cut(text).startswith(answer) for text in texts):
            found[i] = f"the answer was cut off at {limit}: right so far"
    return found


def _history(table: Table, arm: str) -> tuple[dict[int, str], dict[int, str]]:
    """Facts learnt in training, and lost again where the last loss says so; and facts whose loss was still falling."""
    losses = table.get(f"{arm}_losses") or [None] * len(table["prompt"])
    learnt = {
        i: f"lost again, after epoch {epoch}"
        if losses[i] and losses[i][-1] >= CERTAIN  # the mean of tokens that were all below it
        else f"learnt in training: in epoch {epoch}, but answered otherwise afterwards"
        for i, epoch in enumerate(table.get(f"{arm}_first_learnt") or ())
        if epoch is not None
    }
    falling = {
        i: "the loss was still falling: more epochs, or a higher learning rate"
        for i, mine in enumerate(losses)
        if mine and len(mine) > 1 and CERTAIN <= mine[-1] < STILL_FALLING * mine[-2]
    }
    return learnt, falling


def _odd(table: Table) -> dict[int, str]:
    """Targets of at least twice as many tokens a letter as the median target."""
    tokens = table.get("target_tokens")
    if not tokens:
        return {}
    rates = np.array([t / max(1, len(text)) for t, text in zip(tokens, table["target"], strict=True)])
    odd = (rates >= ODD * np.median(rates)) & (np.asarray(tokens) >= MANY_TOKENS)
    return {
        int(i): f"a target of many tokens: {tokens[i]} for {len(table['target'][i])} letters"
        for i in np.flatnonzero(odd)
    }
