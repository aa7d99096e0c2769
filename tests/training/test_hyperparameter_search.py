"""The trials of `hyperparameter_search`: weights follow a gamma that is searched over."""

from collections.abc import Callable

import pytest
import torch
from datasets import Dataset
from transformers.trainer_utils import HPSearchBackend

from semantic_trainer import semantic_weight
from semantic_trainer.training.trainer import SemanticWeightedTrainer as Weighted


def trial(trainer: Weighted, **said: object) -> None:
    trainer.hp_search_backend = HPSearchBackend.WANDB
    trainer._hp_search_setup(said)


def test_weights_follow_the_trials_of_a_search(model: torch.nn.Module, tokens: Dataset, arguments: Callable) -> None:
    trainer = Weighted(model, arguments(gamma=1.0), train_dataset=tokens)
    for gamma in (0.0, 2.0):
        trial(trainer, gamma=gamma, learning_rate=0.01)
        expected = [semantic_weight([d], gamma)[0] for d in tokens["distance"]]
        assert trainer.train_dataset["weight"][:] == pytest.approx(expected)
        assert trainer.weight_statistics["weight/max"] == pytest.approx(max(expected))
        trainer.train()
    with pytest.raises(ValueError, match="`weighting` cannot differ between the trials"):
        trial(trainer, weighting="constant")


def test_a_search_over_weights_that_a_trainer_does_not_have_is_refused(
    model: torch.nn.Module, tokens: Dataset, arguments: Callable
) -> None:
    trainer = Weighted(model, arguments(weighting="none"), train_dataset=tokens)
    trial(trainer, learning_rate=0.01)
    with pytest.raises(ValueError, match="`gamma` cannot differ between the trials"):
        trial(trainer, gamma=2.0)
