"""What a launcher asks for and what the trainer makes of it: DDP's search for unused parameters, and FSDP."""

import os

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from transformers import TrainingArguments

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


def uses_every_parameter(model: torch.nn.Module | None) -> bool:
    """Whether each trainable parameter of a `PeftModel` is in every loss: so but for a base with experts.

    `Trainer` has DDP search every graph of what is no `PreTrainedModel` for unused parameters, which takes time.
    """
    if not hasattr(model, "peft_config") or not hasattr(model, "get_base_model"):
        return False
    config = model.get_base_model().config
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    return not any((getattr(config, name, None) or 0) > 1 for name in EXPERTS)


def refuse_fsdp_that_is_none(accelerator: Accelerator, args: TrainingArguments) -> None:
    """Raise a `ValueError` where FSDP was asked for and accelerate runs plain DDP instead, as it does on CPU."""
    launched = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("1", "true")
    if (launched or args.fsdp) and accelerator.distributed_type != DistributedType.FSDP:
        raise ValueError(
            f"`fsdp` was asked for, but what would run on {accelerator.device.type} is "
            f"{accelerator.distributed_type.value}, without sharding anything. Launch without --use_fsdp (and without "
            "`fsdp`), or on GPUs."
        )
