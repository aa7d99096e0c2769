"""What a Houlsby adapter promises whatever the architecture."""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from semantic_trainer import HoulsbyConfig
from semantic_trainer.tuners.houlsby import HoulsbyLinear

SLOW_ACTIVATIONS = {
    "relu": lambda x: max(x, 0.0),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "silu": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
}


def slow_layer(hidden: list[float], layer: HoulsbyLinear, adapters: dict[str, str]) -> list[float]:
    """One token, element by element: h plus what each adapter (name -> activation) adds."""
    out = list(hidden)
    for name, activation in adapters.items():
        down, up = layer.houlsby_down[name], layer.houlsby_up[name]
        inner = [
            SLOW_ACTIVATIONS[activation](sum(w * h for w, h in zip(row, hidden, strict=True)) + b)
            for row, b in zip(down.weight.tolist(), down.bias.tolist(), strict=True)
        ]
        for i, (row, b) in enumerate(zip(up.weight.tolist(), up.bias.tolist(), strict=True)):
            out[i] += sum(w * z for w, z in zip(row, inner, strict=True)) + b
    return out


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    width=st.integers(1, 6),
    tokens=st.integers(1, 4),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    activations=st.lists(st.sampled_from(sorted(SLOW_ACTIVATIONS)), min_size=3, max_size=3),
    conv=st.booleans(),
)
def test_layer_equals_the_loop(
    seed: int, width: int, tokens: int, sizes: list[int], activations: list[str], conv: bool
) -> None:
    torch.manual_seed(seed)
    base = Conv1D(width, 3) if conv else torch.nn.Linear(3, width)
    names = dict(zip("abc", activations, strict=True))
    configs = {
        name: HoulsbyConfig(bottleneck_size=size, activation=names[name], init_std=1.0)
        for name, size in zip("abc", sizes, strict=False)
    }
    layer = HoulsbyLinear(base, "a", configs["a"])
    for name in [*configs][1:]:
        layer.update_layer(name, configs[name])
    for p in layer.parameters():
        torch.nn.init.normal_(p)
    layer.double().set_adapter(list(configs))
    x = torch.randn(2, tokens, 3, dtype=torch.double)
    rows = base(x).reshape(-1, width).tolist()
    expected = [slow_layer(row, layer, {name: names[name] for name in configs}) for row in rows]
    torch.testing.assert_close(layer(x).reshape(-1, width), torch.tensor(expected, dtype=torch.double))


def test_dropout_is_of_the_bottleneck_and_only_in_training() -> None:
    torch.manual_seed(0)
    layer = HoulsbyLinear(torch.nn.Linear(3, 4), "a", HoulsbyConfig(bottleneck_size=6, dropout=0.5, init_std=1.0))
    x = torch.randn(5, 3)
    hidden = layer.base_layer(x)
    inner = torch.nn.functional.gelu(layer.houlsby_down["a"](hidden))
    torch.manual_seed(7)
    found = layer.train()(x)
    torch.manual_seed(7)
    dropped = torch.nn.functional.dropout(inner, 0.5)
    torch.testing.assert_close(found, hidden + layer.houlsby_up["a"](dropped))
    torch.testing.assert_close(layer.eval()(x), hidden + layer.houlsby_up["a"](inner))


@torch.no_grad()
def test_a_second_adapter_may_name_its_modules_by_a_regular_expression(tiny: Callable, ids: torch.Tensor) -> None:
    config = HoulsbyConfig(target_modules=r".*\.(o_proj|down_proj).*", bottleneck_size=3, task_type="CAUSAL_LM")
    tuned = get_peft_model(tiny("llama"), config)
    first = tuned(ids).logits
    tuned.add_adapter("second", copy.deepcopy(config))
    assert torch.equal(tuned(ids).logits, first)
    assert sum(".second." in name for name, _ in tuned.named_parameters()) > 0


