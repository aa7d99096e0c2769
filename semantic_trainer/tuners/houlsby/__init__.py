"""Bottleneck adapters of Houlsby et al. (2019) as a PEFT tuner."""

from .config import PEFT_TYPE, HoulsbyConfig
from .layer import HoulsbyLinear
from .model import HoulsbyModel

__all__ = ["HoulsbyConfig", "HoulsbyLinear", "HoulsbyModel", "register"]


def register() -> None:
    """Make PEFT know `peft_type="HOULSBY"`; a second call changes nothing.

    `peft.utils.register_peft_method` takes only names that PEFT's own enumeration holds, so the entries are made in
    the mappings that it would fill.

    Raises:
        ImportError: PEFT has a method of that name already.
    """
    from peft import mapping

    known = mapping.PEFT_TYPE_TO_CONFIG_MAPPING.get(PEFT_TYPE, HoulsbyConfig)
    if (known.__module__, known.__name__) != (HoulsbyConfig.__module__, HoulsbyConfig.__name__):
        raise ImportError(f"PEFT has a method {PEFT_TYPE!s} already, {known.__module__}.{known.__name__}.")
    mapping.PEFT_TYPE_TO_CONFIG_MAPPING[PEFT_TYPE] = HoulsbyConfig
    mapping.PEFT_TYPE_TO_TUNER_MAPPING[PEFT_TYPE] = HoulsbyModel
    mapping.PEFT_TYPE_TO_PREFIX_MAPPING[PEFT_TYPE] = HoulsbyModel.prefix
