"""Shared by the invariants: ragged tokenised rows, one set of arguments, and gradients before clipping."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import Trainer, TrainerCallback

from semantic_trainer.training.training_args import SemanticTrainingArguments

IGNORED = -100


class GradientRecorder(TrainerCallback):
    """Copies the gradients of every optimizer step, before clipping where max_grad_norm is 0."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs) -> None:
        named = model.named_parameters()
        self.steps.append({name: p.grad.detach().clone() for name, p in named if p.grad is not None})


@pytest.fixture
def rows() -> Callable[..., Dataset]:
    """n tokenised rows of unequal lengths, prompt masked, with distances spread over [0, 1.2]."""

    def make(n: int, seed: int = 0, answer: int | None = None) -> Dataset:
        rng = torch.Generator().manual_seed(seed)

        def number(low: int, high: int) -> int:
            return int(torch.randint(low, high, (1,), generator=rng))

        out = []
        for i in range(n):
            prompt, target = number(3, 9), answer or number(1, 5)
            ids = torch.randint(3, 250, (prompt + target,), generator=rng).tolist()
            labels = [IGNORED] * prompt + ids[prompt:]
            out.append({"input_ids": ids, "labels": labels, "distance": 1.2 * i / max(n - 1, 1)})
        return Dataset.from_list(out)

    return make


@pytest.fixture
def arguments(tmp_path: Path) -> Callable[..., SemanticTrainingArguments]:
    def make(**options: object) -> SemanticTrainingArguments:
        defaults = {
            "output_dir": str(tmp_path / "out"),
            "per_device_train_batch_size": 2,
            "learning_rate": 1e-2,
            "save_strategy": "no",
            "logging_steps": 1,
            "use_cpu": True,
            "disable_tqdm": True,
            "report_to": "none",
            "weighting": "paper",
        }
        return SemanticTrainingArguments(**{**defaults, **options})

    return make


@pytest.fixture
def lora() -> Callable[..., PeftModel]:
    """A LoRA adapter whose B is not zero, so that every adapter weight has a gradient."""

    def wrap(model: torch.nn.Module, dropout: float = 0.0) -> PeftModel:
        torch.manual_seed(1)
        config = LoraConfig(r=4, lora_dropout=dropout, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        return get_peft_model(model, config)

    return wrap


@pytest.fixture
def gradients(arguments: Callable) -> Callable[..., dict[str, torch.Tensor]]:
    """Accumulated gradients of the first optimizer step under a trainer class."""

    def first(kind: type[Trainer], model: torch.nn.Module, data: Dataset, collator=None, **options) -> dict:
        recorder = GradientRecorder()
        fixed = {"max_steps": 1, "max_grad_norm": 0.0, "train_sampling_strategy": "sequential"}
        trainer = kind(model, arguments(**{**fixed, **options}), collator, train_dataset=data, callbacks=[recorder])
        trainer.train()
        return recorder.steps[0]

    return first
