"""Model and method as options name them, and from there the PEFT config of the method."""

import re
from dataclasses import dataclass, field, fields

import yaml
from peft import PeftConfig
from torch import nn

from ..models import DEFAULT_MODEL, choose_dtype
from ..quantization import check_load_in
from .adalora import check_ranks, check_schedule, default_schedule
from .methods import LOW_RANK, check_method, method_config, takes_from_base

# PEFT leaves what these did to the base in it when the adapter is taken off
CHANGES_BASE = ("modules_to_save", "layer_replication", "kasa_config")
OWN_OPTIONS = {"r": "lora_r", "target_r": "lora_r", **{n: n for n in ("lora_alpha", "lora_dropout", "target_modules")}}


@dataclass
class ModelArguments:
    """Which model, and the adapter to train on it."""

    model: str = field(default=DEFAULT_MODEL, metadata={"help": "Hub id, local folder, or the built-in model."})
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit on the Hub."})
    dtype: str = field(
        default="auto", metadata={"help": "Base weights: auto, float32 or bfloat16 (frozen base only)."}
    )
    load_in: str | None = field(
        default=None, metadata={"help": "4bit or 8bit: quantize the base's linear layers with bitsandbytes."}
    )
    method: str = field(
        default="lora", metadata={"help": "lora, adalora, dora, ia3, houlsby or full; see docs/tuning_methods.md."}
    )
    target_modules: list[str] | None = field(
        default=None, metadata={"help": "all-linear, attention, or names of modules. None takes lora_target_modules."}
    )
    method_options: list[str] | None = field(
        default=None, metadata={"help": "Other fields of the method's PEFT config, as in: bottleneck_size=32."}
    )
    lora_r: int = field(default=8, metadata={"help": "Rank of the adapter."})
    lora_alpha: int | None = field(
        default=None, metadata={"help": "Scale of the adapter, divided by its rank. None is twice the rank."}
    )
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout before the adapter."})
    lora_target_modules: list[str] = field(
        default_factory=lambda: ["all-linear"], metadata={"help": "Modules to adapt, or all-linear."}
    )

    def __post_init__(self) -> None:
        for name in ("target_modules", "method_options", "lora_target_modules"):
            if isinstance(getattr(self, name), str):
                setattr(self, name, [getattr(self, name)])
        if self.lora_alpha is None and isinstance(self.lora_r, int):
            self.lora_alpha = 2 * self.lora_r


def read_value(text: str) -> object:
    """A text as YAML reads it, and `1e-3` as the number that it is: YAML 1.1 takes it for a text.

    Example:
        >>> read_value("1e-3"), read_value("[a, b]"), read_value("true")
        (0.001, ['a', 'b'], True)
    """
    value = yaml.safe_load(text)
    return float(value) if isinstance(value, str) and re.fullmatch(r"[+-]?[\d.]+e[+-]?\d+", value) else value


def parse_method_options(options: list[str] | dict[str, object] | None) -> dict[str, object]:
    """`["bottleneck_size=32"]` -> `{"bottleneck_size": 32}`; the values are read as YAML.

    Raises:
        ValueError: an entry is not of the form NAME=VALUE, or is another option of `run`.
    """
    if not isinstance(options, dict):
        wrong = [entry for entry in options or () if "=" not in entry]
        if wrong:
            raise ValueError(f"`method_options` entries look like bottleneck_size=32, but {wrong[0]!r} was passed")
        pairs = [entry.split("=", 1) for entry in options or ()]
        try:
            options = {name: read_value(value) for name, value in pairs}
        except yaml.YAMLError as error:
            raise ValueError(f"`method_options` holds a value that is no YAML: {error}") from error
    for name in options:
        if name in OWN_OPTIONS:
            raise ValueError(f"`method_options` names {name!r}. Give --{OWN_OPTIONS[name]} instead.")
    return options


