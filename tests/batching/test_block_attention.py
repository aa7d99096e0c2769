"""Attention in blocks against attention under the whole rows' mask."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from semantic_trainer.batching import probe
from semantic_trainer.batching.block_attention import Blocks, block_attention, blockwise, in_blocks
from semantic_trainer.batching.shared_prefix import HEAD, PADDING, model_inputs, shared_prefix_mask, shared_prefix_rows

from ..architectures import EXACT, tiny


@st.composite
def segments(draw: st.DrawFn) -> torch.Tensor:
    """(R, T) ids: one head length, examples of any length, padding at the end of shorter rows."""
    head, rows, number = draw(st.integers(0, 8)), [], 0
    for _ in range(draw(st.integers(1, 3))):
        row = [HEAD] * head
        for _ in range(draw(st.integers(1, 4))):
            number += 1
            row += [number] * draw(st.integers(1, 7))
        rows.append(row)
    longest = max(map(len, rows))
    return torch.tensor([row + [PADDING] * (longest - len(row)) for row in rows])


@settings(deadline=None)
@given(segments(), st.sampled_from([(1, 1), (4, 4), (6, 2), (3, 1)]), st.integers(1, 9), st.integers(0, 2**31))
def test_equals_masked_attention(ids: torch.Tensor, heads: tuple[int, int], width: int, seed: int) -> None:
    draw, (n, groups) = torch.Generator().manual_seed(seed), heads
    query, *others = (
        torch.randn(ids.shape[0], count, ids.shape[1], width, generator=draw).requires_grad_()
        for count in (n, groups, groups)
    )
    keys, values = (x.repeat_interleave(n // groups, dim=1) for x in others)
    dense = scaled_dot_product_attention(query, keys, values, shared_prefix_mask(ids), scale=0.3).transpose(1, 2)
    blocks = block_attention(query, *others, Blocks.of(ids), 0.3)
    real = ids != PADDING
    seed_gradient = torch.randn(dense.shape, generator=draw)
    torch.testing.assert_close(blocks[real], dense[real], rtol=1e-5, atol=1e-6)
    wanted = torch.autograd.grad((dense * seed_gradient)[real].sum(), (query, *others))
    found = torch.autograd.grad((blocks * seed_gradient)[real].sum(), (query, *others))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_half_precision_is_nearer_to_the_exact_result() -> None:
    ids = torch.tensor([[HEAD] * 9 + [1] * 12 + [2] * 7])
    torch.manual_seed(0)
    exact = [torch.randn(1, n, ids.shape[1], 16).double() for n in (4, 2, 2)]
    half = [x.bfloat16() for x in exact]
    exact = [x.double() for x in half]
    repeated = [(x[0], *(y.repeat_interleave(2, 1) for y in x[1:])) for x in (exact, half)]
    wanted, dense = (scaled_dot_product_attention(*x, shared_prefix_mask(ids)).transpose(1, 2) for x in repeated)
    off = (block_attention(*half, Blocks.of(ids), 16**-0.5) - wanted).norm()
    assert off <= (dense - wanted).norm()


def rows_and_inputs(model: torch.nn.Module) -> tuple[torch.Tensor, dict]:
    ids = [[7, 8, 9, *range(10, 10 + n)] for n in (4, 2, 6)]
    rows = shared_prefix_rows(ids, [[-100] * (len(row) - 1) + row[-1:] for row in ids], row_tokens=12)
    return rows.segment_ids, model_inputs(rows, model)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", EXACT)
def test_models_gradients_are_the_same(name: str, checkpointing: bool) -> None:
    model = tiny(name, 40)
    assert probe.unsuited(model) is None
    assert probe.exact_in_blocks(model)
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    gradients = []
    for enabled in (True, False):
        twin = copy.deepcopy(model)
        ids, inputs = rows_and_inputs(twin)
        with blockwise(twin, enabled) as on:
            assert on == enabled
            out = twin(**in_blocks(inputs, ids), use_cache=False).logits
            out.float()[ids > 0].log_softmax(-1)[:, 5].sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in twin.parameters() if p.grad is not None]))
    assert (gradients[0] - gradients[1]).norm() <= 1e-6 * gradients[1].norm()


def test_other_masks_and_the_time_after_are_sdpas() -> None:
    model = tiny("Llama", 40)
    ids, inputs = rows_and_inputs(model)
    padded = {"input_ids": inputs["input_ids"], "attention_mask": torch.ones_like(inputs["input_ids"])}
    before = model(**padded).logits
    with torch.no_grad(), blockwise(model):
        model(**in_blocks(inputs, ids))
        assert torch.equal(model(**padded).logits, before)
        assert torch.equal(model(input_ids=padded["input_ids"]).logits, before)
        assert model.generate(padded["input_ids"][:1], max_new_tokens=3, do_sample=False).shape[1] > ids.shape[1]
    assert model.config._attn_implementation == "sdpa"
    eager = tiny("Llama", 40, "eager")
    with blockwise(eager) as on:
        assert not on
    assert not probe.exact_in_blocks(eager)
