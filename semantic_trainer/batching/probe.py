"""Whether shared-prefix rows are exact for a model: tried once an architecture, on a tiny twin of it."""

import contextlib
import copy
import json
import logging

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig

from .block_attention import blockwise, in_blocks
from .positions import IGNORED, forward_parameters, has_virtual_tokens, keeps_positions
from .shared_prefix import model_inputs, shared_prefix_rows

logger = logging.getLogger(__name__)
MASKED_ATTENTION = ("sdpa", "eager")  # the others take no mask of our own
WINDOWS = ("sliding_window", "window_size", "attention_chunk_size", "attention_window")
TOLERANCE = 1e-5
NOT_IN_KEY = ("_name_or_path", "transformers_version", "architectures", "dtype", "use_cache", "initializer_range")
_TRIALS: dict[tuple[str, str, bool, str], str | None] = {}
_HEADS, _WIDTH, _HEAD_WIDTH, _VOCABULARY = 4, 32, 8, 64
_SMALL = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "word_embed_proj_dim"), _WIDTH),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "d_ff"), 2 * _WIDTH),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_heads"), _HEADS),
    **dict.fromkeys(("head_dim", "rotary_dim"), _HEAD_WIDTH),
    **dict.fromkeys(("num_experts", "num_local_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok",), 2),
    "vocab_size": _VOCABULARY,
}


def unsuited(model: torch.nn.Module, longest: int | None = None) -> str | None:
    """Why shared-prefix rows would not be exact for a model, or `None` where they are.

    Args:
        model: a causal language model, a `PeftModel` of one too.
        longest: tokens of the longest example; an attention window must hold them, since it is lost under our mask.

    Example:
        >>> unsuited(bloom)
        'BloomForCausalLM takes no position_ids'
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    name, config = type(base).__name__, base.config.get_text_config()
    if has_virtual_tokens(model):
        return "the adapter puts virtual tokens before every row"
    if "position_ids" not in forward_parameters(base):
        return f"{name} takes no position_ids"
    attention = getattr(config, "_attn_implementation", None)
    if attention not in MASKED_ATTENTION:
        return f"its attention ({attention}) takes no mask of our own"
    windows = {key: value for key in WINDOWS if isinstance(value := getattr(config, key, None), int) and value > 0}
    short = [f"{key} is {value}" for key, value in windows.items() if longest is not None and value < longest]
    if short:
        return f"its {short[0]}, shorter than the longest fact's {longest} tokens"
    return _tried(config, attention)


def exact_in_blocks(model: torch.nn.Module) -> bool:
    """Whether a model that shared-prefix rows suit may compute attention in them block by block."""
    config = model.config.get_text_config()
    attention = getattr(config, "_attn_implementation", None)
    return attention == "sdpa" and _tried(config, attention, in_blocks=True) is None


def _tried(config: PretrainedConfig, attention: str, in_blocks: bool = False) -> str | None:
    """The outcome of an architecture's trial. Models that differ in size or name only share it."""
    small = shrunk(config)
    told = {key: value for key, value in small.to_dict().items() if key not in NOT_IN_KEY}
    trial = (type(config).__name__, attention, in_blocks, json.dumps(told, sort_keys=True, default=str))
    if trial not in _TRIALS:
        _TRIALS[trial] = _trial(small, attention, in_blocks)
    return _TRIALS[trial]


def _trial(small: PretrainedConfig, attention: str, blocks: bool) -> str | None:
    """Why a trial on a tiny model speaks against shared-prefix rows."""
    name = type(small).__name__
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            error = largest_error(tiny_twin(small, attention), blocks)
    except Exception as failure:  # whatever an architecture refuses, it is refused here
        logger.debug("the trial of %s failed", name, exc_info=True)
        return f"a trial on a tiny {name} failed ({type(failure).__name__}: {str(failure)[:120]})"
    return None if error <= TOLERANCE else f"on a tiny {name} their logits were off by {error:.1g}"


def shrunk(config: PretrainedConfig) -> PretrainedConfig:
    """A copy with a few small layers, at least one of each kind."""
    small = copy.deepcopy(config)
    for key, value in _SMALL.items():
        if isinstance(getattr(small, key, None), int):
            with contextlib.suppress(AttributeError):  # some are computed from others
                setattr(small, key, value)
    groups = getattr(config, "num_key_value_heads", None)
    if groups:
        small.num_key_value_heads = _HEADS if groups == config.num_attention_heads else _HEADS // 2
    kinds = list(dict.fromkeys(getattr(config, "layer_types", None) or ()))
    layers = max(2, len(kinds))
    for key in ("num_hidden_layers", "n_layer", "num_layers"):
        if isinstance(getattr(small, key, None), int):
            setattr(small, key, layers)
    if kinds:
        with contextlib.suppress(AttributeError):
            small.layer_types = (kinds * layers)[:layers]
    rope = getattr(small, "rope_parameters", None)
    if isinstance(rope, dict) and any(isinstance(value, list) for value in rope.values()):
        kept = {key: rope[key] for key in ("rope_theta", "partial_rotary_factor") if key in rope}
        small.rope_parameters = {"rope_type": "default", **kept}
    for key in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(small, key, None)
    return small


def tiny_twin(small: PretrainedConfig, attention: str) -> torch.nn.Module:
    """A float32 model of a shrunk config with random weights, large enough for every token to matter."""
    model = AutoModelForCausalLM.from_config(small, attn_implementation=attention, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.2)
    return model.eval()


@torch.no_grad()
def largest_error(model: torch.nn.Module, blocks: bool = False) -> float:
    """Largest difference between logits in shared rows and alone, relative to the largest logit."""
    draw = torch.Generator().manual_seed(0)

    def tokens(n: int) -> list[int]:
        return torch.randint(3, _VOCABULARY, (n,), generator=draw).tolist()

    head = tokens(5)
    examples = [head + tokens(n) for n in (3, 6, 4, 2)]
    labels = [[IGNORED] * (len(ids) - 1) + ids[-1:] for ids in examples]
    rows = shared_prefix_rows(examples, labels, row_tokens=16)
    keep = rows.shift_labels != IGNORED
    inputs = model_inputs(rows, model)
    with blockwise(model, blocks):
        inputs = in_blocks(inputs, rows.segment_ids)
        if keeps_positions(model):
            together = model(**inputs, logits_to_keep=keep).logits
        else:
            together = model(**inputs).logits[keep]
    order = (rows.segment_ids[keep] - 1).tolist()
    alone = torch.stack([model(input_ids=torch.tensor([examples[i]])).logits[0, -2] for i in order])
    return float((together - alone).abs().max() / alone.abs().max())
