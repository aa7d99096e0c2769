"""Self-paced weights: what follows from the losses, and that training has them whatever its geometry."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import TrainerCallback, TrainerState

from semantic_trainer import SemanticTrainingArguments, SemanticWeightedTrainer
from semantic_trainer.training.pacing import Pacing, annealed, mean_losses, self_paced_weights

LOSSES = st.lists(st.floats(0, 60), min_size=1, max_size=30).map(np.array)
TEMPERATURES = st.floats(0.1, 50)


@given(LOSSES, TEMPERATURES)
def test_mean_is_one_and_the_lower_loss_weighs_more(losses: np.ndarray, temperature: float) -> None:
    weights = self_paced_weights(losses, temperature)
    assert weights.mean() == pytest.approx(1.0)
    assert (np.diff(weights[np.argsort(losses)]) <= 1e-12).all()
    assert annealed(weights, 0.3).mean() == pytest.approx(1.0)
    assert (annealed(weights, 1.0) == 1.0).all()
    assert (annealed(weights, 0.0) == weights).all()


@given(st.floats(0, 60), st.integers(1, 20), TEMPERATURES)
def test_equal_losses_give_equal_weights(loss: float, n: int, temperature: float) -> None:
    assert self_paced_weights(np.full(n, loss), temperature) == pytest.approx(np.ones(n))


@given(LOSSES, TEMPERATURES, st.floats(-20, 20))
def test_in_batch_weights_are_those_of_a_whole_batch(losses: np.ndarray, temperature: float, shift: float) -> None:
    """The form of first trials: `exp(-(loss - mean))` over the batch, scaled to mean 1."""
    reference = np.exp(-(losses - losses.mean()) / temperature)
    assert self_paced_weights(losses + shift, temperature) == pytest.approx(reference / reference.mean(), rel=1e-6)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_losses_that_are_not_finite_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"1 training row\(s\) have a loss that is not finite, first row 2"):
        self_paced_weights(np.array([1.0, 2.0, wrong]))


def test_the_fact_with_such_a_loss_is_named() -> None:
    pacing = Pacing(2, 1.0, "none", lambda: np.array([1.0, np.nan]), ["Who rules?", "Where is Lyon?"])
    with pytest.raises(ValueError, match=r"first row 1 \('Where is Lyon\?'\) with nan"):
        pacing.on_train_begin(None, TrainerState(), None)


def test_a_single_step_is_the_last_one() -> None:
    pacing = Pacing(2, 1.0, "linear", lambda: np.array([1.0, 3.0]))
    state = type("State", (), {"global_step": 0, "max_steps": 1})()
    pacing.on_train_begin(None, state, None)
    pacing.on_step_begin(None, state, None)
    assert pacing.of(torch.arange(2.0)).tolist() == [1.0, 1.0]


def test_rows_without_a_target_token_are_not_seen_and_keep_their_loss() -> None:
    means, seen = mean_losses(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 2]), 3)
    assert means.tolist() == [2.0, 0.0, 5.0]
    assert seen.tolist() == [True, False, True]
    pacing = Pacing(3, 1.0, "none", lambda: np.array([4.0, 7.0, 4.0]))
    pacing.on_train_begin(None, TrainerState(), None)
    pacing.observe(torch.arange(3.0), torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 2]))
    state = type("State", (), {"epoch": 1.0})()
    pacing.on_epoch_begin(None, state, None)
    assert pacing.losses.tolist() == [2.0, 7.0, 5.0]


class Watch(TrainerCallback):
    """Gradients and weights of every step."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.gradients = stop, []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs) -> None:
        self.gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})

    def on_step_end(self, args, state, control, **kwargs) -> None:
        control.should_training_stop |= state.global_step == self.stop


