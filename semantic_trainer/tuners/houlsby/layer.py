"""A linear layer followed by bottlenecks, one an adapter."""

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from .config import HoulsbyConfig, make_activation

NO_MERGE = (
    "a Houlsby adapter cannot be merged: its activation makes it a non-linear function of the layer's output, which "
    "no weight matrix can hold. Serve it unmerged with PEFT; `unload()` gives the base back."
)


def out_features(layer: nn.Module) -> int | None:
    """Width of a linear layer's output, quantized or not; `None` where the layer is not linear."""
    if isinstance(layer, Conv1D):
        return layer.nf
    width = getattr(layer, "out_features", None)
    return width if isinstance(width, int) else None


class HoulsbyLinear(nn.Module, BaseTunerLayer):
    """A linear layer whose output passes through the active bottlenecks.

    Several active adapters each read the layer's own output, and what they add is summed: their order does not matter.

    Args:
        base_layer: `nn.Linear`, `Conv1D`, or a quantized linear layer; stays as it is.
        adapter_name: the first adapter.
        config: its settings.
    """

    adapter_layer_names = ("houlsby_down", "houlsby_up")
    other_param_names = ("houlsby_activation", "houlsby_dropout")

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: HoulsbyConfig) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.out_features = out_features(self.get_base_layer())
        self.houlsby_down, self.houlsby_up = nn.ModuleDict(), nn.ModuleDict()
        self.houlsby_activation, self.houlsby_dropout = nn.ModuleDict(), nn.ModuleDict()
        self._disable_adapters, self.merged_adapters = False, []
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config)

    def update_layer(self, adapter_name: str, config: HoulsbyConfig) -> None:
        """Add an adapter, or start one of that name afresh."""
        down = nn.Linear(self.out_features, config.bottleneck_size)
        up = nn.Linear(config.bottleneck_size, self.out_features)
        for projection in (down, up):
            std = config.init_std
            nn.init.trunc_normal_(projection.weight, std=std, a=-2 * std, b=2 * std)
            nn.init.zeros_(projection.bias)
        if config.identity_start:
            nn.init.zeros_(up.weight)
        self.houlsby_down[adapter_name], self.houlsby_up[adapter_name] = down, up
        self.houlsby_activation[adapter_name] = make_activation(config.activation)
        self.houlsby_dropout[adapter_name] = nn.Dropout(config.dropout)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def added(self, hidden: torch.Tensor, adapter: str) -> torch.Tensor:
        """W_up dropout(act(W_down h + b_down)) + b_up of one adapter, in its dtype: (..., d) -> (..., d)."""
        down, up = self.houlsby_down[adapter], self.houlsby_up[adapter]
        inner = self.houlsby_activation[adapter](down(self._cast_input_dtype(hidden, down.weight.dtype)))  # (..., r)
        return up(self.houlsby_dropout[adapter](inner))

    def forward(self, x: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        """The base layer's output with what the active adapters add, in the dtype of that output."""
        hidden = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters:
            return hidden
        out = hidden
        for adapter in self.active_adapters:
            if adapter in self.houlsby_down:
                out = out + self.added(hidden, adapter)  # a sum in the wider of the two dtypes, rounded once below
        return out.to(hidden.dtype)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Raises a `ValueError`: there is no linear layer that does what this one does."""
        raise ValueError(NO_MERGE)

    def unmerge(self) -> None:
        """Nothing is ever merged."""

    def __repr__(self) -> str:
        return "houlsby." + super().__repr__()
