"""AdaLoRA in one process and in two, and activation checkpointing with it and with LoRA."""

from pathlib import Path

import torch
from peft import PeftModel, get_peft_model
from transformers import Trainer

from semantic_trainer import SemanticSFTConfig, SemanticTrainingArguments
from semantic_trainer import SemanticWeightedSFTTrainer as Sft
from semantic_trainer import SemanticWeightedTrainer as Ours
from semantic_trainer.tuners.methods import method_config

from .jobs import TOKENIZER, Recorder, arguments, rows, tiny_llama, with_lora

CASES = [(kind, gamma) for kind in (Ours, Sft) for gamma in (0.0, 2.0)]


def pruned_tuner(**options: object) -> PeftModel:
    """From rank 4 down to 2."""
    torch.manual_seed(1)
    model = tiny_llama(0.1)
    return get_peft_model(model, method_config(model, "adalora", r=2, init_r=4, **options))


def trainer(out: Path, world_size: int, kind: type, callbacks: list, model: PeftModel, **options: object) -> Trainer:
    args_kind = SemanticSFTConfig if kind is Sft else SemanticTrainingArguments
    args = arguments(out, world_size, args_kind, gradient_accumulation_steps=2, **options)
    processing = TOKENIZER if kind is Sft else None
    return kind(model, args, train_dataset=rows(8), processing_class=processing, callbacks=callbacks)


def gradients(out: Path, world_size: int, kind: type, gamma: float) -> dict:
    """Of eight steps from full rank to pruned, with what is left of the singular values."""
    recorder, model = Recorder(), pruned_tuner()
    trainer(out / kind.__name__, world_size, kind, [recorder], model, gamma=gamma, max_steps=8).train()
    left = {name: p != 0 for name, p in model.named_parameters() if "lora_E" in name}
    return {"steps": recorder.steps, "left": left}


def resumed(out: Path, world_size: int, stop: int | None) -> dict[str, torch.Tensor]:
    """The adapter after eight steps, with dropout, in one go or in two; it is pruned from step 1 to 4."""
    options = {"gamma": 1.0, "max_steps": 8, "save_strategy": "steps", "save_steps": 3, "optim": "adamw_torch"}

    def make(callbacks: list) -> Trainer:
        return trainer(out / f"adalora-{stop}", world_size, Ours, callbacks, pruned_tuner(lora_dropout=0.1), **options)

    current = make([Recorder(stop)])
    current.train()
    if stop:
        torch.manual_seed(99)  # another process starts from another state
        current = make([])
        current.train(resume_from_checkpoint=True)
    return {name: p.detach().clone() for name, p in current.model.named_parameters() if p.requires_grad}


def checkpointed(out: Path, world_size: int) -> dict[str, list[dict] | str]:
    """Gradients of two steps with activation checkpointing, reentrant and not, and without; or why there are none."""
    found = {}
    for kind in (Ours, Sft):
        for method in ("lora", "adalora"):
            for reentrant in (None, False, True):
                recorder, options = Recorder(), {"gradient_checkpointing": reentrant is not None}
                if reentrant is not None:
                    options["gradient_checkpointing_kwargs"] = {"use_reentrant": reentrant}
                model = pruned_tuner() if method == "adalora" else with_lora(tiny_llama(0.1), initialised=False)
                try:
                    trainer(out / "ck", world_size, kind, [recorder], model, gamma=1.0, max_steps=2, **options).train()
                except ValueError as error:
                    recorder.steps = str(error)
                found[f"{kind.__name__} {method} {reentrant}"] = recorder.steps
    return found


def run_all(out: Path, world_size: int) -> dict:
    found = {f"adalora-{kind.__name__}-{gamma}": gradients(out, world_size, kind, gamma) for kind, gamma in CASES}
    found["checkpointed"] = checkpointed(out, world_size)
    return found | {f"adalora-resumed-{stop}": resumed(out, world_size, stop) for stop in (None, 3)}
