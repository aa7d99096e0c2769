"""Two trainers that must agree: gamma 0 and all-ones weights against transformers.Trainer."""

import copy
from collections.abc import Callable

import pytest
import torch
from transformers import Trainer

from semantic_trainer.training.data_collator import FactCollator
from semantic_trainer.training.trainer import SemanticWeightedTrainer


def train(kind: type[Trainer], model: torch.nn.Module, args: object, data: object) -> tuple[list[float], dict]:
    trainer = kind(model, args, FactCollator(), train_dataset=data)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return losses, {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_gamma_zero_is_the_stock_trainer_bit_for_bit(
    adapter: bool, model: torch.nn.Module, rows: Callable, arguments: Callable, lora: Callable
) -> None:
    data = rows(9)  # batches of 2, accumulation 2: the last batch and the last step are ragged
    options = {"gradient_accumulation_steps": 2, "num_train_epochs": 2, "gamma": 0.0, "seed": 3}
    results = []
    for kind in (Trainer, SemanticWeightedTrainer):
        fresh = copy.deepcopy(model)
        fresh = lora(fresh, dropout=0.1) if adapter else fresh
        results.append(train(kind, fresh, arguments(**options), data))
    (stock_losses, stock), (our_losses, ours) = results
    assert len(stock_losses) == 6
    assert our_losses == stock_losses
    assert all(torch.equal(stock[name], ours[name]) for name in stock)


def test_gamma_zero_with_own_collator_left_out_pads_ragged_rows(
    model: torch.nn.Module, rows: Callable, arguments: Callable
) -> None:
    data, results = rows(6), []
    for kind, collator in ((Trainer, FactCollator()), (SemanticWeightedTrainer, None)):
        fresh = copy.deepcopy(model)
        trainer = kind(fresh, arguments(gamma=0.0, max_steps=3), collator, train_dataset=data)
        trainer.train()
        results.append({name: p.detach() for name, p in fresh.named_parameters()})
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_all_ones_through_our_loss_give_the_stock_gradients(
    adapter: bool, model: torch.nn.Module, rows: Callable, gradients: Callable, lora: Callable
) -> None:
    data, found = rows(7), []
    for kind in (Trainer, SemanticWeightedTrainer):
        fresh = copy.deepcopy(model)
        fresh = lora(fresh) if adapter else fresh
        found.append(gradients(kind, fresh, data, FactCollator(), weighting="none", gradient_accumulation_steps=4))
    stock, ours = found
    assert stock.keys() == ours.keys()
    assert all(torch.equal(stock[name], ours[name]) for name in stock)
    assert any(bool(g.abs().sum() > 0) for g in stock.values())


def test_all_ones_goes_through_our_loss(model: torch.nn.Module, rows: Callable, arguments: Callable) -> None:
    """The comparison above means something only while this holds."""
    trainer = SemanticWeightedTrainer(model, arguments(weighting="none"), train_dataset=rows(2))
    assert trainer.weighted
    assert trainer.train_dataset["weight"][:] == [1.0, 1.0]
