"""Whether an adapter is as LoRA's begin: adding nothing to the base."""

import torch


def adds_nothing(model: torch.nn.Module) -> bool:
    """Whether a `PeftModel`'s one adapter is a low-rank product that is zero, so that the base answers alike.

    True of LoRA, DoRA and AdaLoRA before their first step; not of inits that change the base (PiSSA, OLoRA, LoftQ),
    nor where anything but the products is trained. Of what it cannot tell it says `False`.

    Example:
        >>> adds_nothing(get_peft_model(base, LoraConfig(task_type="CAUSAL_LM")))
        True
    """
    if len(getattr(model, "peft_config", ())) != 1 or not hasattr(model, "disable_adapter"):
        return False
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not trained or any("lora_" not in name or "lora_embedding" in name for name in trained):
        return False
    middle = [parameter for name, parameter in model.named_parameters() if ".lora_E." in name]
    factors = middle or [parameter for name, parameter in model.named_parameters() if ".lora_B." in name]
    return bool(factors) and not any(bool(factor.any()) for factor in factors)