def check_tuning(args: ModelArguments) -> None:
    """Refuse what can be refused before the model is loaded: unknown methods and fields, options without effect."""
    options = parse_method_options(args.method_options)
    check_method(args.method, options)
    for name in ("lora_r", "lora_alpha"):
        if getattr(args, name) < 1:
            raise ValueError(f"`{name}` must be at least 1, but {getattr(args, name)} was passed")
    if not 0 <= args.lora_dropout < 1:
        raise ValueError(f"`lora_dropout` must be at least 0 and below 1, but {args.lora_dropout} was passed")
    _check_base_is_kept(options)
    check_load_in(args.load_in)
    if args.load_in and args.method == "full":
        raise ValueError(
            f"`load_in={args.load_in}` with `method=full`: quantized weights cannot be trained, only an adapter on "
            "them. Choose another method, as in QLoRA, or leave `load_in` out."
        )
    if args.method == "full" and args.dtype == "bfloat16":
        choose_dtype(args.dtype, base_frozen=False)  # says why not
    if args.method == "adalora" and "total_step" in options:
        raise ValueError("`method_options` names 'total_step', which is the training's number of steps. Leave it out.")
    defaults = ModelArguments()
    changed = [f.name for f in fields(ModelArguments) if getattr(args, f.name) != getattr(defaults, f.name)]
    if "target_modules" in changed and "lora_target_modules" in changed:
        raise ValueError("`target_modules` and `lora_target_modules` say the same. Leave the second one out.")
    idle = [name for name in changed if name.startswith("lora_") and args.method not in LOW_RANK]
    if args.method == "full" and (idle or "target_modules" in changed):
        raise ValueError(f"`{(*idle, 'target_modules')[0]}` has no effect on full, which tunes every weight.")
    if idle:
        instead = "`target_modules`" if idle == ["lora_target_modules"] else "`method_options`, as in: dropout=0.1"
        raise ValueError(f"`{idle[0]}` has no effect on {args.method}. Leave it out, or use {instead}.")


def _check_base_is_kept(options: dict[str, object]) -> None:
    """Refuse what changes the base itself: the next training, and what the base is asked, would be of another one."""
    start, bias = options.get("init_lora_weights", True), options.get("bias", "none")
    if takes_from_base(start):
        raise ValueError(
            f"`method_options` init_lora_weights={start} takes part of the base's weights into the adapter, and the "
            "base is needed as it was. Use true, gaussian or orthogonal."
        )
    if start == "eva":
        raise ValueError(
            "`method_options` init_lora_weights=eva needs a pass over data that no command makes. Use true, gaussian "
            "or orthogonal."
        )
    if bias != "none":
        raise ValueError(
            f"`method_options` bias={bias} trains biases of the base, which is needed as it was. Leave it out."
        )
    for name in CHANGES_BASE:
        if options.get(name):
            raise ValueError(
                f"`method_options` {name} changes the base itself, which is needed as it was. Leave it out, or train "
                "in a script of your own."
            )


def check_pruning(args: ModelArguments, steps: int) -> None:
    """Raise a `ValueError` where AdaLoRA has too few optimizer steps, or nothing to prune."""
    if args.method != "adalora":
        return
    options = parse_method_options(args.method_options)
    check_ranks(options.get("init_r", args.lora_r + 1), args.lora_r)
    planned = default_schedule(steps)
    check_schedule(steps, **{name: options.get(name, value) for name, value in planned.items()})


def adapter_config(model: nn.Module, args: ModelArguments, steps: int | None = None) -> PeftConfig | None:
    """The method's config for this model; see `method_config`.

    Args:
        steps: optimizer steps of the training, for AdaLoRA's schedule.
    """
    modules = args.target_modules if args.target_modules is not None else args.lora_target_modules
    modules = modules[0] if len(modules) == 1 else modules
    low_rank = args.method in LOW_RANK
    more = {"lora_dropout": args.lora_dropout} if low_rank else {}
    more |= parse_method_options(args.method_options)
    if args.method == "adalora" and steps is not None:
        more["total_step"] = steps
    r, alpha = (args.lora_r, args.lora_alpha) if low_rank else (None, None)
    return method_config(model, args.method, modules, r, alpha, **more)
