"""What must not change a weighted gradient, and what must scale it."""

import copy
from collections.abc import Callable

import pytest
import torch
from datasets import Dataset

from semantic_trainer.batching.positions import predicted_tokens, predicting_positions
from semantic_trainer.training.data_collator import FactCollator
from semantic_trainer.training.losses import stock_token_nll, weighted_sum
from semantic_trainer.training.trainer import SemanticWeightedTrainer as Weighted


@pytest.mark.parametrize("n", [8, 7], ids=["even", "ragged"])
def test_batch_size_and_accumulation_give_the_same_gradients(
    n: int, model: torch.nn.Module, rows: Callable, gradients: Callable, relative_error: Callable
) -> None:
    with torch.no_grad():
        for parameter in model.parameters():  # an ordinary scale: the fixture's is sharp, and so is its rounding
            parameter.mul_(0.1 if parameter.ndim > 1 else 1.0)
    data = rows(n)
    geometries = [(8, 1), (4, 2), (1, 8)]
    found = [
        gradients(
            Weighted,
            copy.deepcopy(model),
            data,
            gamma=2.0,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=steps,
        )
        for size, steps in geometries
    ]
    assert relative_error(found[0], found[1]) <= 1e-6
    assert relative_error(found[0], found[2]) <= 1e-6


def test_gradients_follow_the_equation(
    model: torch.nn.Module, rows: Callable, gradients: Callable, relative_error: Callable
) -> None:
    """`sum_i w_i sum_t nll_it / target tokens`, example by example with stock losses."""
    data = rows(5)
    found = gradients(Weighted, copy.deepcopy(model), data, gamma=1.0, per_device_train_batch_size=5)
    tokens = sum(sum(label != -100 for label in row["labels"]) for row in data)
    total = torch.zeros(())
    for row in data:
        lam = 1 - torch.sin(torch.pi * torch.tensor(min(row["distance"], 1.0)))
        labels = torch.tensor([row["labels"]])
        mean = model(input_ids=torch.tensor([row["input_ids"]]), labels=labels).loss
        total = total + (1 + lam) * mean * int((labels != -100).sum())
    (total / tokens).backward()
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert relative_error(expected, found) <= 2e-6


def test_doubling_a_weight_doubles_that_examples_gradient(
    model: torch.nn.Module, rows: Callable, gradients: Callable, relative_error: Callable
) -> None:
    def at(weights: list[float]) -> dict[str, torch.Tensor]:
        data = rows(3).add_column("weight", weights)
        return gradients(Weighted, copy.deepcopy(model), data, weighting="column", per_device_train_batch_size=3)

    without, once, twice = at([0.5, 0.0, 1.0]), at([0.5, 1.5, 1.0]), at([0.5, 3.0, 1.0])
    share = {name: once[name] - without[name] for name in once}
    doubled = {name: twice[name] - without[name] for name in once}
    assert relative_error({name: 2 * g for name, g in share.items()}, doubled) <= 2e-6
    assert max(float(g.abs().max()) for g in share.values()) > 1e-4


def test_right_padding_changes_nothing(
    model: torch.nn.Module, rows: Callable, gradients: Callable, relative_error: Callable
) -> None:
    def padded(extra: int) -> Callable[[list[dict]], dict]:
        def collate(features: list[dict]) -> dict:
            batch = FactCollator()(features)
            longest = batch["input_ids"].shape[1]
            mask = batch.get("attention_mask", torch.ones(len(features), longest, dtype=torch.long))
            fill = {"input_ids": 0, "labels": -100, "attention_mask": 0}
            batch = {**batch, "attention_mask": mask}
            return {k: torch.nn.functional.pad(v, (0, extra), value=fill[k]) for k, v in batch.items()}

        return collate

    data = rows(4)
    options = {"gamma": 1.0, "per_device_train_batch_size": 4}
    plain = gradients(Weighted, copy.deepcopy(model), data, padded(0), **options)
    longer = gradients(Weighted, copy.deepcopy(model), data, padded(11), **options)
    assert relative_error(plain, longer) <= 2e-6


def test_answer_only_logits_equal_full_logits(model: torch.nn.Module, rows: Callable) -> None:
    batch = FactCollator()(rows(4).remove_columns("distance").to_list())
    labels = batch.pop("labels")
    keep, weights = predicting_positions(labels), torch.tensor([1.0, 2.0, 0.5, 1.7])
    with torch.no_grad():
        full = model(**batch).logits
        kept = model(**batch, logits_to_keep=keep).logits
    assert kept.shape == (int(keep.sum()), full.shape[-1])
    torch.testing.assert_close(kept, full[keep], rtol=0, atol=1e-6)
    targets, examples = predicted_tokens(labels, keep), keep.nonzero()[:, 0]
    losses = [weighted_sum(stock_token_nll(logits, targets), examples, weights) for logits in (full[keep], kept)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=0)


def test_the_trainer_asks_for_answer_positions_only(
    model: torch.nn.Module, rows: Callable, gradients: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    forward = model.forward

    def spy(input_ids: torch.Tensor, attention_mask=None, position_ids=None, logits_to_keep=0, **kwargs):
        seen.append(logits_to_keep)
        assert "weight" not in kwargs
        return forward(input_ids, attention_mask, position_ids, logits_to_keep=logits_to_keep, **kwargs)

    monkeypatch.setattr(model, "forward", spy)
    gradients(Weighted, model, rows(2), gamma=1.0)
    assert seen[0].dtype == torch.bool
    assert seen[0].ndim == 2


def test_empty_micro_batches_change_nothing(
    model: torch.nn.Module, rows: Callable, gradients: Callable, relative_error: Callable
) -> None:
    """Rows whose labels are all -100 fill a batch up: they count no token and give no gradient."""
    data = rows(2)
    filler = {**data[0], "labels": [-100] * len(data[0]["labels"])}
    filled = Dataset.from_list([*data.to_list(), filler, filler])
    options = {"gamma": 1.0, "gradient_accumulation_steps": 2}
    bare = gradients(Weighted, copy.deepcopy(model), data, **options)
    assert relative_error(bare, gradients(Weighted, copy.deepcopy(model), filled, **options)) <= 1e-6
