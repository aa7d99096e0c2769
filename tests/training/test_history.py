"""The losses that training keeps of each fact, epoch by epoch."""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model

from semantic_trainer import SemanticTrainingArguments, SemanticWeightedTrainer
from semantic_trainer.training.history import LearningHistory, first_below

from .stopping import Stop


@pytest.fixture
def make(model: torch.nn.Module, tokenizer: object, facts: Dataset, tmp_path: Path) -> Callable:
    rows = facts.select_columns(["prompt", "target"])
    with torch.no_grad():
        model.model.norm.weight *= 4  # so that it can be certain of anything

    def build(name: str = "out", stop: int | None = None, **options: object) -> SemanticWeightedTrainer:
        torch.manual_seed(1)
        config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
        fixed = {"num_train_epochs": 3, "per_device_train_batch_size": 4, "learning_rate": 0.02, "save_strategy": "no"}
        fixed |= {"use_cpu": True, "disable_tqdm": True, "report_to": "none", "weighting": "none"}
        fixed |= {"prompt_format": "question_answer", "learning_history": True}
        args = SemanticTrainingArguments(str(tmp_path / name), **{**fixed, **options})
        tuned = get_peft_model(copy.deepcopy(model), config)
        callbacks = [Stop(stop)]
        return SemanticWeightedTrainer(
            tuned, args, train_dataset=rows, processing_class=tokenizer, callbacks=callbacks
        )

    return build


@pytest.mark.parametrize("batching", ["padded", "shared_prefix"])
@pytest.mark.parametrize("weighting", ["none", "self_paced"])
def test_losses_are_those_of_one_fact_at_a_time(batching: str, weighting: str, make: Callable) -> None:
    """At a learning rate of 0 every epoch sees the model at its start."""
    trainer = make(batching=batching, weighting=weighting, learning_rate=0.0, num_train_epochs=2)
    trainer.train()
    mean, worst = [], []
    with torch.no_grad():
        for row in trainer.train_dataset:
            ids, labels = (torch.tensor([row[name]]) for name in ("input_ids", "labels"))
            logits = trainer.model.eval()(input_ids=ids).logits[0, :-1].double()
            nll = torch.nn.functional.cross_entropy(logits, labels[0, 1:], reduction="none")[labels[0, 1:] != -100]
            mean.append(float(nll.mean()))
            worst.append(float(nll.max()))
    assert trainer.history.losses.shape == (2, 5)
    for epoch in range(2):
        assert trainer.history.losses[epoch] == pytest.approx(np.array(mean), rel=1e-5)
        assert trainer.history.worst[epoch] == pytest.approx(np.array(worst), rel=1e-5)


def test_it_changes_nothing_and_knows_when_a_fact_was_learnt(make: Callable) -> None:
    options = {"num_train_epochs": 40, "learning_rate": 0.03}
    with_it, without = make("with", **options), make("without", learning_history=False, **options)
    with_it.train()
    without.train()
    assert without.history is None
    expected = dict(without.model.named_parameters())
    assert all(torch.equal(p, expected[n]) for n, p in with_it.model.named_parameters())
    learnt = with_it.history.first_learnt()
    assert any(learnt), with_it.history.worst.min(0)
    for i, epoch in enumerate(learnt):
        if epoch is not None:
            assert with_it.history.worst[epoch - 1, i] < math.log(2)
            assert (with_it.history.worst[: epoch - 1, i] >= math.log(2)).all()


@pytest.mark.parametrize("stop", [2, 3])
def test_resumed_equals_unbroken(stop: int, make: Callable) -> None:
    """At the end of an epoch and within one; two steps an epoch."""
    options = {"save_strategy": "steps", "save_steps": 1}
    unbroken = make("unbroken", **options)
    unbroken.train()
    make("resumed", stop, **options).train()
    resumed = make("resumed", **options)
    resumed.train(resume_from_checkpoint=True)
    assert np.array_equal(resumed.history.losses, unbroken.history.losses)
    assert np.array_equal(resumed.history.worst, unbroken.history.worst)


def test_a_second_training_has_epochs_of_its_own(make: Callable) -> None:
    trainer = make(weighting="self_paced")
    trainer.train()
    first = trainer.history.losses
    trainer.train()
    second = trainer.history.losses
    assert first.shape == second.shape == (3, 5)
    assert second[0].mean() < first[0].mean()
    assert trainer.pacing.losses == pytest.approx(second[1])  # the last epoch's weights are of the one before


def test_rows_that_were_not_seen_have_no_loss() -> None:
    history = LearningHistory(3)
    history.observe(torch.tensor([2, 0]), torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 1]))
    history.on_train_end(None, None, None)
    assert history.losses[0, [0, 2]].tolist() == [5.0, 2.0]
    assert history.worst[0, [0, 2]].tolist() == [5.0, 3.0]
    assert np.isnan(history.losses[0, 1])
    assert history.first_learnt() == [None] * 3


def test_first_below_counts_from_one_and_passes_gaps_by() -> None:
    assert first_below([[0.9, np.nan], [0.2, 0.1]], 0.5) == [2, 2]
    assert first_below(np.zeros((0, 2)), 0.5) == [None, None]


def test_an_iterable_dataset_cannot_be_told_apart(make: Callable) -> None:
    trainer = make()
    stream = trainer.train_dataset.to_iterable_dataset()
    args = SemanticTrainingArguments(
        trainer.args.output_dir, weighting="column", learning_history=True, max_steps=2, use_cpu=True
    )
    with pytest.raises(ValueError, match="`learning_history` tells rows apart by their numbers"):
        SemanticWeightedTrainer(trainer.model, args, train_dataset=stream)
