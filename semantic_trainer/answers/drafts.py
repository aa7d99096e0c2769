"""Greedy decoding from the prompts' common head and from drafts: what a draft says already is only checked."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from transformers import Cache

from ..batching.positions import keeps_positions
from ..batching.shared_prefix import common_head

CLOSE = 1e-4  # logits nearer than this are decided by rounding, in float32
PROBES = (  # of unlike lengths; what an answer depends on must not depend on the prompts of a call
    "Who?",
    "What is the capital of France?",
    "In which year was the bridge over the river opened to traffic by the mayor?",
    "Name the author of the book that was translated into more languages than any other before 1900.",
    "Why?",
)


@dataclass
class SharedHead:
    """The tokens that every prompt of a call begins with, and their keys and values, computed once.

    Attributes:
        ids: the head, shorter than the shortest prompt; may be empty.
        cache: of one row; `None` where the head is empty.
    """

    ids: list[int]
    cache: Cache | None

    @classmethod
    def of(cls, model: torch.nn.Module, prompts: Sequence[Sequence[int]]) -> "SharedHead":
        """The common head of N prompts, run through the model once. The model is already `answering`."""
        ids = list(prompts[0][: common_head(prompts)])
        if not ids:
            return cls(ids, None)
        device = next(model.parameters()).device
        inputs = {"input_ids": torch.tensor([ids], device=device), "use_cache": True}
        if keeps_positions(model):
            inputs["logits_to_keep"] = 1
        return cls(ids, model(**inputs).past_key_values)

    def rows(self, n: int) -> Cache | None:
        """A cache of its own for n rows."""
        if self.cache is None:
            return None
        cache = copy.deepcopy(self.cache)
        cache.batch_repeat_interleave(n)
        return cache


@dataclass
class Decisions:
    """How tokens are chosen from logits: the likeliest, looked at again where two are nearer than `noise`.

    Attributes:
        noise: top-2 margin below which numerical noise could turn a choice; 0 takes the likeliest as it is.
        again: context of one row (its ids behind the head) -> (V,) logits that depend on nothing else.
        tokens, close, redone, turned: how many were chosen, by less than 1e-4, again, and otherwise than before.
    """

    noise: float = 0.0
    again: Callable[[list[int]], torch.Tensor] | None = None
    tokens: int = 0
    close: int = 0
    redone: int = field(default=0)
    turned: int = field(default=0)

    def choose(self, logits: torch.Tensor, contexts: Sequence[Callable[[], list[int]]]) -> list[int]:
        """(n, V) logits -> n tokens."""
        best = logits.float().topk(2, dim=-1)
        margins = (best.values[:, 0] - best.values[:, 1]).tolist()
        chosen = best.indices[:, 0].tolist()
        self.tokens += len(chosen)
        self.close += sum(margin < CLOSE for margin in margins)
        for i, margin in enumerate(margins):
            if margin < self.noise:
                token = int(self.again(contexts[i]()).argmax())
                self.redone += 1
                self.turned += token != chosen[i]
                chosen[i] = token
        return chosen


def alone(model: torch.nn.Module, head: SharedHead, ids: Sequence[int]) -> torch.Tensor:
    """(V,) logits behind one row, on top of the head, unpadded and with no other row beside it."""
    device = next(model.parameters()).device
    start = len(head.ids)
    inputs = {
        "input_ids": torch.tensor([list(ids)], device=device),
        "position_ids": torch.arange(start, start + len(ids), device=device)[None],
        "past_key_values": head.rows(1),
        "use_cache": True,
    }
    if keeps_positions(model):
        inputs["logits_to_keep"] = 1
    return model(**inputs).logits[0, -1]


def left_pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, both (B, T), padded at the left to the longest row."""
    longest = max(map(len, rows))
    ids = torch.tensor([[pad_id] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def decode(
    model: torch.nn.Module,
    prompts: Sequence[Sequence[int]],
    drafts: Sequence[Sequence[int]],
    head: SharedHead,
    decisions: Decisions,
    ended: Callable[[Sequence[int]], bool],
    max_new_tokens: int,
    pad_id: int,
    worth_steps: float = 0.0,
) -> tuple[list[list[int]], set[int]]:
    """Greedy answers to B prompts, as token ids. The model is already `answering`.

    One pass reads prompts and drafts. Of each draft the tokens are kept that the model would have said itself, and the
    token it says next; where that does not end the answer, the row is decoded on, step by step, with the rejected
    tokens masked. Rows that have ended leave the batch.

    Args:
        prompts: B lists of ids that begin with the head.
        drafts: B lists of expected answer ids without the end; an empty one drafts nothing.
        ended: whether an answer's ids are complete.
        worth_steps: rows that are not at their end after the pass are left open where they are less than this share
            of B: what is agreed of their answers is their draft of another call.

    Returns:
        B lists of ids, and which of them are open.
    """
    device, start = next(model.parameters()).device, len(head.ids)
    drafts = [list(draft[: max_new_tokens - 1]) for draft in drafts]
    ids, tail = left_pad([[*p[start:], *d] for p, d in zip(prompts, drafts, strict=True)], pad_id)
    mask = torch.cat([torch.ones(len(ids), start, dtype=tail.dtype), tail], dim=1)  # (B, start + T)
    ahead = torch.tensor([len(draft) + 1 for draft in drafts])  # positions that predict an answer's token
    keep = torch.arange(ids.shape[1]) >= ids.shape[1] - ahead[:, None]  # (B, T)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, start:]
    logits, cache = _forward(model, ids, mask, positions, head.rows(len(ids)), keep)
    answers = []
    for i, part in enumerate(logits.split(ahead.tolist())):
        answers.append(_agreed(part, prompts[i][start:], drafts[i], decisions))
        rejected = len(drafts[i]) + 1 - len(answers[i])
        if rejected:
            mask[i, -rejected:] = 0
    alive, kept = [i for i, answer in enumerate(answers) if not _over(answer, ended, max_new_tokens)], None
    if len(alive) < worth_steps * len(prompts):
        return answers, set(alive)
    while alive:
        if kept != alive:
            places = torch.tensor(alive if kept is None else [kept.index(i) for i in alive])
            cache.batch_select_indices(places.to(device))
            mask, kept = mask[places], alive
        mask = torch.cat([mask, torch.ones(len(alive), 1, dtype=mask.dtype)], dim=1)
        ids = torch.tensor([[answers[i][-1]] for i in alive])
        positions = torch.tensor([[len(prompts[i]) + len(answers[i]) - 1] for i in alive])
        logits, cache = _forward(model, ids, mask, positions, cache, torch.ones_like(ids, dtype=torch.bool))
        contexts = [lambda i=i: [*prompts[i][start:], *answers[i]] for i in alive]
        for i, token in zip(alive, decisions.choose(logits, contexts), strict=True):
            answers[i].append(token)
        alive = [i for i in alive if not _over(answers[i], ended, max_new_tokens)]
    return answers, set()


def _forward(
    model: torch.nn.Module,
    ids: torch.Tensor,
    mask: torch.Tensor,
    positions: torch.Tensor,
    cache: Cache | None,
    keep: torch.Tensor,
) -> tuple[torch.Tensor, Cache]:
    """(n, V) logits at the kept positions, row by row, and the cache with these tokens in it."""
    device = next(model.parameters()).device
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    inputs = {name: value.to(device) for name, value in inputs.items()}
    more, keep = {"past_key_values": cache, "use_cache": True}, keep.to(device)
    if keeps_positions(model):
        out = model(**inputs, **more, logits_to_keep=keep)
        return out.logits, out.past_key_values
    out = model(**inputs, **more)
    return out.logits[keep], out.past_key_values


def _agreed(logits: torch.Tensor, prompt: Sequence[int], draft: list[int], decisions: Decisions) -> list[int]:
    """What the model says: the draft's tokens as far as they are its own, and the token behind them."""
    contexts = [lambda k=k: [*prompt, *draft[:k]] for k in range(len(draft) + 1)]
    chosen = decisions.choose(logits, contexts)
    same = next((k for k, token in enumerate(draft) if token != chosen[k]), len(draft))
    return chosen[: same + 1]


def _over(answer: Sequence[int], ended: Callable[[Sequence[int]], bool], max_new_tokens: int) -> bool:
    return len(answer) >= max_new_tokens or ended(answer)


def noise_of(model: torch.nn.Module, head: SharedHead, prompts: Sequence[Sequence[int]], pad_id: int) -> float:
    """Largest change of a top-2 margin between a prompt in a batch and the same prompt alone, in logits."""
    start = len(head.ids)
    ids, tail = left_pad([prompt[start:] for prompt in prompts], pad_id)
    mask = torch.cat([torch.ones(len(ids), start, dtype=tail.dtype), tail], dim=1)
    last = torch.zeros_like(ids, dtype=torch.bool)
    last[:, -1] = True
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, start:]
    together, _ = _forward(model, ids, mask, positions, head.rows(len(ids)), last)
    by_itself = torch.stack([alone(model, head, prompt[start:]) for prompt in prompts])
    best = by_itself.float().topk(2, dim=-1).indices
    margins = [x.float().gather(1, best).diff(dim=-1)[:, 0] for x in (together, by_itself)]
    return float((margins[0] - margins[1]).abs().max())
