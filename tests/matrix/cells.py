"""The cells of the matrix, and the model, facts and trainer of each."""

from pathlib import Path
from typing import NamedTuple

import torch
from datasets import Dataset
from peft import get_peft_model

from semantic_trainer import PromptFormat, SemanticWeightedTrainer
from semantic_trainer.tuners.methods import METHODS, method_config

from ..architectures import EXACT, tiny
from ..distributed import jobs
from .slow_loop import GAMMA, SHOT

ARCHITECTURES = (*EXACT, "Bloom")
PADDED_ONLY = ("Bloom",)  # takes no position_ids: `shared_prefix` falls back to `padded`
OPTIONS = {"adalora": {"tinit": 1}}  # prunes from step 2 to the last, so that the checkpoint is in the midst of it
BATCHINGS = ("padded", "shared_prefix")
STEPS, SAVED_STEP, FACTS_A_STEP = 4, 3, 8


class Geometry(NamedTuple):
    """How the facts of one optimizer step are divided."""

    rows: int
    accumulation: int
    processes: int


GEOMETRIES = {"one process": Geometry(8, 1, 1), "accumulation": Geometry(2, 4, 1), "two processes": Geometry(2, 2, 2)}


class Cell(NamedTuple):
    method: str
    architecture: str
    geometry: str
    batching: str

    @property
    def processes(self) -> int:
        return GEOMETRIES[self.geometry].processes

    @property
    def shares_prefixes(self) -> bool:
        return self.batching == "shared_prefix" and self.architecture not in PADDED_ONLY


ALL = tuple(Cell(m, a, g, b) for m in METHODS for a in ARCHITECTURES for g in GEOMETRIES for b in BATCHINGS)
# Each method once in each geometry, in turns on the architectures and batchings
SOME = tuple(
    Cell(method, ARCHITECTURES[(3 * i + j) % len(ARCHITECTURES)], geometry, BATCHINGS[(i + j) % 2])
    for i, method in enumerate(METHODS)
    for j, geometry in enumerate(GEOMETRIES)
)
SUBSETS = {"some": SOME, "all": ALL}


def base(architecture: str) -> torch.nn.Module:
    model = tiny(architecture, len(jobs.TOKENIZER))
    with torch.no_grad():
        for (
            parameter
        ) in model.parameters():  # of an ordinary scale: the tiny models are sharp, and so is their rounding
            parameter.mul_(0.5 if parameter.ndim > 1 else 1.0)
    return model


def tuned(method: str, architecture: str) -> torch.nn.Module:
    """The base under a fresh adapter that is off its starting point, so that every weight has a gradient."""
    model = base(architecture)
    config = method_config(model, method, **OPTIONS.get(method, {}))
    if config is None:
        return model
    torch.manual_seed(1)
    model = get_peft_model(model, config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model


def facts() -> Dataset:
    """Eleven facts: a step of eight and one of three make an epoch."""
    rows = jobs.facts()
    return rows.add_column("distance", [0.11 * i for i in range(len(rows))])


def trainer(cell: Cell, out: Path, callbacks: list) -> SemanticWeightedTrainer:
    """Takes the facts in their order, and keeps checkpoints of the third and the last step."""
    geometry = GEOMETRIES[cell.geometry]
    args = jobs.arguments(
        out,
        geometry.processes,
        per_device_train_batch_size=geometry.rows,
        gradient_accumulation_steps=geometry.accumulation,
        train_sampling_strategy="sequential",
        batching=cell.batching,
        gamma=GAMMA,
        max_steps=STEPS,
        optim="adamw_torch",
        learning_rate=1e-3,
        save_strategy="steps",
        save_steps=SAVED_STEP,
    )
    return SemanticWeightedTrainer(
        tuned(cell.method, cell.architecture),
        args,
        train_dataset=facts(),
        processing_class=jobs.TOKENIZER,
        prompt_format=PromptFormat.question_answer([SHOT]),
        callbacks=callbacks,
    )
