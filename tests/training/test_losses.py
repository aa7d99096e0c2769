"""The weighted loss against a slow loop."""

import pytest
import torch

from semantic_trainer.batching.positions import left_padded_positions, predicted_tokens, predicting_positions
from semantic_trainer.training.losses import stock_token_nll, weighted_sum

LABELS = torch.tensor([[-100, -100, 3, 1, 0], [-100, 2, 2, -100, -100], [4, 1, -100, 0, -100]])
WEIGHTS = torch.tensor([1.0, 2.5, 0.0])


def slow_reference(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> float:
    total = 0.0
    for i in range(labels.shape[0]):
        for t in range(labels.shape[1] - 1):
            target = int(labels[i, t + 1])
            if target != -100:
                p = torch.softmax(logits[i, t].double(), dim=-1)[target]
                total -= float(weights[i]) * float(torch.log(p))
    return total


def weighted(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The loss of a padded batch with logits (B, T, V) at all positions."""
    keep = predicting_positions(labels)
    return weighted_sum(stock_token_nll(logits[keep], predicted_tokens(labels, keep)), keep.nonzero()[:, 0], weights)


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0))


def test_predicting_positions_shift_labels_by_one() -> None:
    keep = predicting_positions(LABELS)
    assert keep.dtype == torch.bool
    assert keep.tolist() == [
        [False, True, True, True, False],
        [True, True, False, False, False],
        [True, False, True, False, False],
    ]


@pytest.mark.parametrize("weights", [WEIGHTS, torch.ones(3), torch.tensor([0.3, 1e3, 7.0])])
def test_equals_the_loop(logits: torch.Tensor, weights: torch.Tensor) -> None:
    found = weighted(logits, LABELS, weights)
    assert found.ndim == 0
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(slow_reference(logits, LABELS, weights), rel=1e-6)


def test_half_precision_logits_are_summed_in_float32(logits: torch.Tensor) -> None:
    half = logits.bfloat16()
    found = weighted(half, LABELS, WEIGHTS)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(slow_reference(half, LABELS, WEIGHTS), rel=1e-6)


def test_float64_weights_do_not_widen_the_loss(logits: torch.Tensor) -> None:
    assert weighted(logits, LABELS, WEIGHTS.double()).dtype == torch.float32


def test_a_row_without_labels_gives_zero_loss_and_gradient(logits: torch.Tensor) -> None:
    labels = LABELS.clone()
    labels[0] = -100
    logits.requires_grad_()
    found = weighted(logits, labels, torch.ones(3))
    found.backward()
    assert found.item() == pytest.approx(slow_reference(logits.detach(), labels, torch.ones(3)), rel=1e-6)
    assert not logits.grad[0].any()
    assert logits.grad[1].any()


def test_a_batch_without_labels_gives_zero_and_still_backpropagates(logits: torch.Tensor) -> None:
    labels = torch.full_like(LABELS, -100)
    logits.requires_grad_()
    found = weighted(logits, labels, WEIGHTS)
    found.backward()
    assert found.item() == 0.0
    assert not logits.grad.any()


def test_a_label_in_the_first_column_predicts_nothing(logits: torch.Tensor) -> None:
    labels = torch.full_like(LABELS, -100)
    labels[:, 0] = 1
    assert not predicting_positions(labels).any()


def test_positions_restart_at_the_first_real_token() -> None:
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1]])
    assert left_padded_positions(mask).tolist() == [[0, 0, 0, 1], [0, 1, 2, 3], [0, 0, 1, 2]]


@pytest.mark.parametrize("mask", [[[1, 1, 1], [1, 1, 1]], [[1, 1, 0], [1, 0, 0]]], ids=["none", "right"])
def test_no_positions_where_nothing_is_padded_at_the_left(mask: list[list[int]]) -> None:
    assert left_padded_positions(torch.tensor(mask)) is None


def test_no_positions_for_a_mask_of_four_dimensions() -> None:
    assert left_padded_positions(torch.zeros(1, 1, 3, 3)) is None
