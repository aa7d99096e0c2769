"""A saved adapter, checked before it is loaded: its files, its method, and whether it is this base model's."""

import json
from copy import copy
from importlib.metadata import version
from pathlib import Path

import torch
from peft import PeftConfig, get_peft_model, get_peft_model_state_dict
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from ..facts.messages import suggest

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
AGAIN = "Copy the folder again, whole."
Shapes = dict[str, tuple[int, ...]]


def check_saved_adapter(
    folder: str | Path,
    base: PreTrainedModel | PretrainedConfig | None = None,
    what: str = "adapter",
    fix: str = AGAIN,
) -> PeftConfig:
    """Check an adapter's folder, without reading its weights or those of the base, whose structure alone is made.

    PEFT leaves out tensors that have no place in a model, and lets modules without tensors start anew, with a warning;
    here both are an error. Neither other weights of the same structure, nor further layers where the adapter's config
    names single ones, can be told from the folder.

    Args:
        folder: holds `adapter_config.json` and `adapter_model.safetensors`.
        base: the model the adapter is to be loaded onto, or its config; without, only the files are checked.
        what: names the adapter in errors.
        fix: what to do about missing or torn files.

    Returns:
        The adapter's config.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is torn, the weights are a pickle (which runs code when it is read), the method is not
            registered with PEFT, or the adapter's modules or tensors are not this base model's.

    Example:
        >>> check_saved_adapter("runs/demo", model).peft_type
        <PeftType.LORA: 'LORA'>
    """
    folder = Path(folder)
    found = read_shapes(folder, what, fix)
    config = read_config(folder, what, fix)
    if base is not None and not config.is_prompt_learning:
        check_fit(config, found, base, f"the {what} in {str(folder)!r}")
    return config


def read_shapes(folder: Path, what: str = "adapter", fix: str = AGAIN) -> Shapes:
    """Names and shapes of an adapter's tensors."""
    weights = folder / WEIGHTS_FILE
    for file in (folder / CONFIG_FILE, weights):
        if file.is_file():
            continue
        if file == weights and (pickled := sorted(folder.glob("adapter_model.*"))):
            raise ValueError(
                f"the {what} in {str(folder)!r} has its weights in {pickled[0].name}, a pickle, which can run any "
                "code when it is read: it is not opened. If you trust it, load it with PEFT and save it again."
            )
        raise FileNotFoundError(f"the {what} lacks its file {str(file)!r}. {fix}")
    try:
        with safe_open(weights, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except SafetensorError as error:
        raise torn(what, folder, error, fix) from error


def read_config(folder: Path, what: str = "adapter", fix: str = AGAIN) -> PeftConfig:
    """An adapter's config; its method must be one that PEFT knows."""
    try:
        kind = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["peft_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise torn(what, folder, error, fix) from error
    names = [getattr(name, "value", name) for name in PEFT_TYPE_TO_CONFIG_MAPPING]
    if kind not in names:
        raise ValueError(
            f"the {what} in {str(folder)!r} is of the `peft_type` {kind!r}, which PEFT {version('peft')} does not "
            f"know.{suggest(str(kind), names)} Update peft, or import the package that registers it first."
        )
    try:
        return PeftConfig.from_pretrained(str(folder))
    except (ValueError, TypeError) as error:
        raise torn(what, folder, error, fix) from error


def torn(what: str, folder: Path, error: Exception, fix: str) -> ValueError:
    return ValueError(f"the {what} in {str(folder)!r} is torn ({error}). {fix}")


def check_fit(config: PeftConfig, found: Shapes, base: PreTrainedModel | PretrainedConfig, what: str) -> None:
    """Raise a `ValueError` where tensors of these names and shapes are not what the base makes of the config."""
    model = skeleton(base)
    own = {name: tuple(p.shape) for name, p in model.state_dict().items()}
    try:
        expected = adapter_shapes(config, model)
    except ValueError as error:  # target modules that are not there
        raise another_base(config, base, what, str(error).partition(" Please")[0]) from error
    rank = getattr(config, "init_r", None) if getattr(config, "rank_pattern", None) else None
    strange = [n for n in found if n not in expected and own.get(plain_name(n)) != found[n]]
    misshapen = [n for n in found if n in expected and not fits(found[n], expected[n], rank)]
    lacking = [n for n in expected if n not in found]
    faults = []
    if strange:
        faults.append(f"{len(strange)} of its {len(found)} tensors, first {strange[0]}, have no place in it")
    if misshapen:
        first = misshapen[0]
        faults.append(f"{first} is {list(found[first])} and would have to be {list(expected[first])}")
    if lacking:
        faults.append(f"{len(lacking)} of the {len(expected)} tensors it would need are missing, first {lacking[0]}")
    if faults:
        raise another_base(config, base, what, "; ".join(faults))


def skeleton(base: PreTrainedModel | PretrainedConfig) -> PreTrainedModel:
    """A model of the same structure, without weights; where an adapter is on, or layers are quantized, as if not."""
    with torch.device("meta"):
        if isinstance(base, PretrainedConfig):
            return AutoModelForCausalLM.from_config(base)
        return type(base)._from_config(base.config)


def adapter_shapes(config: PeftConfig, model: PreTrainedModel) -> Shapes:
    """Names and shapes of the tensors that an adapter on the model would be saved as; the model is wrapped."""
    config = copy(config)
    if hasattr(config, "init_lora_weights"):
        config.init_lora_weights = True  # others look at the base's weights
    if hasattr(config, "init_r"):
        config.rank_pattern = None  # AdaLoRA's full rank: cutting it needs weights
    with torch.device("meta"):
        tuned = get_peft_model(model, config)
    return {n: tuple(p.shape) for n, p in get_peft_model_state_dict(tuned, save_embedding_layers=False).items()}


def plain_name(name: str) -> str:
    """What a tensor saved with an adapter is called in the base, where it is one of the base's own (embeddings)."""
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")


def fits(found: tuple[int, ...], expected: tuple[int, ...], rank: int | None = None) -> bool:
    """Whether a tensor may be loaded; pruned AdaLoRA adapters have a smaller rank than `rank`, their first one."""
    if len(found) != len(expected):
        return False
    return all(a == b or (b == rank and a < b) for a, b in zip(found, expected, strict=True))


def another_base(config: PeftConfig, base: PreTrainedModel | PretrainedConfig, what: str, reason: str) -> ValueError:
    name = base.name_or_path or type(base).__name__
    trained = config.base_model_name_or_path
    on = f"It was trained on {trained!r}: load that one" if trained else "Load the one it was trained on"
    return ValueError(f"{what} does not fit this base model, {name!r}: {reason}. {on}.")
