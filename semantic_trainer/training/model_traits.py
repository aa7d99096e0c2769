"""What a trainer has to know of a model: what it takes, which parameters a loss reaches, what to warn of."""

import logging
from inspect import signature

from .training_args import WeightingArguments

logger = logging.getLogger(__name__)
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


def takes(model: object) -> set[str]:
    """Names of what a model's `forward` takes, labels apart; of a `PeftModel`, its base's."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return {"input_ids", *(signature(base.forward).parameters if hasattr(base, "forward") else ())} - {"labels"}


def check_reads_facts(model: object, argument: str) -> None:
    """Raise a `ValueError` where a model cannot be taught facts: it is no causal language model of transformers."""
    config = getattr(model, "config", None)
    if config is not None and not getattr(config, "is_encoder_decoder", False):
        return
    what = "has no config" if config is None else "is an encoder-decoder, which reads prompt and answer apart"
    raise ValueError(f"`{argument}` holds facts, but `model` {what}. Use a causal language model, or tokenise them.")


def uses_every_parameter(model: object, to_be_wrapped: bool = False) -> bool:
    """Whether each trainable parameter of a `PeftModel` is in every loss: so but for a base with experts.

    `Trainer` has DDP search every graph of what is no `PreTrainedModel` for unused parameters, which takes time, and
    cannot be done with reentrant activation checkpointing.

    Args:
        to_be_wrapped: whether the model is still to get its adapter.
    """
    if not (hasattr(model, "peft_config") or to_be_wrapped) or not hasattr(model, "config"):
        return False
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config.get_text_config()
    return not any((getattr(config, name, None) or 0) > 1 for name in EXPERTS)


def warn_about_lost_losses(model: object) -> None:
    """Warn of losses that a model adds to its own loss and that the weighted loss, made from logits, does not have."""
    if getattr(model.config.get_text_config(), "output_router_logits", False):
        logger.warning("the weighted loss does not have the router's auxiliary loss; gamma=0 keeps it")


def warn_about_half_precision(model: object, args: WeightingArguments) -> None:
    """Warn where trainable weights are in half precision, in which small updates are lost."""
    half = [name for name, p in model.named_parameters() if p.requires_grad and p.itemsize < 4]
    if half and not (args.bf16 or args.fp16):
        logger.warning(
            "%d trainable tensors (first %s) are in half precision, where small updates are lost. Load the model "
            "in float32 for full fine-tuning; adapters on a half-precision base keep float32 by PEFT's default.",
            len(half),
            half[0],
        )