@torch.no_grad()
def test_several_adapters(tiny: Callable, houlsby: Callable, ids: torch.Tensor) -> None:
    tuned = houlsby(tiny("llama"))
    first = tuned(ids).logits
    second_config = HoulsbyConfig(bottleneck_size=3, activation="relu", init_std=0.5, task_type="CAUSAL_LM")
    tuned.add_adapter("second", second_config)
    assert second_config.target_modules == {"o_proj", "down_proj"}  # found past the adapters that are there
    assert torch.equal(tuned(ids).logits, first)  # a new adapter is not active
    assert not any(p.requires_grad for name, p in tuned.named_parameters() if ".second." in name)
    tuned.set_adapter("second")
    second = tuned(ids).logits
    assert not torch.equal(second, first)
    assert all((".second." in name) == p.requires_grad for name, p in tuned.named_parameters())
    with tuned.disable_adapter():
        assert torch.equal(tuned(ids).logits, tiny("llama")(ids).logits)
    assert torch.equal(tuned(ids).logits, second)
    tuned.base_model.set_adapter(["default", "second"])
    both = tuned(ids).logits
    tuned.base_model.set_adapter(["second", "default"])
    torch.testing.assert_close(tuned(ids).logits, both)  # the order does not matter
    tuned.set_adapter("default")
    tuned.delete_adapter("second")
    assert torch.equal(tuned(ids).logits, first)
    assert not [name for name, _ in tuned.named_parameters() if "second" in name]


@torch.no_grad()
def test_adapters_on_other_modules_each(tiny: Callable, houlsby: Callable, ids: torch.Tensor, tmp_path: Path) -> None:
    tuned = houlsby(tiny("llama"), target_modules=["o_proj"])
    first = tuned(ids).logits
    tuned.add_adapter("mlp", HoulsbyConfig(target_modules=["down_proj"], init_std=0.5))  # called as a module is
    assert torch.equal(tuned(ids).logits, first)
    tuned.set_adapter("mlp")
    tuned.save_pretrained(tmp_path, selected_adapters=["mlp"])
    alone = PeftModel.from_pretrained(tiny("llama"), tmp_path / "mlp")
    assert torch.equal(tuned(ids).logits, alone(ids).logits)
    assert not torch.equal(tuned(ids).logits, first)


@torch.no_grad()
def test_saved_and_loaded_in_every_way(tiny: Callable, houlsby: Callable, ids: torch.Tensor, tmp_path: Path) -> None:
    tiny("llama").save_pretrained(tmp_path / "base")
    tuned = houlsby(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), "facts", activation="silu")
    expected = tuned(ids).logits
    tuned.save_pretrained(tmp_path)
    folder = tmp_path / "facts"  # PEFT's place for an adapter that is not called default
    tensors = load_file(folder / "adapter_model.safetensors")
    ends = {f"houlsby_{side}.{kind}" for side in ("down", "up") for kind in ("weight", "bias")}
    assert {".".join(name.split(".")[-2:]) for name in tensors} == ends
    assert PeftConfig.from_pretrained(folder).bottleneck_size == 5
    base = AutoModelForCausalLM.from_pretrained
    for loaded in (
        PeftModel.from_pretrained(tiny("llama"), folder),
        PeftModel.from_pretrained(tiny("llama"), folder, adapter_name="another", is_trainable=True),
        PeftModel.from_pretrained(tiny("llama"), folder, low_cpu_mem_usage=True),
        AutoPeftModelForCausalLM.from_pretrained(folder),
        base(folder),  # transformers' own way
    ):
        assert torch.equal(loaded.eval()(ids).logits, expected)
    second = houlsby(tiny("llama"), identity_start=True)
    second.load_adapter(folder, "facts")
    second.set_adapter("facts")
    assert torch.equal(second.eval()(ids).logits, expected)


