"""One way to name a tuning method: its PEFT config, with target modules found from the model's modules."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import ceil

from peft import AdaLoraConfig, IA3Config, LoraConfig, PeftConfig
from torch import nn
from transformers.pytorch_utils import Conv1D

from ..facts.messages import suggest
from .adalora import SCHEDULE, UNKNOWN_STEPS, check_ranks, check_schedule, default_schedule
from .houlsby import HoulsbyConfig
from .modules import attention_modules, linear_modules, matching_modules, shortest_names, sublayer_outputs

CONFIGS: dict[str, type[PeftConfig]] = {
    "lora": LoraConfig,
    "adalora": AdaLoraConfig,
    "dora": LoraConfig,
    "ia3": IA3Config,
    "houlsby": HoulsbyConfig,
}
METHODS = (*CONFIGS, "full")
LOW_RANK = ("lora", "adalora", "dora")  # the methods that have a rank and a scale
ALL_LINEAR, ATTENTION = "all-linear", "attention"
STARTS_FROM_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")  # values of init_lora_weights
OWN_ARGUMENTS = {"target_r": "r", "lora_alpha": "alpha"}  # fields of a config that have an argument of another name


def method_config(
    model: nn.Module,
    method: str | PeftConfig,
    target_modules: str | Sequence[str] = ALL_LINEAR,
    r: int | None = None,
    alpha: int | None = None,
    **more: object,
) -> PeftConfig | None:
    """PEFT config of a method for this model; nothing is changed in the model.

    Args:
        model: the base, quantized or not.
        method: `lora`, `adalora`, `dora`, `ia3`, `houlsby` or `full`; any `PeftConfig` is given back as it is.
        target_modules: `"all-linear"` (all linear layers but the output head), `"attention"` (those inside attention),
            or names or endings of names. A Houlsby bottleneck stands after a sublayer, not after every layer: for it
            `"all-linear"` means after attention and MLP, `"attention"` after attention alone.
        r: rank of lora, adalora (the mean rank it prunes down to) and dora; default 8.
        alpha: their scale, divided by the rank; default 16.
        more: other fields of the method's config, as in `lora_dropout=0.1` or `bottleneck_size=32`.
            AdaLoRA starts from rank `init_r`, by default half as many again as `r`. Its `total_step`, unless given, is
            a placeholder (`UNKNOWN_STEPS`) to be replaced when the training begins, and with it `tinit`, `tfinal` and
            `deltaT`; see `semantic_trainer.tuners.adalora.default_schedule`.

    Returns:
        The config, or `None` for `full`.

    Raises:
        ValueError: an unknown method or field, a name that matches no module, no linear layer or no block structure to
            find targets in, `r` or `alpha` for a method that has none, `init_r` not above `r`, `total_step` too small,
            `full` for a model that is quantized or in half precision.

    Example:
        >>> config = method_config(model, "lora", "attention", r=4)
        >>> sorted(config.target_modules)
        ['k_proj', 'o_proj', 'q_proj', 'v_proj']
    """
    if isinstance(method, PeftConfig):
        return method
    check_method(method, more, r, alpha)
    if method == "full":
        check_full(model)
        return None
    given = [target_modules] if isinstance(target_modules, str) else list(target_modules)
    names = target_names(model, given, houlsby=method == "houlsby")
    fixed: dict[str, object] = {"task_type": "CAUSAL_LM", "target_modules": set(given)}
    if given == [ALL_LINEAR] and method in LOW_RANK:
        fixed["target_modules"] = ALL_LINEAR  # PEFT's own name for the same modules
    elif given in ([ALL_LINEAR], [ATTENTION]):
        fixed["target_modules"] = shortest_names(model, names)
    if method in LOW_RANK:
        fixed |= {"r": 8 if r is None else r, "lora_alpha": 16 if alpha is None else alpha}
    if method in (*LOW_RANK, "ia3"):
        fixed["fan_in_fan_out"] = all(isinstance(model.get_submodule(name), Conv1D) for name in names)
    if method == "dora":
        fixed["use_dora"] = True
    if method == "adalora":
        rank = fixed.pop("r")
        fixed |= {"target_r": rank, "init_r": ceil(1.5 * rank), "total_step": UNKNOWN_STEPS}
        check_ranks(int(more.get("init_r", fixed["init_r"])), rank)
        if "total_step" in more:
            fixed |= default_schedule(more["total_step"])
            check_schedule(more["total_step"], **{name: more.get(name, fixed[name]) for name in SCHEDULE})
    if method == "ia3":
        fixed |= ia3_modules(model, names, more.pop("feedforward_modules", None))
    return CONFIGS[method](**{**fixed, **more})


def check_method(
    method: str, more: Mapping[str, object] | None = None, r: int | None = None, alpha: int | None = None
) -> None:
    """What can be said of a method and its fields without a model.

    Raises:
        ValueError: an unknown method or field, or one that has no effect.
    """
    if method not in METHODS:
        raise ValueError(f"`method` {method!r} is none of {', '.join(METHODS)}.{suggest(str(method), METHODS)}")
    for name, value in (("r", r), ("alpha", alpha)):
        if value is not None and method not in LOW_RANK:
            instead = " Its width is `bottleneck_size`." if (method, name) == ("houlsby", "r") else ""
            raise ValueError(f"`{name}` has no effect on {method}: only {', '.join(LOW_RANK)} have one.{instead}")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"`{name}` must be an integer of at least 1, but {value!r} was passed")
    known = [f.name for f in fields(CONFIGS[method])] if method in CONFIGS else []
    for name in more or {}:
        if name in OWN_ARGUMENTS and name in known:
            raise ValueError(f"`{name}` is to be given as `{OWN_ARGUMENTS[name]}`.")
        if name not in known:
            raise ValueError(f"`{name}` is no field of {method}'s config.{suggest(name, known)}")


def takes_from_base(start: object) -> bool:
    """Whether an adapter with this `init_lora_weights` begins with a part of the base's weights, which lose it.

    Example:
        >>> takes_from_base("pissa_niter_4"), takes_from_base("gaussian"), takes_from_base(True)
        (True, False, False)
    """
    return isinstance(start, str) and start.lower().startswith(STARTS_FROM_BASE)


def check_full(model: nn.Module) -> None:
    """Raise a `ValueError` where a model's own weights cannot be trained: quantized, or in half precision."""
    if getattr(model, "is_quantized", False):
        raise ValueError("`method` full cannot train quantized weights. Load the model in float32, or use an adapter.")
    half = [name for name, p in model.named_parameters() if p.is_floating_point() and p.itemsize < 4]
    if half:
        raise ValueError(
            f"`method` full would train weights in half precision ({len(half)} tensors, first {half[0]}), where small "
            "updates are lost. Load the model with dtype=torch.float32, or use an adapter."
        )


