"""Every matrix product of a training step is recorded, forward and backward, and can be done alone."""

import copy
from types import SimpleNamespace

import torch
from transformers import LlamaForCausalLM


def recorded(bench: SimpleNamespace, model: LlamaForCausalLM, attention: str) -> list:
    model = copy.deepcopy(model).train()
    model.set_attn_implementation(attention)
    ids = torch.arange(24).reshape(2, 12)
    with bench.products.Recorder() as recorder:
        model(input_ids=ids, labels=ids).loss.backward()
    return recorder.products


def test_a_linear_layer_has_one_product_forward_and_two_backward(bench: SimpleNamespace) -> None:
    x = torch.ones(4, 3, requires_grad=True)
    with bench.products.Recorder() as recorder:
        torch.nn.Linear(3, 2)(x).sum().backward()
    shapes = [(a.shape, b.shape) for a, b in recorder.products]
    assert shapes[0] == ((4, 3), (3, 2))
    assert sorted(shapes[1:]) == [((2, 4), (4, 3)), ((4, 2), (2, 3))]
    assert bench.products.flops(recorder.products) == 3 * 2 * 4 * 3 * 2


def test_a_fused_attention_counts_as_the_products_of_an_eager_one(
    bench: SimpleNamespace, model: LlamaForCausalLM
) -> None:
    fused, eager = (recorded(bench, model, attention) for attention in ("sdpa", "eager"))
    assert bench.products.flops(fused) == bench.products.flops(eager)
    assert len(fused) == len(eager)


def test_products_are_done_alone_on_operands_of_the_same_layout(
    bench: SimpleNamespace, model: LlamaForCausalLM
) -> None:
    products = recorded(bench, model, "sdpa")
    with bench.products.Recorder() as again:
        bench.products.alone(products)()()
    assert [(a.shape, b.shape) for a, b in again.products] == [(a.shape, b.shape) for a, b in products]
    for operand in {operand for product in products for operand in product}:
        assert bench.products.Operand.of(operand.random()) == operand
