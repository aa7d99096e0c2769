"""What is measured in a cell."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from ..comparing import relative_error
from ..distributed import jobs
from ..invariant.conftest import GradientRecorder
from . import slow_loop
from .cells import FACTS_A_STEP, Cell, facts, trainer, tuned


class StepRecorder(GradientRecorder):
    """Also copies the weights that each step's gradients were taken at."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs) -> None:
        super().on_pre_optimizer_step(args, state, control, model=model, **kwargs)
        self.weights.append({name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad})


class Measured(NamedTuple):
    """`gradients`: the largest relative difference of any step's from the slow loop's."""

    shares_prefixes: bool
    gradients: float


reference = cache(tuned)


def slow_gradients(cell: Cell, weights: dict[str, torch.Tensor], step: int) -> dict[str, torch.Tensor]:
    """The slow loop's gradients of a step, at these weights."""
    model, rows = reference(cell.method, cell.architecture), facts().to_list()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in weights:
                parameter.copy_(weights[name])
    epoch = [rows[i : i + FACTS_A_STEP] for i in range(0, len(rows), FACTS_A_STEP)]
    return slow_loop.gradients(model, jobs.TOKENIZER, epoch[step % len(epoch)], cell.method == "adalora")


def measure(cell: Cell, out: Path) -> Measured:
    recorder = StepRecorder()
    current = trainer(cell, out, [recorder])
    shares = "segment_ids" in next(iter(current.get_train_dataloader()))
    current.train()
    differences = [
        relative_error(slow_gradients(cell, weights, step), found)
        for step, (weights, found) in enumerate(zip(recorder.weights, recorder.steps, strict=True))
    ]
    return Measured(shares, max(differences))
