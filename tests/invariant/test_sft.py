"""SemanticWeightedSFTTrainer against trl.SFTTrainer, and against a loop written out example by example."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import MixtralConfig, MixtralForCausalLM
from trl import SFTConfig, SFTTrainer

from semantic_trainer import SemanticSFTConfig, SemanticWeightedSFTTrainer, semantic_weight

from .conftest import GradientRecorder
from .test_resume import StopAt

METRICS = ("entropy", "mean_token_accuracy", "num_tokens")


@pytest.fixture
def train(tokenizer: object, tmp_path: Path) -> Callable[..., tuple]:
    """A trained trainer and the gradients of its steps before clipping."""

    def run(kind: type, model: torch.nn.Module, data: Dataset, stop: int | None = None, **options: object) -> tuple:
        defaults = {
            "output_dir": str(tmp_path / "out"),
            "per_device_train_batch_size": 2,
            "learning_rate": 1e-2,
            "max_grad_norm": 0.0,
            "save_strategy": "no",
            "logging_steps": 1,
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "disable_tqdm": True,
        }
        more = {name: options.pop(name) for name in ("eval_dataset", "resume") if name in options}
        config = SemanticSFTConfig if kind is SemanticWeightedSFTTrainer else SFTConfig
        recorder = GradientRecorder()
        trainer = kind(
            model,
            config(**{**defaults, **options}),
            train_dataset=data,
            eval_dataset=more.get("eval_dataset"),
            processing_class=tokenizer,
            callbacks=[recorder, *([StopAt(stop)] if stop else [])],
        )
        trainer.train(resume_from_checkpoint=more.get("resume"))
        return trainer, recorder.steps

    return run


def milder(model: torch.nn.Module) -> torch.nn.Module:
    """An ordinary scale: the fixture's is sharp, and so is its rounding."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.1 if parameter.ndim > 1 else 1.0)
    return model


def slow_gradients(model: torch.nn.Module, data: Dataset, gamma: float) -> dict[str, torch.Tensor]:
    """Eq. 5 over all rows, one forward pass a row, from the model's own logits."""
    total, tokens = torch.zeros(()), 0
    weights = semantic_weight(data["distance"][:], gamma)
    for row, weight in zip(data, weights, strict=True):
        logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
        for position, label in enumerate(row["labels"][1:]):
            if label != -100:
                total = total - float(weight) * logits[position, label]
                tokens += 1
    (total / tokens).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("size", "steps"), [(7, 1), (2, 4), (1, 7), (3, 3)])
@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_gradients_are_the_slow_loops(
    adapter: bool,
    size: int,
    steps: int,
    model: torch.nn.Module,
    rows: Callable,
    lora: Callable,
    train: Callable,
    relative_error: Callable,
) -> None:
    data, base = rows(7), milder(model)
    if adapter:
        base = lora(base)
        for name, p in base.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(p, std=0.1)
    expected = slow_gradients(copy.deepcopy(base), data, gamma=2.0)
    options = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps, "max_steps": 1}
    _, found = train(SemanticWeightedSFTTrainer, base, data, gamma=2.0, **options)
    assert len(found) == 1
    assert relative_error(expected, found[0]) <= 1e-6


@pytest.mark.parametrize("options", [{"gamma": 0.0}, {"weighting": "none"}], ids=["gamma 0", "weights 1"])
@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_unweighted_is_trl_bit_for_bit(
    options: dict, adapter: bool, model: torch.nn.Module, rows: Callable, lora: Callable, train: Callable
) -> None:
    data, found = rows(9), []  # batches of 2, accumulation 2: the last batch and the last step are ragged
    geometry = {"gradient_accumulation_steps": 2, "num_train_epochs": 2, "max_grad_norm": 1.0, "seed": 3}
    for kind, more in ((SFTTrainer, {}), (SemanticWeightedSFTTrainer, options)):
        fresh = copy.deepcopy(model)
        fresh = lora(fresh, dropout=0.1) if adapter else fresh
        trainer, _ = train(kind, fresh, data, eval_dataset=rows(3, seed=5), eval_strategy="epoch", **geometry, **more)
        weights = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
        found.append((weights, trainer.state.log_history))
        assert getattr(trainer, "weighted", False) == ("weighting" in more)
    (stock, stock_log), (ours, our_log) = found
    assert all(torch.equal(stock[name], ours[name]) for name in stock)
    varying = ("runtime", "per_second", "total_flos", "clipped_steps", "weight/", "distance/")
    for a, b in zip(stock_log, our_log, strict=True):
        same = {name: value for name, value in b.items() if not any(word in name for word in varying)}
        assert same == {name: value for name, value in a.items() if not any(word in name for word in varying)}
    assert sum(set(METRICS) <= set(entry) for entry in our_log) == 6
    assert sum({f"eval_{name}" for name in METRICS} <= set(entry) for entry in our_log) == 2


