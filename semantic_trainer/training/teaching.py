"""One training from its seed to its end: fresh weights on a base that is in memory."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from datasets import Dataset
from peft import PeftConfig, get_peft_model
from transformers import PrinterCallback, ProgressCallback, TrainerState, set_seed

from ..facts.prompts import PromptFormat
from .history import LearningHistory
from .trainer import SemanticWeightedTrainer
from .training_args import SemanticTrainingArguments


class DivergedError(ValueError):
    """A training has ended in weights that are not finite."""


class Taught(NamedTuple):
    """What a training leaves: the `PeftModel`, or the model itself where every weight was trained; state and logs."""

    model: torch.nn.Module
    state: TrainerState
    history: LearningHistory | None


def teach(
    model: torch.nn.Module,
    tokenizer: object,
    facts: Dataset,
    form: PromptFormat,
    args: SemanticTrainingArguments,
    config: PeftConfig | None,
    checkpoint: str | None = None,
    quiet: bool = False,
    trainer: Callable[..., SemanticWeightedTrainer] | None = None,
) -> Taught:
    """Train a fresh adapter on `model`, or all its weights, on `facts`; everything random comes from `args.seed`.

    Args:
        model: the base, without an adapter: as loaded, or given back by `unload()` of the training before. It is the
            same model afterwards as in a process of its own, bit for bit.
        config: the adapter's; `None` trains every weight.
        checkpoint: a checkpoint of this training to go on from.
        quiet: neither a progress bar nor a line for each log.
        trainer: what makes the trainer of its arguments; `SemanticWeightedTrainer` by default.

    Returns:
        The trained model, the trainer's state with its logs, and with `learning_history` the losses of each fact.

    Raises:
        DivergedError: trained weights are not finite; the adapter is taken off the base again.
    """
    vars(model).pop("peft_config", None)  # what the adapter before left on the base
    use_cache = model.config.use_cache
    set_seed(args.seed)
    tuned = get_peft_model(model, config) if config else model
    create = trainer or SemanticWeightedTrainer
    made = create(tuned, args, train_dataset=facts, processing_class=tokenizer, prompt_format=form)
    if quiet:
        made.remove_callback(PrinterCallback)
        made.remove_callback(ProgressCallback)
    try:
        _train(made, tuned, checkpoint)
    except DivergedError:
        if config:
            tuned.unload()  # nobody is handed it, and the base is needed as it was
        raise
    finally:
        made.accelerator.free_memory()
        model.config.use_cache = use_cache  # Trainer switches it off
    return Taught(tuned, made.state, made.history)


def _train(made: SemanticWeightedTrainer, tuned: torch.nn.Module, checkpoint: str | None) -> None:
    """Train to the end; self-paced weights refuse the losses of a training that has diverged before that."""
    try:
        made.train(resume_from_checkpoint=checkpoint)
    except ValueError:
        check_finite(tuned)
        raise
    check_finite(tuned)


def check_finite(model: torch.nn.Module) -> None:
    """Raise a `DivergedError` where training has diverged: such weights are not worth evaluating."""
    wrong = [name for name, p in model.named_parameters() if p.requires_grad and not torch.isfinite(p).all()]
    if wrong:
        raise DivergedError(
            f"the training diverged: {len(wrong)} trained tensors hold numbers that are not finite. Start again with "
            "a lower `learning_rate`, or with `max_grad_norm` above 0."
        )