@pytest.fixture
def make(model: torch.nn.Module, tokenizer: object, facts: Dataset, tmp_path: Path) -> Callable:
    """A trainer of eight facts without distances, and its watch."""
    rows = Dataset.from_list([{"prompt": f"Who rules land {i}?", "target": facts["target"][i % 5]} for i in range(8)])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.1 if parameter.ndim > 1 else 1.0)  # an ordinary scale: sharper ones round more

    def build(
        name: str = "out", stop: int | None = None, losses: list | None = None, **options: object
    ) -> tuple[SemanticWeightedTrainer, Watch]:
        torch.manual_seed(1)
        config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
        fixed = {"num_train_epochs": 3, "per_device_train_batch_size": 4, "learning_rate": 0.02, "max_grad_norm": 0.0}
        fixed |= {"save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "report_to": "none"}
        fixed |= {"weighting": "self_paced", "prompt_format": "question_answer", "answer_batch_size": 3}
        args = SemanticTrainingArguments(str(tmp_path / name), **{**fixed, **options})
        watch = Watch(stop)
        tuned = get_peft_model(copy.deepcopy(model), config)
        taught = rows if losses is None else rows.add_column("target_loss", losses)
        trainer = SemanticWeightedTrainer(
            tuned, args, train_dataset=taught, processing_class=tokenizer, callbacks=[watch]
        )
        return trainer, watch

    return build


@pytest.mark.parametrize("batching", ["padded", "shared_prefix"])
def test_weights_do_not_depend_on_the_batch_size(batching: str, make: Callable, relative_error: Callable) -> None:
    found = []
    for size, accumulation in ((8, 1), (4, 2), (1, 8)):
        trainer, watch = make(
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            batching=batching,
            optim="sgd",  # Adam would make a full step of a gradient's last bit
        )
        trainer.train()
        found.append((trainer.pacing.losses, watch.gradients))
    (losses, gradients), *others = found
    assert len(gradients) == 3
    assert losses.std() > 0.01
    for other_losses, other in others:
        assert other_losses == pytest.approx(losses, rel=1e-6)
        assert max(relative_error(a, b) for a, b in zip(gradients, other, strict=True)) <= 1e-6


def test_the_first_step_weighs_by_the_base_and_the_last_one_equally(make: Callable, relative_error: Callable) -> None:
    trainer, watch = make(per_device_train_batch_size=8, num_train_epochs=2, learning_rate=0.0)
    trainer.train()
    plain, plain_watch = make(
        "plain", per_device_train_batch_size=8, num_train_epochs=2, learning_rate=0.0, weighting="none"
    )
    plain.train()
    assert relative_error(plain_watch.gradients[1], watch.gradients[1]) <= 1e-6
    assert relative_error(plain_watch.gradients[0], watch.gradients[0]) > 1e-3
    rows = trainer.train_dataset.select_columns(["input_ids", "labels"])
    losses = []
    with torch.no_grad():
        for row in rows:
            ids, labels = (torch.tensor([row[name]]) for name in ("input_ids", "labels"))
            losses.append(float(plain.model.eval()(input_ids=ids, labels=labels).loss))
    assert trainer.pacing.losses == pytest.approx(np.array(losses), rel=1e-5)


def test_the_log_says_how_far_apart_weights_are_and_what_the_loss_is_without_them(make: Callable) -> None:
    trainer, _ = make(per_device_train_batch_size=8, num_train_epochs=3, learning_rate=0.0, logging_steps=1)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    weights = self_paced_weights(trainer.pacing.losses)
    for log, progress in zip(logs, (0.0, 0.5, 1.0), strict=True):
        shown = annealed(weights, progress)
        assert (log["weight/min"], log["weight/max"]) == pytest.approx((shown.min(), shown.max()), rel=1e-4)
        assert log["unweighted_loss"] == pytest.approx(trainer.pacing.losses.mean(), rel=1e-4)
    assert logs[0]["loss"] < logs[2]["loss"]  # the same facts, the easy ones first


def test_losses_that_are_known_are_not_computed_again(
    make: Callable, relative_error: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored, watch = make()
    first = scored._row_losses()
    scored.train()
    known, known_watch = make(losses=first.tolist())
    monkeypatch.setattr(known, "_row_losses", None)
    known.train()
    for gradients, others in zip(watch.gradients, known_watch.gradients, strict=True):
        assert relative_error(gradients, others) == 0.0
    assert np.array_equal(known.pacing.losses, scored.pacing.losses)


@pytest.mark.parametrize(
    ("losses", "reason"),
    [([1.0] * 6 + [None, 2.0], "finite numbers.*first nan"), (["low"] * 8, "numbers: texts were found")],
)
def test_known_losses_that_are_none_are_refused(losses: list, reason: str, make: Callable) -> None:
    with pytest.raises(ValueError, match=f"column 'target_loss' must hold .*{reason}"):
        make(losses=losses)


@pytest.mark.parametrize("stop", [2, 3])
def test_resumed_equals_unbroken(stop: int, make: Callable) -> None:
    """At the end of an epoch and within one; two steps an epoch."""
    options = {"save_strategy": "steps", "save_steps": 1, "optim": "adamw_torch"}
    unbroken, _ = make("unbroken", **options)
    unbroken.train()
    make("resumed", stop, **options)[0].train()
    resumed, _ = make("resumed", **options)
    resumed.train(resume_from_checkpoint=True)
    assert np.array_equal(resumed.pacing.losses, unbroken.pacing.losses)
    expected = {n: p for n, p in unbroken.model.named_parameters() if p.requires_grad}
    assert all(torch.equal(p, expected[n]) for n, p in resumed.model.named_parameters() if p.requires_grad)


def test_what_cannot_be_paced_is_refused(make: Callable) -> None:
    with pytest.raises(ValueError, match="`pacing_temperature` must be finite and above 0, but is 0"):
        make(pacing_temperature=0)
    with pytest.raises(ValueError, match="`pacing_temperature` must be finite and above 0, but is '1'"):
        make(pacing_temperature="1")
    with pytest.raises(ValueError, match="`pacing_annealing` 'cosine' is unknown"):
        make(pacing_annealing="cosine")
    make("out", 2, save_strategy="steps", save_steps=1, weighting="none")[0].train()
    with pytest.raises(ValueError, match="has no pacing_state.safetensors: it was not trained with"):
        make("out")[0].train(resume_from_checkpoint=True)
