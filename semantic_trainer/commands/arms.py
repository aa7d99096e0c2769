"""One arm of a comparison: fresh weights, trained or gone on with, saved whole or not at all."""

import gc
import json
import logging
import os
import shutil
import zipfile
from pathlib import Path

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM

from ..distribution import on_first
from ..facts.prompts import PromptFormat
from ..files import temporary_path
from ..models import DEFAULT_HUB_ID, DEFAULT_MODEL, load_model
from ..training.checkpoints import ranks_as_they_are
from ..training.history import LearningHistory
from ..training.teaching import DivergedError, teach
from ..training.training_args import SemanticTrainingArguments, optimizer_steps
from ..tuners.adalora import trainable_adalora
from ..tuners.arguments import ModelArguments, adapter_config

logger = logging.getLogger(__name__)
HISTORY_FILE = "learning_history.json"


def train_arm(
    model: torch.nn.Module,
    tokenizer: object,
    facts: Dataset,
    form: PromptFormat,
    training_args: SemanticTrainingArguments,
    args: ModelArguments,
    finished: Path,
) -> torch.nn.Module:
    """Train one adapter, or every weight, on `facts`, or read the result from `finished` where an earlier try ended.

    Args:
        model: the base, in memory; the caller gets it back with `base_again`.
        training_args: `output_dir` holds the arm's checkpoints, which are gone on with.
        finished: folder of the trained adapter or model; written whole or not at all.
    """
    if on_first(finished.exists):
        logger.info("%s: trained already", finished.name)
        return read_trained(model, finished)
    config = adapter_config(model, args, optimizer_steps(training_args, facts))
    checkpoint = on_first(last_whole_checkpoint, Path(training_args.output_dir), training_args.world_size)
    if checkpoint:
        logger.info("%s: going on from %s", finished.name, Path(checkpoint).name)
    try:
        tuned, _, history = teach(model, tokenizer, facts, form, training_args, config, checkpoint)
    except DivergedError as error:
        raise ValueError(f"{finished.name.removesuffix('-adapter')}: {error} Add --overwrite.") from error
    if config is None:
        on_first(save_trained, tuned, finished, history, tokenizer)
        return tuned
    # Only now: under a Hub id PEFT would ask the Hub at every checkpoint whether the vocabulary has changed.
    name = DEFAULT_HUB_ID if args.model == DEFAULT_MODEL else args.model
    tuned.peft_config["default"].base_model_name_or_path = name
    tuned.peft_config["default"].revision = args.revision
    on_first(save_trained, tuned, finished, history)
    if trainable_adalora(tuned) is not None:  # what was pruned is zero in memory, and gone on disk: the same to a bit
        return read_trained(tuned.unload(), finished)
    return tuned


def read_trained(model: torch.nn.Module, finished: Path) -> torch.nn.Module:
    """The adapter of a folder on the base; the model of a folder instead of it."""
    is_adapter = (finished / "adapter_config.json").exists()
    return (read_adapter if is_adapter else read_model)(model, finished)


def read_adapter(model: torch.nn.Module, folder: Path) -> torch.nn.Module:
    """The adapter of a folder on the base."""
    return PeftModel.from_pretrained(model, str(folder), is_trainable=False)


def read_model(model: torch.nn.Module, folder: Path) -> torch.nn.Module:
    """The model of a folder, where the base was, which is let go first; no code of the folder is run."""
    device = model.device
    model.to("meta")
    options = {"dtype": torch.float32, "use_safetensors": True, "trust_remote_code": False}
    return AutoModelForCausalLM.from_pretrained(folder, **options).to(device)


def base_again(tuned: torch.nn.Module, args: ModelArguments) -> torch.nn.Module:
    """The base as it was before an arm: without its adapter, or read anew where all weights were tuned.

    The tuned weights are let go first: there is never a second copy in memory.
    """
    if isinstance(tuned, PeftModel):
        return tuned.unload()
    device, revision = tuned.device, getattr(tuned.config, "_commit_hash", None) or args.revision
    tuned.to("meta")
    gc.collect()  # the optimizer's moments, which the trainer's own cycles hold
    return load_model(args.model, torch.float32, revision)[0].to(device)


def last_whole_checkpoint(folder: Path, processes: int = 1) -> str | None:
    """The newest whole checkpoint; torn ones are deleted.

    `trainer_state.json` is written last, and by the first process: each other process has its own random state.
    """
    steps = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for checkpoint in steps:
        states = [checkpoint / f"rng_state_{rank}.pth" for rank in range(processes)] if processes > 1 else []
        try:
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
            if not all(map(zipfile.is_zipfile, states)):
                raise ValueError("a random state is missing or torn")
        except (OSError, ValueError):
            logger.warning("%s was cut short while it was written: deleted", checkpoint.name)
            shutil.rmtree(checkpoint)
        else:
            return str(checkpoint)
    return None


def save_trained(
    model: torch.nn.Module, folder: Path, history: LearningHistory | None, tokenizer: object | None = None
) -> None:
    """Save an adapter, or a whole model with its tokenizer, to a folder that appears only when it is whole."""
    temporary = temporary_path(folder)
    if tokenizer is not None:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
    else:
        with ranks_as_they_are(model):
            model.save_pretrained(temporary, save_embedding_layers=False)
    if history is not None:
        columns = {"losses": history.losses.T.tolist(), "first_learnt": history.first_learnt()}
        (temporary / HISTORY_FILE).write_text(json.dumps(columns), encoding="utf-8")
    folder.parent.mkdir(parents=True, exist_ok=True)
    os.replace(temporary, folder)


def read_history(finished: Path) -> dict[str, list]:
    """Of each fact that an arm was taught `losses`, one an epoch, and `first_learnt`, an epoch or `None`."""
    return json.loads((finished / HISTORY_FILE).read_text(encoding="utf-8"))
