"""Training through a filter's collator and on the filtered set: in this process and by `worker.py` under torchrun."""

from pathlib import Path

import numpy as np
import torch
from datasets import Dataset

from semantic_trainer import FilterPlan, SemanticFilter, SemanticFilterCollator, SemanticWeightedTrainer
from semantic_trainer.training.data_collator import FactCollator

from . import jobs

N, POOL = 7, 12  # seven rows do not divide over two processes


def rows(n: int, seed: int, low: float, high: float) -> Dataset:
    """Ragged tokenised rows with distances."""
    rng = np.random.default_rng(seed)
    out = []
    for distance in rng.uniform(low, high, n):
        prompt, target = int(rng.integers(3, 9)), int(rng.integers(1, 5))
        ids = rng.integers(3, 250, prompt + target).tolist()
        out.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:], "distance": float(distance)})
    return Dataset.from_list(out)


def data(n: int = N) -> tuple[Dataset, Dataset, FilterPlan]:
    train, pool = rows(n, 1, 0.3, 0.8), rows(POOL, 2, 0.0, 1.3)
    plan = SemanticFilter(None).plan(train, pool)
    assert len(plan) == round(0.6 * n)
    return train, pool, plan


def train_filtered(
    out: Path, world_size: int, through: bool, stop: int | None = None, n: int = N, **options: object
) -> dict[str, object]:
    """Gradients, losses and weights of four epochs or so; with `stop` in two sittings."""
    train, pool, plan = data(n)
    recorder = jobs.Recorder(stop)
    inner = FactCollator(0)
    options = {"gamma": 2.0, "num_train_epochs": 2, **options}
    name = f"{'through' if through else 'applied'}-{stop}-{'-'.join(map(str, options.values()))}"

    def trainer(callbacks: list) -> SemanticWeightedTrainer:
        return SemanticWeightedTrainer(
            jobs.with_lora(jobs.tiny_llama(0.1), initialised=False),
            jobs.arguments(out / name, world_size, **options),
            SemanticFilterCollator(inner, plan, train, pool) if through else inner,
            train_dataset=plan.attach(train) if through else plan.apply(train, pool),
            eval_dataset=pool,
            callbacks=callbacks,
        )

    current = trainer([recorder])
    current.train()
    if stop:
        torch.manual_seed(99)
        current = trainer([recorder])
        recorder.stop = None
        current.train(resume_from_checkpoint=True)
    return {
        "steps": recorder.steps,
        "losses": [entry["loss"] for entry in current.state.log_history if "loss" in entry],
        "weights": {name: p.detach().clone() for name, p in current.model.named_parameters() if p.requires_grad},
        "statistics": current.weight_statistics,
        "eval": current.evaluate()["eval_loss"],
    }


def both_ways(out: Path, world_size: int) -> dict[bool, dict]:
    """Through the collator, and on the set that the plan makes."""
    return {way: train_filtered(out, world_size, way, gradient_accumulation_steps=2) for way in (True, False)}
