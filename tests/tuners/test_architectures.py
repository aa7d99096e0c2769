"""Houlsby adapters on every architecture, against hooks that compute the equation token by token."""

import math
from collections.abc import Callable

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import PreTrainedModel

from semantic_trainer import HoulsbyConfig

# The projections whose output meets the residual, written down by hand: path of the blocks, attention's, the MLP's.
PLACES = {
    "gpt2": ("transformer.h", "attn.c_proj", "mlp.c_proj"),
    "gpt_neox": ("gpt_neox.layers", "attention.dense", "mlp.dense_4h_to_h"),
    "bloom": ("transformer.h", "self_attention.dense", "mlp.dense_4h_to_h"),
    "opt": ("model.decoder.layers", "self_attn.out_proj", "fc2"),
    "phi": ("model.layers", "self_attn.dense", "mlp.fc2"),
}
LIKE_LLAMA = ("model.layers", "self_attn.o_proj", "mlp.down_proj")


def places(architecture: str) -> list[str]:
    blocks, *ends = PLACES.get(architecture, LIKE_LLAMA)
    return [f"{blocks}.{i}.{end}" for i in range(2) for end in ends]


def hook_equation(base: PreTrainedModel, tuned: PeftModel, names: list[str]) -> dict[str, torch.Tensor]:
    """Make the base compute h + W_up gelu(W_down h + b_down) + b_up at these places; its weights by PEFT's names."""
    weights = {name: p.detach().clone().requires_grad_() for name, p in tuned.named_parameters() if "houlsby" in name}

    def gelu(x: torch.Tensor) -> torch.Tensor:
        return x * (1 + torch.erf(x / math.sqrt(2))) / 2

    for place in names:
        ends = [f"{side}.default.{kind}" for side in ("down", "up") for kind in ("weight", "bias")]
        w_down, b_down, w_up, b_up = (weights[f"base_model.model.{place}.houlsby_{end}"] for end in ends)

        def replace(module, inputs, output, w_down=w_down, b_down=b_down, w_up=w_up, b_up=b_up):
            rows = [h + w_up @ gelu(w_down @ h + b_down) + b_up for h in output.reshape(-1, output.shape[-1])]
            return torch.stack(rows).reshape(output.shape)

        base.get_submodule(place).register_forward_hook(replace)
    return weights


def test_output_and_gradients_follow_the_equation(
    architecture: str, tiny: Callable, houlsby: Callable, ids: torch.Tensor, relative_error: Callable
) -> None:
    tuned, base = houlsby(tiny(architecture)).double(), tiny(architecture).double()
    assert sorted(tuned.base_model.targeted_module_names) == sorted(places(architecture))
    weights = hook_equation(base, tuned, places(architecture))
    expected, found = base(ids, labels=ids), tuned(ids, labels=ids)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-6, atol=1e-6)
    with torch.no_grad(), tuned.disable_adapter():
        assert (found.logits - tuned(ids).logits).abs().max() > 1e-2  # the adapters are heard

    found.loss.backward()
    gradients = {name: p.grad for name, p in tuned.named_parameters() if p.requires_grad}
    expected_gradients = dict(zip(weights, torch.autograd.grad(expected.loss, weights.values()), strict=True))
    assert relative_error(expected_gradients, gradients) <= 1e-6


@torch.no_grad()
def test_without_adapters_it_is_the_base(
    architecture: str, tiny: Callable, houlsby: Callable, ids: torch.Tensor
) -> None:
    expected = tiny(architecture)(ids).logits
    tuned = houlsby(tiny(architecture))
    with tuned.disable_adapter():
        assert torch.equal(tuned(ids).logits, expected)
    assert not torch.equal(tuned(ids).logits, expected)
    base = tuned.unload()
    assert torch.equal(base(ids).logits, expected)
    assert [name for name, _ in base.named_modules()] == [name for name, _ in tiny(architecture).named_modules()]


@torch.no_grad()
def test_it_starts_near_the_base_or_at_it(
    architecture: str, tiny: Callable, houlsby: Callable, ids: torch.Tensor
) -> None:
    expected = tiny(architecture)(ids).logits
    near = get_peft_model(tiny(architecture), HoulsbyConfig(bottleneck_size=64)).eval()(ids).logits
    assert 0 < (near - expected).norm() / expected.norm() < 0.05
    for name, p in houlsby(tiny(architecture), init_std=0.01).named_parameters():
        if "houlsby" in name:
            assert p.abs().max() <= 0.02
            assert (p == 0).all() == name.endswith("bias")
    assert torch.equal(houlsby(tiny(architecture), identity_start=True)(ids).logits, expected)


@torch.no_grad()
def test_greedy_generation_takes_the_likeliest_token_of_a_full_pass(
    architecture: str, tiny: Callable, houlsby: Callable, ids: torch.Tensor
) -> None:
    tuned = houlsby(tiny(architecture))
    found = tuned.generate(input_ids=ids, max_new_tokens=5, do_sample=False)
    expected = ids
    for _ in range(5):
        expected = torch.cat([expected, tuned(expected).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(found, expected)


def test_only_the_bottlenecks_train_and_both_projections_do(
    architecture: str, tiny: Callable, houlsby: Callable
) -> None:
    tuned = houlsby(tiny(architecture))
    trained = [name for name, p in tuned.named_parameters() if p.requires_grad]
    assert len(trained) == 4 * len(places(architecture))
    assert all("houlsby_" in name for name in trained)
    width, size = 16, 5
    count = sum(p.numel() for p in tuned.parameters() if p.requires_grad)
    assert count == len(places(architecture)) * (2 * width * size + width + size)


@pytest.mark.slow
def test_activation_checkpointing_changes_no_gradient(
    architecture: str, tiny: Callable, houlsby: Callable, ids: torch.Tensor
) -> None:
    def gradients(checkpointing: bool) -> dict[str, torch.Tensor]:
        tuned = houlsby(tiny(architecture)).train()
        for module in tuned.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if checkpointing:
            tuned.gradient_checkpointing_enable({"use_reentrant": False})
        tuned(ids, labels=ids).loss.backward()
        return {name: p.grad for name, p in tuned.named_parameters() if p.requires_grad}

    expected, found = gradients(False), gradients(True)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
