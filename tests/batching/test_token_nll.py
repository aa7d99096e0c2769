"""Cross entropy in one array against torch's."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from semantic_trainer.batching.token_nll import token_nll


@given(st.integers(1, 7), st.integers(1, 30), st.floats(0.01, 200), st.integers(0, 2**31))
def test_equals_cross_entropy(n: int, vocabulary: int, scale: float, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    logits = (torch.randn(n, vocabulary, generator=draw) * scale).requires_grad_()
    targets, weights = torch.randint(0, vocabulary, (n,), generator=draw), torch.rand(n, generator=draw)
    wanted, found = F.cross_entropy(logits, targets, reduction="none"), token_nll(logits, targets)
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad((weights * nll).sum(), logits)[0] for nll in (found, wanted)]
    torch.testing.assert_close(*gradients)


def test_half_precision_impossible_tokens_and_a_second_pass() -> None:
    logits = torch.tensor([[1.0, 2.0, -torch.inf]], dtype=torch.bfloat16, requires_grad=True)
    loss = token_nll(logits, torch.tensor([0]))
    torch.testing.assert_close(loss, F.cross_entropy(logits.float(), torch.tensor([0]), reduction="none"))
    loss.sum().backward(retain_graph=True)
    assert logits.grad.dtype == torch.bfloat16
    assert logits.grad[0, 2] == 0
    total = loss.sum()
    with pytest.raises(RuntimeError, match="inplace"):
        total.backward()
