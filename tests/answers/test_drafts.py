"""Decoding from a common head and drafts, against one prompt a pass without any cache."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_trainer.answers.drafts import Decisions, SharedHead, decode

from ..architectures import EXACT, tiny

VOCABULARY, END, LIMIT = 24, 2, 6
MODELS = {name: tiny(name, VOCABULARY) for name in EXACT}
TOKENS = st.integers(3, VOCABULARY - 1)


@torch.no_grad()
def step_wise(model: torch.nn.Module, prompt: list[int]) -> tuple[list[int], float]:
    """Greedy ids, and the smallest top-2 margin on the way."""
    out, closest = [], float("inf")
    while len(out) < LIMIT and END not in out:
        best = model(input_ids=torch.tensor([prompt + out])).logits[0, -1].topk(2)
        closest = min(closest, float(best.values[0] - best.values[1]))
        out.append(int(best.indices[0]))
    return out, closest


def ended(ids: list[int]) -> bool:
    return END in ids


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[list[int]], list[str], list[int]]:
    """Prompts with a common head of any length, and what is drafted: nothing, all, part, or nonsense."""
    head = draw(st.lists(TOKENS, max_size=10))
    tails = st.lists(TOKENS, min_size=1, max_size=6)
    prompts = [head + draw(tails) for _ in range(draw(st.integers(1, 5)))]
    kinds = [draw(st.sampled_from(["none", "all", "part", "wrong", "beyond"])) for _ in prompts]
    return prompts, kinds, draw(st.lists(TOKENS, min_size=2, max_size=9))


def draft(kind: str, answer: list[int], nonsense: list[int]) -> list[int]:
    said = [token for token in answer if token != END]
    half = said[: len(said) // 2]
    return {"none": [], "all": said, "part": half, "wrong": nonsense, "beyond": half + nonsense}[kind]


@pytest.mark.parametrize("name", EXACT)
@settings(deadline=None, max_examples=25)
@given(asked=questions(), worth_steps=st.sampled_from([0.0, 0.5, 2.0]))
def test_answers_are_those_of_stepping(name: str, asked: tuple, worth_steps: float) -> None:
    model, (prompts, kinds, nonsense) = MODELS[name], asked
    expected = [step_wise(model, prompt) for prompt in prompts]
    if min(margin for _, margin in expected) < 1e-4:
        return
    drafts = [draft(kind, answer, nonsense) for kind, (answer, _) in zip(kinds, expected, strict=True)]
    with torch.no_grad():
        head = SharedHead.of(model, prompts)
        found, open_rows = decode(model, prompts, drafts, head, Decisions(), ended, LIMIT, 0, worth_steps)
        rest = sorted(open_rows)
        if rest:
            some = [prompts[i] for i in rest], [found[i] for i in rest]
            finished, none = decode(model, *some, head, Decisions(), ended, LIMIT, 0)
            assert not none
            found = [finished[rest.index(i)] if i in open_rows else ids for i, ids in enumerate(found)]
    assert len(rest) < worth_steps * len(prompts) or not rest
    cut = [ids[: ids.index(END) + 1] if END in ids else ids for ids in found]
    assert cut == [answer for answer, _ in expected]


@torch.no_grad()
def test_right_drafts_need_one_pass_and_wrong_ones_only_their_steps() -> None:
    model = MODELS["Llama"]
    prompts = [[3, 4, 5, 6], [3, 4, 7], [3, 4, 8, 9, 10]]
    answers = [step_wise(model, prompt)[0] for prompt in prompts]
    passes = []
    hook = model.register_forward_hook(lambda _, __, out: passes.append(len(out.logits)))
    try:
        head = SharedHead.of(model, prompts)
        assert len(head.ids) == 2
        passes.clear()
        decode(model, prompts, answers, head, Decisions(), ended, LIMIT, 0)
        assert len(passes) == 1
        passes.clear()
        drafts = [answers[0], [(answers[1][0] + 1) % VOCABULARY], answers[2]]
        decode(model, prompts, drafts, head, Decisions(), ended, LIMIT, 0)
        assert passes[1:] == [1] * (len(answers[1]) - 1)  # the rows that ended have left the batch
    finally:
        hook.remove()


@torch.no_grad()
def test_close_calls_are_counted_and_decided_again_where_there_is_noise() -> None:
    logits = torch.tensor([[1.0, 1.00005, 0.0], [0.0, 3.0, 1.0], [2.0, 1.7, 0.0]])
    contexts = [lambda i=i: [i] for i in range(3)]
    plain = Decisions()
    assert plain.choose(logits, contexts) == [1, 1, 0]
    assert (plain.tokens, plain.close, plain.redone, plain.turned) == (3, 1, 0, 0)
    asked = []
    careful = Decisions(0.5, lambda ids: asked.append(ids) or torch.tensor([9.0, 0.0, 0.0]))
    assert careful.choose(logits, contexts) == [0, 1, 0]
    assert asked == [[0], [2]]
    assert (careful.redone, careful.turned) == (2, 1)
