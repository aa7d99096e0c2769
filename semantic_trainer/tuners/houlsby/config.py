"""Settings of the bottleneck adapter."""

from dataclasses import dataclass, field

from peft.config import PeftConfig
from torch import nn
from transformers.activations import ACT2FN

from ...facts.messages import suggest


class _TypeName(str):
    """A name with `.value`, as PEFT's enumeration has: transformers' own `model.load_adapter` reads it."""

    value = property(str)


PEFT_TYPE = _TypeName("HOULSBY")


@dataclass
class HoulsbyConfig(PeftConfig):
    """Bottleneck adapters after both sublayers of every block, for `peft.get_peft_model`.

    The output h of a sublayer's last projection, of hidden size d, becomes

        h + W_up dropout(act(W_down h + b_down)) + b_up,    W_down: (r, d), W_up: (d, r)

    before the residual connection (Houlsby et al., 2019, "Parameter-Efficient Transfer Learning for NLP", section 2).
    Each adapted projection costs 2 d r + d + r parameters. It cannot be merged into the projection, as it bends.

    Args:
        target_modules: modules whose output passes through a bottleneck: names or endings of names, a regular
            expression, or `"all-linear"`. Default: the projections that end attention and MLP, found from the model.
        exclude_modules: names, or a regular expression, of modules to leave alone.
        bottleneck_size: r, the width between the two projections.
        activation: name of an activation of transformers, as in `"gelu"`, `"relu"`, `"silu"`.
        dropout: of the bottleneck's activations, in [0, 1), during training.
        init_std: standard deviation of the normal, cut off at two of them, that both projections start from;
            the paper's 0.01 starts near the base. Biases start at 0.
        identity_start: start with W_up = 0, exactly at the base, whatever the model's size.
        modules_to_save: modules that are trained whole, beside the bottlenecks, and saved with them.

    Raises:
        ValueError: a size, probability or deviation out of range, an unknown activation or one with weights.

    Example:
        >>> config = HoulsbyConfig(bottleneck_size=32, task_type="CAUSAL_LM")
        >>> config.peft_type
        'HOULSBY'
    """

    target_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Modules followed by a bottleneck."}
    )
    exclude_modules: list[str] | str | None = field(default=None, metadata={"help": "Modules to leave alone."})
    bottleneck_size: int = field(default=64, metadata={"help": "Width of the bottleneck."})
    activation: str = field(default="gelu", metadata={"help": "Name of an activation of transformers."})
    dropout: float = field(default=0.0, metadata={"help": "Dropout of the bottleneck's activations."})
    init_std: float = field(default=0.01, metadata={"help": "Standard deviation both projections start from."})
    identity_start: bool = field(default=False, metadata={"help": "Start the projection up at 0."})
    modules_to_save: list[str] | None = field(default=None, metadata={"help": "Modules trained whole."})

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PEFT_TYPE
        for name in ("target_modules", "exclude_modules"):
            value = getattr(self, name)
            setattr(self, name, set(value) if isinstance(value, (list, tuple)) else value)
        size = self.bottleneck_size
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"`bottleneck_size` must be an integer of at least 1, but {size!r} was passed")
        if not (_is_number(self.dropout) and 0 <= self.dropout < 1):
            raise ValueError(f"`dropout` must be at least 0 and below 1, but {self.dropout!r} was passed")
        if not (_is_number(self.init_std) and 0 < self.init_std < float("inf")):
            raise ValueError(
                f"`init_std` must be above 0, or nothing would be trained, but {self.init_std!r} was passed. "
                "`identity_start=True` starts exactly at the base."
            )
        make_activation(self.activation)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def make_activation(name: str) -> nn.Module:
    """An activation of transformers by name.

    Raises:
        ValueError: there is none of that name, or it has weights of its own, which would not be saved.
    """
    if name not in ACT2FN:
        raise ValueError(f"`activation` {name!r} is none of transformers'.{suggest(str(name), ACT2FN)}")
    activation = ACT2FN[name]
    if any(True for _ in activation.parameters()):
        raise ValueError(f"`activation` {name!r} has weights of its own. Take one without, as in: gelu")
    return activation
