"""What `Trainer` does not bring back from a checkpoint by itself.

Of an AdaLoRA adapter PEFT's files are pruned, and its averages lost; the weights of some whole models are saved under
other names than they have.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_NAME

from ..files import write_atomically
from ..tuners.adalora import kept_triplets, trainable_adalora, trained_config

STATE_FILE = "adalora_state.safetensors"
AVERAGES = ("exp_avg_ipt", "exp_avg_unc")
_METADATA = "rank_pattern"


@contextmanager
def ranks_as_they_are(model: object) -> Iterator[None]:
    """Within, PEFT saves an AdaLoRA adapter as it is in memory, also between two prunings; others as always."""
    tuner = trainable_adalora(model)
    if tuner is None:
        yield
        return
    config = trained_config(tuner)
    pattern = config.rank_pattern
    config.rank_pattern = kept_triplets(tuner)
    try:
        with warnings.catch_warnings():
            # A layer pruned to rank 0 is no shard that DeepSpeed has failed to gather.
            warnings.filterwarnings("ignore", message=r".*LoRA tensor\(s\) have invalid shape")
            yield
    finally:
        config.rank_pattern = pattern


def _trained(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Everything that training changes, at full rank."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad or ".ranknum." in name}


def save_adalora_state(model: torch.nn.Module, folder: str | Path) -> None:
    """Write the adapter at full rank, its averages of importance and its rank pattern, whole or not at all.

    Nothing where the model has no trainable AdaLoRA adapter.
    """
    tuner = trainable_adalora(model)
    if tuner is None:
        return
    tensors = {f"parameter {name}": tensor for name, tensor in _trained(model).items()}
    for average in AVERAGES:
        tensors |= {f"{average} {name}": value for name, value in getattr(tuner.rankallocator, average).items()}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {_METADATA: json.dumps(trained_config(tuner).rank_pattern)}
    write_atomically(Path(folder) / STATE_FILE, safetensors.torch.save(tensors, metadata))


def load_adalora_state(model: torch.nn.Module, folder: str | Path) -> bool:
    """Bring the adapter and its pruning back to where `save_adalora_state` found them.

    Returns:
        Whether it did: not where the model has no trainable AdaLoRA adapter.

    Raises:
        ValueError: the file is missing from a checkpoint of an AdaLoRA adapter, torn, or another adapter's.
    """
    tuner, path = trainable_adalora(model), Path(folder) / STATE_FILE
    if tuner is None:
        return False
    tensors, pattern = _read(path)
    parameters = dict(model.named_parameters())
    saved = {name.removeprefix("parameter "): t for name, t in tensors.items() if name.startswith("parameter ")}
    expected = _trained(model)
    wrong = [
        n for n in {*saved, *expected} if n not in saved or n not in expected or saved[n].shape != expected[n].shape
    ]
    if wrong:
        raise ValueError(
            f"the checkpoint {str(path.parent)!r} is another adapter's: {len(wrong)} tensors, first {min(wrong)}, are "
            "missing or of another shape. Make the model with the `init_r` and `target_modules` it was trained with."
        )
    with torch.no_grad():
        for name, tensor in saved.items():
            parameters[name].copy_(tensor)
    allocator, inner = tuner.rankallocator, dict(tuner.model.named_parameters())
    allocator.reset_ipt()
    for average in AVERAGES:
        found = {name.removeprefix(f"{average} "): t for name, t in tensors.items() if name.startswith(f"{average} ")}
        getattr(allocator, average).update({name: tensor.to(inner[name].device) for name, tensor in found.items()})
    allocator.ipt.update(allocator.exp_avg_ipt)  # measured anew before it is read, but it must be there
    trained_config(tuner).rank_pattern = pattern
    return True


def load_renamed_weights(model: torch.nn.Module, folder: str | Path) -> bool:
    """Load a whole model's weights where the checkpoint has some under other names than the model itself.

    `save_pretrained` writes, for instance, GPT-NeoX's `lm_head` as `embed_out`. `from_pretrained` knows that, but
    `Trainer` looks for the model's own names, and trains on with what the others happen to hold.

    Returns:
        Whether it did: not where the names are the same, nor for adapters and checkpoints in other forms.
    """
    path = Path(folder) / SAFE_WEIGHTS_NAME
    if not (isinstance(model, PreTrainedModel) and path.exists()):
        return False
    with safe_open(path, "pt") as file:
        unknown = set(file.keys()) - model.state_dict().keys()
    if not unknown:
        return False
    saved = type(model).from_pretrained(folder, dtype=model.dtype, device_map=None)
    model.load_state_dict(saved.state_dict())
    return True


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict | None]:
    """Tensors and rank pattern of a state file."""
    try:
        with safe_open(path, "pt") as file:
            pattern = json.loads(file.metadata()[_METADATA])
            return {name: file.get_tensor(name) for name in file.keys()}, pattern
    except FileNotFoundError as error:
        raise ValueError(
            f"the checkpoint {str(path.parent)!r} has no {path.name}, without which AdaLoRA's pruning cannot be gone "
            "on with. Only checkpoints of SemanticWeightedTrainer and SemanticWeightedSFTTrainer have it; start anew, "
            "or from a whole checkpoint."
        ) from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(path)!r} is torn ({error}). Go on from an earlier checkpoint.") from error
