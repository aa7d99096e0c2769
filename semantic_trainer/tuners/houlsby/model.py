"""Puts bottlenecks into a model."""

from collections.abc import Iterator
from contextlib import contextmanager

from peft.tuners.tuners_utils import BaseTuner
from torch import nn

from ..modules import modules_outside_adapters, shortest_names, sublayer_outputs
from .config import HoulsbyConfig
from .layer import NO_MERGE, HoulsbyLinear, out_features


class HoulsbyModel(BaseTuner):
    """The model with bottlenecks, made by `peft.get_peft_model(model, HoulsbyConfig(...))`.

    Differs from PEFT's tuners in that default targets are found from the model's modules rather than in a list of
    architectures, and in that it refuses to merge.
    """

    prefix = "houlsby_"
    tuner_layer_cls = HoulsbyLinear
    target_module_mapping: dict[str, list[str]] = {}

    def _prepare_adapter_config(self, peft_config: HoulsbyConfig, model_config: dict) -> HoulsbyConfig:
        if peft_config.target_modules is None:
            outputs = sublayer_outputs(self.model)
            peft_config.target_modules = shortest_names(self.model, [*outputs.attention, *outputs.mlp])
        return peft_config

    def _prepare_model(self, peft_config: HoulsbyConfig, model: nn.Module) -> None:
        """Refuse what cannot be adapted before any module is replaced."""
        config = getattr(model, "config", None)
        if getattr(config, "slow_but_exact", False) and getattr(config, "pretraining_tp", 1) > 1:
            raise ValueError(
                "`slow_but_exact` with `pretraining_tp` above 1 makes this model multiply with its weights by itself, "
                "past any adapter. Set `model.config.slow_but_exact=False` when loading it."
            )
        if peft_config.target_modules == "all-linear":  # PEFT's name; it looks the modules up itself, later
            return
        for name, module in modules_outside_adapters(model):
            if name and self._check_target_module_exists(peft_config, name) and out_features(module) is None:
                raise ValueError(
                    f"`target_modules` names {name!r}, a {type(module).__name__}. A bottleneck can only follow a "
                    "linear layer."
                )

    def _create_and_replace(
        self,
        peft_config: HoulsbyConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        if isinstance(target, HoulsbyLinear):
            target.update_layer(adapter_name, peft_config)
            return
        layer = HoulsbyLinear(target, adapter_name, peft_config)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)  # a further adapter is trained only once it is set active
        self._replace_module(parent, target_name, layer, target)

    def _check_merge_allowed(self) -> None:
        raise ValueError(NO_MERGE)

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: object, **kwargs: object) -> Iterator[None]:
        """PEFT would drop `adapter_names` without a word where a method has no hooks for it."""
        if kwargs.get("adapter_names") is not None:
            raise ValueError("`adapter_names` (one adapter a row) is not supported here. Use set_adapter(name).")
        yield
