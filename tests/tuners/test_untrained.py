"""An adapter that adds nothing is told from one that does: switched off, it makes no difference."""

from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, get_peft_model

from semantic_trainer.answers.stage import adapters_off
from semantic_trainer.tuners.methods import method_config
from semantic_trainer.tuners.untrained import adds_nothing


@pytest.mark.parametrize("method", ["lora", "dora", "adalora"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_low_rank_adapters_begin_so(method: str, architecture: str, tiny: Callable, ids: torch.Tensor) -> None:
    base, more = tiny(architecture), {"total_step": 100} if method == "adalora" else {}
    model = get_peft_model(base, method_config(base, method, r=4, **more)).eval()
    assert adds_nothing(model)
    with torch.no_grad():
        on = model(ids).logits
        with adapters_off(model):
            torch.testing.assert_close(model(ids).logits, on, rtol=1e-5, atol=1e-6)
    last = [p for n, p in model.named_parameters() if (".lora_E." if method == "adalora" else ".lora_B.") in n][-1]
    with torch.no_grad():
        last[-1] = 1e-3
    assert not adds_nothing(model)


@pytest.mark.parametrize(
    "options",
    [
        {"init_lora_weights": False},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "olora"},
        {"bias": "lora_only"},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["embed_tokens"]},
    ],
)
def test_what_changes_the_base_or_trains_more_does_not(options: dict, tiny: Callable) -> None:
    base = tiny("llama")
    for module in base.modules():
        if isinstance(module, torch.nn.Linear):  # a bias to train
            module.bias = torch.nn.Parameter(torch.zeros(module.out_features))
    model = get_peft_model(
        base, LoraConfig(**{"r": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM", **options})
    )
    assert not adds_nothing(model)


def test_other_methods_and_bare_models_are_not_known_to(tiny: Callable) -> None:
    for method in ("houlsby", "ia3"):
        base = tiny("llama")
        assert not adds_nothing(get_peft_model(base, method_config(base, method)))
    assert not adds_nothing(tiny("llama"))