@torch.no_grad()
def test_float32_adapters_on_a_bfloat16_base(tiny: Callable, houlsby: Callable, ids: torch.Tensor) -> None:
    tuned = houlsby(tiny("llama").bfloat16())
    kinds = {"houlsby" in name: p.dtype for name, p in tuned.named_parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    layer = tuned.get_submodule("base_model.model.model.layers.0.mlp.down_proj")
    x = torch.randn(2, 3, 24, dtype=torch.bfloat16)
    hidden = layer.base_layer(x)
    added = layer.added(hidden, "default")
    assert (hidden.dtype, added.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(layer(x), (hidden.float() + added).bfloat16())  # rounded once
    with tuned.disable_adapter():
        assert torch.equal(tuned(ids).logits, tiny("llama").bfloat16()(ids).logits)
    narrow = get_peft_model(tiny("llama").bfloat16(), HoulsbyConfig(), autocast_adapter_dtype=False)
    assert {p.dtype for p in narrow.parameters()} == {torch.bfloat16}
    assert narrow(ids).logits.dtype == torch.bfloat16


def test_merging_is_refused(tiny: Callable, houlsby: Callable, ids: torch.Tensor) -> None:
    tuned = houlsby(tiny("llama"))
    expected = tuned(ids).logits
    for merge in (
        tuned.merge_and_unload,
        tuned.merge_adapter,
        next(m for m in tuned.modules() if m.__class__ is HoulsbyLinear).merge,
    ):
        with pytest.raises(ValueError, match="cannot be merged: its activation"):
            merge()
    assert torch.equal(tuned(ids).logits, expected)


def test_beside_modules_trained_whole(tiny: Callable, houlsby: Callable, ids: torch.Tensor, tmp_path: Path) -> None:
    tuned = houlsby(tiny("llama"), modules_to_save=["lm_head"])
    with torch.no_grad():
        tuned.get_submodule("base_model.model.lm_head.modules_to_save.default").weight.add_(1.0)
    assert {n.split(".")[2] for n, p in tuned.named_parameters() if p.requires_grad} == {"model", "lm_head"}
    tuned.save_pretrained(tmp_path)
    assert torch.equal(PeftModel.from_pretrained(tiny("llama"), tmp_path)(ids).logits, tuned(ids).logits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bottleneck_size": 0}, "`bottleneck_size` must be an integer of at least 1, but 0"),
        ({"bottleneck_size": 2.5}, "`bottleneck_size`"),
        ({"bottleneck_size": True}, "`bottleneck_size`"),
        ({"dropout": 1.0}, "`dropout` must be at least 0 and below 1, but 1.0"),
        ({"dropout": "much"}, "`dropout`"),
        ({"init_std": 0.0}, "`identity_start=True` starts exactly at the base"),
        ({"init_std": float("nan")}, "`init_std`"),
        ({"activation": "gleu"}, "`activation` 'gleu' is none of transformers'. Did you mean 'gelu'"),
        ({"activation": "prelu"}, "'prelu' has weights of its own"),
    ],
)
def test_wrong_settings(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        HoulsbyConfig(**options)


def test_wrong_targets_leave_the_model_as_it_was(tiny: Callable, ids: torch.Tensor) -> None:
    model = tiny("llama")
    for targets in (["down_proj", "norm"], ["embed_tokens"], ["self_attn"]):
        with pytest.raises(ValueError, match="can only follow a linear layer"):
            get_peft_model(model, HoulsbyConfig(target_modules=targets))
    assert not [m for m in model.modules() if isinstance(m, HoulsbyLinear)]


def test_what_would_go_past_the_adapter_is_refused(tiny: Callable, houlsby: Callable, ids: torch.Tensor) -> None:
    model = tiny("bloom")
    model.config.slow_but_exact, model.config.pretraining_tp = True, 2
    with pytest.raises(ValueError, match="slow_but_exact"):
        get_peft_model(model, HoulsbyConfig())
    with pytest.raises(ValueError, match="`adapter_names`"):
        houlsby(tiny("llama"))(ids, adapter_names=["default", "__base__"])


def test_lora_on_the_same_model_is_untouched_by_the_registration(tiny: Callable, ids: torch.Tensor) -> None:
    tuned = get_peft_model(tiny("llama"), LoraConfig(r=2, init_lora_weights=False, target_modules="all-linear")).eval()
    before = copy.deepcopy(tuned)
    expected = tuned(ids).logits
    torch.testing.assert_close(before.merge_and_unload()(ids).logits, expected, rtol=1e-4, atol=1e-4)
