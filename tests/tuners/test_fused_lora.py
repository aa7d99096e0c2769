"""LoRA layers in one function against PEFT's own forward and backward pass."""

import contextlib
import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import nn

from semantic_trainer.tuners.fused_lora import fused_lora


class Block(nn.Module):
    """Three layers that share an input, and one behind them."""

    def __init__(self, width: int, wide: int, bias: bool) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(width, wide, bias), nn.Linear(width, wide, bias)
        self.down = nn.Linear(wide, width, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(torch.tanh(self.q(x)) * self.k(x))


def adapted(dtype: torch.dtype = torch.float32, bias: bool = False, sizes: tuple = (12, 20), **options: object):
    """A block with an adapter whose B is not zero, and an input that is asked for its gradient."""
    torch.manual_seed(0)
    config = LoraConfig(**{"r": 3, "lora_alpha": 7, "target_modules": ["q", "k", "down"], **options})
    model = get_peft_model(Block(*sizes, bias).to(dtype), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_()
    return model, torch.randn(2, 9, sizes[0]).to(dtype)


def results(model: nn.Module, x: torch.Tensor, fused: bool) -> tuple[int, dict[str, torch.Tensor]]:
    """Fused layers; output, gradients of input and factors."""
    model, x = copy.deepcopy(model), x.clone().requires_grad_()
    with fused_lora(model, fused) as layers:
        out = model(x)
        out.float().pow(2).sum().backward()
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return layers, {"out": out.detach(), "x": x.grad, **found}


def error(a: dict, b: dict) -> float:
    assert a.keys() == b.keys()
    return max(float((a[n].double() - b[n].double()).norm() / b[n].double().norm()) for n in a)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 6),
    st.floats(0.1, 20),
    st.booleans(),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.booleans(),
)
def test_equals_peft(rank: int, alpha: float, bias: bool, sizes: tuple, rslora: bool) -> None:
    model, x = adapted(bias=bias, sizes=sizes, r=rank, lora_alpha=alpha, use_rslora=rslora)
    layers, fused = results(model.double(), x.double(), True)
    assert layers == 3
    assert error(fused, results(model, x.double(), False)[1]) < 1e-10


def test_equals_peft_in_float32() -> None:
    model, x = adapted(sizes=(64, 96))
    assert error(results(model, x, True)[1], results(model, x, False)[1]) < 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_is_as_near_to_the_exact_sum_as_peft_in_half_precision(dtype: torch.dtype) -> None:
    model, x = adapted(dtype, sizes=(64, 96))
    exact = results(copy.deepcopy(model).double(), x.double(), False)[1]
    fused, stock = (results(model, x, way)[1] for way in (True, False))
    assert {n: g.dtype for n, g in fused.items()} == {n: g.dtype for n, g in stock.items()}
    assert error(fused, exact) <= 1.05 * error(stock, exact) < 0.05


@pytest.mark.parametrize(
    "options",
    [{"use_dora": True}, {"lora_dropout": 0.1}, {"lora_bias": True}],
    ids=["DoRA", "dropout", "a bias of B"],
)
def test_what_is_more_than_a_sum_goes_pefts_way(options: dict) -> None:
    model, x = adapted(bias=True, **options)
    torch.manual_seed(1)
    fused = results(model, x, True)[1]
    torch.manual_seed(1)
    stock = results(model, x, False)[1]
    assert all(torch.equal(fused[name], stock[name]) for name in stock)


def test_states_of_an_adapter() -> None:
    model, x = adapted()
    model.add_adapter("other", LoraConfig(r=2, target_modules=["q"], init_lora_weights=False))

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        with fused_lora(model):
            fused = model(x)
        return fused, model(x)

    for change in (
        lambda: model.set_adapter("other"),
        lambda: model.base_model.set_adapter(["default", "other"]),
        lambda: model.set_adapter("default"),
        lambda: model.merge_adapter(),
        lambda: model.unmerge_adapter(),
    ):
        change()
        torch.testing.assert_close(*both())
    with model.disable_adapter():
        fused, stock = both()
        assert torch.equal(fused, stock)


def test_a_cast_is_not_taken_for_another_tensors() -> None:
    model, _ = adapted(torch.bfloat16)
    x = torch.randn(5, 12).bfloat16()
    with fused_lora(model):
        first = model(x).detach()
        x.mul_(2)
        assert torch.equal(model(x), results(model, x, False)[1]["out"])
        for _ in range(20):  # new tensors where the old ones were
            y = torch.randn(5, 12).bfloat16()
            torch.testing.assert_close(model(y), results(model, y, False)[1]["out"], rtol=0.02, atol=0.02)
    assert not torch.equal(first, model(x))


def test_layers_are_given_back_and_hooked_or_trained_ones_left() -> None:
    model, x = adapted()
    with contextlib.suppress(KeyError), fused_lora(model) as layers:
        assert layers == 3
        raise KeyError
    assert not any("forward" in vars(module) for module in model.modules())
    with torch.no_grad(), fused_lora(model):
        without = model(x)
    assert torch.equal(without, model(x))
    q = model.base_model.model.q
    q.base_layer.weight.requires_grad_(True)
    with fused_lora(model) as layers:
        assert layers == 2
    q.lora_A["default"].register_forward_hook(lambda *_: None)
    q.base_layer.weight.requires_grad_(False)
    with fused_lora(model) as layers:
        assert layers == 0
    assert results(nn.Linear(2, 2), torch.ones(1, 2), True)[0] == 0