def test_metrics_of_the_first_step_are_trls_whatever_the_weights(
    model: torch.nn.Module, rows: Callable, train: Callable
) -> None:
    logs = []
    for kind, more in ((SFTTrainer, {}), (SemanticWeightedSFTTrainer, {"gamma": 3.0})):
        trainer, _ = train(kind, copy.deepcopy(model), rows(6), gradient_accumulation_steps=3, max_steps=1, **more)
        logs.append(trainer.state.log_history[0])
    stock, ours = logs
    assert {name: ours[name] for name in METRICS} == {name: stock[name] for name in METRICS}
    assert ours["loss"] > stock["loss"]
    assert ours["weight/mean"] > 1


def test_evaluation_is_unweighted(model: torch.nn.Module, rows: Callable, train: Callable) -> None:
    losses = []
    held_out = rows(5, seed=9).add_column("weight", [7.0] * 5)
    for kind, more in ((SFTTrainer, {}), (SemanticWeightedSFTTrainer, {"gamma": 3.0})):
        fresh = copy.deepcopy(model)
        trainer, _ = train(kind, fresh, rows(4), eval_dataset=held_out, max_steps=1, learning_rate=0.0, **more)
        trainer.args.prediction_loss_only = False
        with pytest.warns(FutureWarning, match="return_outputs"):
            predicted = trainer.predict(trainer.eval_dataset)
        losses.append((trainer.evaluate()["eval_loss"], trainer.evaluate(held_out)["eval_loss"], predicted.metrics))
        assert predicted.predictions.shape[0] == 5
    assert losses[0][:2] == losses[1][:2]
    assert losses[0][2]["test_loss"] == losses[1][2]["test_loss"] == losses[0][0]


def test_resumed_equals_unbroken(
    model: torch.nn.Module, rows: Callable, lora: Callable, train: Callable, tmp_path: Path
) -> None:
    def run(name: str, **more: object) -> tuple:
        tuned = lora(copy.deepcopy(model), dropout=0.1)
        options = {"gamma": 1.0, "max_steps": 10, "gradient_accumulation_steps": 2, "warmup_steps": 2}
        options |= {"save_strategy": "steps", "save_steps": 5, "max_grad_norm": 1.0, "lr_scheduler_type": "cosine"}
        options |= {"output_dir": str(tmp_path / name)}
        trainer, _ = train(SemanticWeightedSFTTrainer, tuned, rows(7), **options, **more)
        weights = {name: p.detach().clone() for name, p in trainer.model.named_parameters() if p.requires_grad}
        return weights, [e for e in trainer.state.log_history if "loss" in e]

    unbroken, log = run("unbroken")
    run("resumed", stop=5)
    torch.manual_seed(99)  # another process starts from another state
    resumed, resumed_log = run("resumed", resume=True)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)
    for name in ("loss", "grad_norm", "clipped_steps", "entropy", "mean_token_accuracy"):
        assert [entry[name] for entry in resumed_log] == [entry[name] for entry in log]


def test_the_experts_auxiliary_loss_stays_unweighted(
    tokenizer: object, rows: Callable, train: Callable, relative_error: Callable
) -> None:
    """Twice the weights are twice the words' gradient, and once that of the router's own loss."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "num_key_value_heads": 2}
    model = MixtralForCausalLM(MixtralConfig(vocab_size=len(tokenizer), **sizes, **experts))

    def gradients(weight: float, coefficient: float) -> dict[str, torch.Tensor]:
        data = rows(4).add_column("weight", [weight] * 4)
        options = {"weighting": "column", "router_aux_loss_coef": coefficient, "gradient_accumulation_steps": 2}
        _, steps = train(SemanticWeightedSFTTrainer, copy.deepcopy(model), data, max_steps=1, **options)
        return steps[0]

    once, twice, words = gradients(1.0, 0.5), gradients(2.0, 0.5), gradients(1.0, 0.0)
    router = {name: once[name] - words[name] for name in words}
    assert max(float(g.abs().max()) for g in router.values()) > 1e-3
    assert relative_error(twice, {name: 2 * words[name] + router[name] for name in words}) <= 1e-6
