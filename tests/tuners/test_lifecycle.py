"""What `Trainer` offers besides steps, with every tuning method: checkpointing, resuming, stopping, the best model."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import get_peft_model
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback

from semantic_trainer import (
    SemanticSFTConfig,
    SemanticTrainingArguments,
    SemanticWeightedSFTTrainer,
    SemanticWeightedTrainer,
)
from semantic_trainer.tuners.methods import LOW_RANK, METHODS, method_config

slow = pytest.mark.slow
DROPOUT = {"houlsby": "dropout", **dict.fromkeys(LOW_RANK, "lora_dropout")}


class Watch(TrainerCallback):
    """Gradients before clipping, and weights, of every step; stops after `stop` of them."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.gradients, self.weights = stop, [], {}

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs) -> None:
        self.gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})

    def on_step_end(self, args, state, control, model=None, **kwargs) -> None:
        self.weights[state.global_step] = trained(model)
        control.should_training_stop |= state.global_step == self.stop


def trained(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["shared_prefix", pytest.param("padded", marks=slow), pytest.param("trl", marks=slow)])
def batching(request: pytest.FixtureRequest) -> str:
    """How rows lie in a batch; the last is TRL's trainer."""
    return request.param


@pytest.fixture
def make(
    model: torch.nn.Module, tokenizer: object, facts: Dataset, method: str, batching: str, tmp_path: Path
) -> Callable[..., Trainer]:
    """A trainer of five facts, with the tuner's dropout where it has one; evaluation asks for other answers."""

    def build(
        callbacks: list,
        name: str = "out",
        checkpointing: bool | dict = False,
        dropout: float = 0.1,
        **options: object,
    ) -> Trainer:
        torch.manual_seed(1)
        tuned = copy.deepcopy(model)
        config = method_config(tuned, method, **({DROPOUT[method]: dropout} if method in DROPOUT else {}))
        fixed = {"max_steps": 10, "per_device_train_batch_size": 2, "learning_rate": 0.01, "save_strategy": "no"}
        fixed |= {"use_cpu": True, "disable_tqdm": True, "report_to": "none", "logging_steps": 1, "gamma": 1.0}
        fixed |= {"gradient_checkpointing": bool(checkpointing)}
        if isinstance(checkpointing, dict):
            fixed["gradient_checkpointing_kwargs"] = checkpointing
        rows = facts.add_column("distance", [0.2 * i for i in range(len(facts))])
        others = facts.map(lambda row, i: {"target": facts["target"][i - 1]}, with_indices=True)
        if batching == "trl":
            kind, args = SemanticWeightedSFTTrainer, SemanticSFTConfig
            fixed |= {"bf16": False}
            rows, others = (data.rename_column("target", "completion") for data in (rows, others))
        else:
            kind, args = SemanticWeightedTrainer, SemanticTrainingArguments
            fixed |= {"batching": batching, "prompt_format": "question_answer"}
        trainer = kind(
            tuned if config is None else get_peft_model(tuned, config),
            args(str(tmp_path / name), **{**fixed, **options}),
            train_dataset=rows,
            eval_dataset=others,
            processing_class=tokenizer,
            callbacks=callbacks,
        )
        shared = "segment_ids" in next(iter(trainer.get_train_dataloader()))
        assert shared == (batching == "shared_prefix")
        return trainer

    return build


@pytest.mark.parametrize(
    "how", [True, *(pytest.param({"use_reentrant": use}, marks=slow) for use in (True, False))], ids=str
)
def test_activation_checkpointing_changes_no_gradient(
    how: bool | dict, make: Callable, relative_error: Callable
) -> None:
    def gradients(**options: object) -> list[dict]:
        watch = Watch()
        trainer = make([watch], max_steps=2, max_grad_norm=0.0, gradient_accumulation_steps=2, **options)
        trainer.train()
        assert any(getattr(m, "gradient_checkpointing", False) for m in trainer.model.modules()) == bool(options)
        return watch.gradients

    without = gradients()
    found = gradients(checkpointing=how)
    assert len(found) == 2
    for a, b in zip(without, found, strict=True):
        assert any(g.any() for g in a.values())
        assert relative_error(a, b) <= 1e-6


def test_resumed_equals_unbroken(make: Callable) -> None:
    def run(name: str, callbacks: list, resume: bool = False) -> Trainer:
        options = {"save_strategy": "steps", "save_steps": 5, "lr_scheduler_type": "cosine", "warmup_steps": 2}
        trainer = make(callbacks, name, gradient_accumulation_steps=2, **options)
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    unbroken = run("unbroken", [])
    assert run("resumed", [Watch(5)]).state.global_step == 5
    torch.manual_seed(99)  # another process starts from another state
    resumed = run("resumed", [], resume=True)
    expected, found = trained(unbroken.model), trained(resumed.model)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    for name in ("loss", "grad_norm", "clipped_steps"):
        logs = [[entry[name] for entry in t.state.log_history if name in entry] for t in (unbroken, resumed)]
        assert logs[0] == logs[1]
        assert len(logs[0]) == 10


def test_training_stops_early_and_the_best_model_is_loaded(make: Callable) -> None:
    watch, every = Watch(), {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    trainer = make(
        [watch, EarlyStoppingCallback(early_stopping_patience=2)],
        max_steps=60,
        learning_rate=0.1,
        lr_scheduler_type="constant",
        load_best_model_at_end=True,
        **every,
    )
    trainer.train()
    losses = {entry["step"]: entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry}
    best = min(losses, key=losses.get)
    assert trainer.state.global_step == best + 2 < 60
    found = trained(trainer.model)
    assert all(torch.equal(found[name], p) for name, p in watch.weights[best].items())
    assert any(not torch.equal(found[name], p) for name, p in watch.weights[best + 2].items())
    assert trainer.evaluate()["eval_loss"] == pytest.approx(losses[best], rel=1e-6)


@slow
@pytest.mark.parametrize(
    ("method", "batching"),
    [*((name, "shared_prefix") for name in METHODS), ("adalora", "trl")],  # a minute or more each
    indirect=True,
)
def test_torch_compile_changes_no_gradient_and_resumes(make: Callable, relative_error: Callable) -> None:
    def run(name: str, compiled: bool, stop: int | None = None, resume: bool = False) -> tuple[Watch, Trainer]:
        watch, options = Watch(stop), {"torch_compile": compiled, "save_strategy": "steps", "save_steps": 2}
        trainer = make([watch], name, dropout=0.0, max_steps=4, max_grad_norm=0.0, optim="sgd", **options)
        trainer.train(resume_from_checkpoint=resume)
        return watch, trainer

    (eager, _), (compiled, unbroken) = run("eager", False), run("compiled", True)
    assert hasattr(unbroken.model_wrapped, "_orig_mod")
    for a, b in zip(eager.gradients, compiled.gradients, strict=True):
        assert relative_error(a, b) <= 1e-5
    run("resumed", True, stop=2)
    torch.manual_seed(99)
    _, resumed = run("resumed", True, resume=True)
    expected, found = trained(unbroken.model), trained(resumed.model)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
