"""What is measured in a cell."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from semantic_trainer.distribution import is_first

from ..comparing import relative_error
from ..distributed import jobs
from ..invariant.conftest import GradientRecorder
from . import slow_loop
from .cells import FACTS_A_STEP, SAVED_STEP, Cell, base, facts, trainer, tuned

SAVED, LOGITS = "saved", "logits.pt"
TOKENS = torch.arange(3, 27).view(2, 12)


class StepRecorder(GradientRecorder):
    """Also copies the weights that each step's gradients were taken at."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs) -> None:
        super().on_pre_optimizer_step(args, state, control, model=model, **kwargs)
        self.weights.append(trained(model))


class Measured(NamedTuple):
    """Differences; `None` where there is nothing to compare.

    Attributes:
        shares_prefixes: whether rows shared a prefix.
        gradients: of all steps' gradients from the slow loop's, relative, the largest.
        base: of logits under `disable_adapter` from those of the base alone.
        resumed: of weights after going on from a checkpoint from those of the unbroken training.
        reloaded: of logits of the saved model in a new process from those here.
    """

    shares_prefixes: bool
    gradients: float
    base: float | None
    resumed: float
    reloaded: float | None = None


def trained(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference of two tensors; 0 where they are equal bit for bit."""
    return 0.0 if torch.equal(a, b) else float((a - b).abs().max())


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    return model.eval()(TOKENS).logits


base_logits = cache(lambda architecture: logits(base(architecture)))
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


def measure(cell: Cell, folder: Path) -> Measured | None:
    """Train in the cell's way and compare; `None` in all processes but the first. The model is saved for `reload`."""
    out, recorder = folder / "-".join(cell), StepRecorder()
    unbroken = trainer(cell, out, [recorder])
    shares = "segment_ids" in next(iter(unbroken.get_train_dataloader()))
    unbroken.train()
    torch.manual_seed(99)  # another process starts from another state
    resumed = trainer(cell, out, [])
    resumed.train(resume_from_checkpoint=str(out / f"checkpoint-{SAVED_STEP}"))
    unbroken.save_model(str(out / SAVED))
    if not is_first():
        return None
    weights = trained(resumed.model)
    apart = max(difference(p, weights[name]) for name, p in trained(unbroken.model).items())
    torch.save({"cell": tuple(cell), "logits": logits(unbroken.model)}, out / LOGITS)
    steps = zip(recorder.weights, recorder.steps, strict=True)
    errors = [relative_error(slow_gradients(cell, taken_at, i), found) for i, (taken_at, found) in enumerate(steps)]
    without = None
    if cell.method != "full":
        with unbroken.model.disable_adapter():
            without = difference(base_logits(cell.architecture), logits(unbroken.model))
    return Measured(shares, max(errors), without, apart)
