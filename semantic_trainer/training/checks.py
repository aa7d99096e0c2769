"""Refused before step 1: a model in which nothing can be trained, numbers that make no sense, rows that are split."""

import math
from collections.abc import Sized

from transformers import TrainingArguments

from ..quantization import loaded_in

AT_LEAST = {
    "learning_rate": 0,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "weight_decay": 0,
    "max_grad_norm": 0,
    "seed": 0,
    "dataloader_num_workers": 0,
}
SEEDS = 2**32  # numpy's


def check_numbers(args: TrainingArguments) -> None:
    """Finite numbers, and none below what makes sense: Trainer would say so late, or train with it.

    Raises:
        ValueError: naming the option and its value.
    """
    for name, value in vars(args).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"`{name}` must be a finite number, but {value} was passed")
    for name, least in AT_LEAST.items():
        value = getattr(args, name)
        if isinstance(value, (int, float)) and value < least:
            raise ValueError(f"`{name}` must be at least {least}, but {value} was passed")
    if args.seed >= SEEDS:
        raise ValueError(f"`seed` must be below {SEEDS}, but {args.seed} was passed")


def check_length(args: TrainingArguments) -> None:
    """Raise a `ValueError` where there would be nothing to train."""
    if args.max_steps <= 0 and args.num_train_epochs <= 0:
        raise ValueError(
            "`num_train_epochs` must be above 0, or `max_steps` given: there would be nothing to train, but "
            f"{args.num_train_epochs:g} was passed"
        )


def check_trainable(model: object, to_be_wrapped: bool = False) -> None:
    """Refuse a model in which nothing can be trained.

    Args:
        model: any; only a `torch.nn.Module` is looked at.
        to_be_wrapped: whether it is still to get an adapter.

    Raises:
        ValueError: it is quantized and has no adapter, or no weight is trainable.
    """
    if to_be_wrapped or not hasattr(model, "named_parameters"):
        return
    if getattr(model, "is_quantized", False) and not hasattr(model, "peft_config"):
        bits = loaded_in(model)
        raise ValueError(
            f"`model` is quantized{f' in {bits}' if bits else ''} and has no adapter, and quantized weights cannot be "
            'trained. Put one on it: get_peft_model(model, method_config(model, "lora")); or load it in float32.'
        )
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    if frozen and len(frozen) == len(list(model.parameters())):
        hint = "Set requires_grad on the weights to train, or put an adapter on it."
        if hasattr(model, "peft_config"):
            hint = "Load its adapter with PeftModel.from_pretrained(base, folder, is_trainable=True)."
        raise ValueError(f"`model` has nothing to train: none of its {len(frozen)} tensors is trainable. {hint}")


def check_processes(rows: object, processes: int, what: str = "`train_dataset`") -> None:
    """Refuse more processes than rows: one of them would train on nothing.

    Raises:
        ValueError: naming both numbers.
    """
    if isinstance(rows, Sized) and 0 < len(rows) < processes:
        raise ValueError(
            f"{what} has {len(rows)} row{'s' * (len(rows) > 1)} for {processes} processes, each of which needs one. "
            f"Launch no more than that, as in `torchrun --nproc_per_node {len(rows)}`."
        )


def check_whole_rows(parallelism: object) -> None:
    """Refuse to weigh rows of which each process would have a part.

    Args:
        parallelism: accelerate's `ParallelismConfig`, or `None`.

    Raises:
        ValueError: it has context or sequence parallelism.
    """
    if parallelism is not None and (parallelism.cp_enabled or parallelism.sp_enabled):
        raise ValueError(
            "context and sequence parallelism split rows over processes, and the weighted loss needs them whole. "
            "Leave them out of `parallelism_config`, or use SemanticWeightedSFTTrainer with context parallelism."
        )