def target_names(model: nn.Module, given: list[str], houlsby: bool = False) -> list[str]:
    """Names of the modules that are meant.

    Raises:
        ValueError: there are none, or a name matches nothing.
    """
    if given not in ([ALL_LINEAR], [ATTENTION]):
        if not given:
            raise ValueError(f"`target_modules` is empty. Give {ALL_LINEAR}, {ATTENTION}, or names of modules.")
        return matching_modules(model, given, (ALL_LINEAR, ATTENTION))
    attention = given == [ATTENTION]
    if houlsby:
        outputs = sublayer_outputs(model)
        return outputs.attention if attention else [*outputs.attention, *outputs.mlp]
    names = attention_modules(model) if attention else linear_modules(model)
    if not names:
        where = "linear layer inside a module called attention" if attention else "linear layer but the output head"
        raise ValueError(
            f"no default `target_modules` for a {type(model).__name__}: it has no {where}. Give the names of the "
            "modules to adapt."
        )
    return names


def ia3_modules(model: nn.Module, names: Sequence[str], feedforward: Sequence[str] | None = None) -> dict[str, set]:
    """(IA)^3 scales a layer's output, but the input of the layer that ends an MLP: PEFT must be told which those are.

    They are named apart, since PEFT wants `feedforward_modules` to be among `target_modules`, word by word.
    """
    ends = set(sublayer_outputs(model).mlp if feedforward is None else matching_modules(model, list(feedforward)))
    inputs = shortest_names(model, ends.intersection(names))
    return {"target_modules": inputs | shortest_names(model, set(names) - ends), "feedforward_modules": inputs}
