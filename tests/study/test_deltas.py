"""The change that an adapter makes, against what merging it does to the weights."""

import copy
from pathlib import Path

import pytest
import torch
from peft import LoHaConfig, LoKrConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from semantic_trainer.models import load_model
from semantic_trainer.study.deltas import Delta, adapter_delta, adapter_deltas, weight_delta, weight_deltas
from semantic_trainer.study.places import place_of
from semantic_trainer.study.spectra import delta_rank, spectrum
from semantic_trainer.tuners.methods import method_config

from ..architectures import tiny


def adapted(name: str, method: str, **options: object) -> PeftModel:
    """A tiny model with an adapter away from its start."""
    base = tiny(name, 61)
    model = get_peft_model(base, method_config(base, method, **options))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def product(delta: object) -> torch.Tensor:
    return (delta[2] * delta[0].double() @ delta[1].double()) if isinstance(delta, tuple) else delta.double()


def merged_change(model: PeftModel, found: Delta) -> torch.Tensor:
    """What merging adds to the weight of one layer, (out, in)."""
    merged = copy.deepcopy(model).merge_and_unload()
    names = {n: m for n, m in merged.named_modules() if place_of(n) == (found.layer, found.projection)}
    (module,) = names.values()
    weight = module.weight.T if type(module).__name__ == "Conv1D" else module.weight
    return weight.detach().double() - found.weight.double()


@pytest.mark.parametrize("method", ["lora", "adalora", "dora"])
@pytest.mark.parametrize("architecture", ["Llama", "GPT2", "GPTNeoX"])
def test_it_is_what_merging_adds(architecture: str, method: str) -> None:
    model = adapted(architecture, method, target_modules="attention", r=2)
    deltas = list(adapter_deltas(model))
    assert {d.layer for d in deltas} == set(range(model.config.num_hidden_layers))
    assert all(isinstance(d.delta, tuple) == (method != "dora") for d in deltas)
    for found in (deltas[0], deltas[-1]):
        wanted = merged_change(model, found)
        torch.testing.assert_close(product(found.delta), wanted, atol=1e-5, rtol=1e-5)
        s = spectrum(found.delta, found.weight, 2)
        assert s.delta_norm == pytest.approx(float(wanted.norm()), rel=1e-4)


@pytest.mark.parametrize("config", [LoHaConfig, LoKrConfig])
def test_other_low_rank_methods_give_matrices(config: type) -> None:
    model = get_peft_model(tiny("Llama", 61), config(r=2, target_modules=["q_proj"], init_weights=False))
    found = adapter_delta(model, "q_proj")
    torch.testing.assert_close(product(found.delta), merged_change(model, found), atol=1e-5, rtol=1e-5)


def test_what_adalora_pruned_has_no_directions() -> None:
    model = adapted("Llama", "adalora", r=2)
    found = adapter_delta(model, "q_proj", layer=0)
    assert delta_rank(found.delta, 8) == 3
    layer = model.get_submodule("base_model.model.model.layers.0.self_attn.q_proj")
    with torch.no_grad():
        layer.lora_E["default"][1:] = 0.0
    pruned = adapter_delta(model, "q_proj", layer=0)
    assert delta_rank(pruned.delta, 8) == 1
    with pytest.raises(ValueError, match="ΔW has rank 1"):
        spectrum(pruned.delta, pruned.weight, 2)


def test_embeddings_have_one_too() -> None:
    model = adapted("Llama", "lora", target_modules=["embed_tokens", "q_proj"], r=2)
    found = next(adapter_deltas(model))
    assert (found.layer, found.projection.rpartition(".")[2]) == (None, "embed_tokens")
    merged = copy.deepcopy(model).merge_and_unload().get_input_embeddings().weight
    torch.testing.assert_close(product(found.delta), (merged - found.weight).double(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("load_in", ["4bit", "8bit"])
def test_of_a_quantized_base_w_is_dequantized(
    load_in: str, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path)
    base, _ = load_model(str(tmp_path), torch.float32, load_in=load_in)
    layer = base.model.layers[1].mlp.up_proj
    multiplied = layer(torch.eye(32)).T.detach()  # of an identity: what the layer multiplies with
    found = adapter_delta(get_peft_model(base, method_config(base, "lora", r=2)), "up_proj")
    torch.testing.assert_close(found.weight.float(), multiplied.float(), atol=1e-4, rtol=1e-3)
    assert not torch.equal(found.weight, model.model.layers[1].mlp.up_proj.weight)


def test_after_full_fine_tuning_it_is_the_difference() -> None:
    model = tiny("Llama", 61)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    deltas = list(weight_deltas(before, model.state_dict()))
    assert {d.projection for d in deltas} == {
        *(f"self_attn.{p}_proj" for p in "qkvo"),
        *(f"mlp.{p}_proj" for p in ("gate", "up", "down")),
    }
    found = weight_delta(before, model.state_dict(), "q_proj", 0)
    s = spectrum(found.delta, found.weight, 1)
    assert s.delta_norm == pytest.approx(0.01 * found.weight.numel() ** 0.5, rel=1e-4)
    with pytest.raises(ValueError, match="of two models"):
        next(weight_deltas(before, {}))


def test_the_last_layer_is_meant_unless_one_is_named() -> None:
    model = adapted("Llama", "lora", r=2)
    last = adapter_delta(model, "q_proj")
    assert (last.layer, last.projection) == (model.config.num_hidden_layers - 1, "self_attn.q_proj")
    assert adapter_delta(model, "self_attn.q_proj", 0).layer == 0
    with pytest.raises(ValueError, match="Choose one of self_attn.q_proj"):
        adapter_delta(model, "c_attn")
    with pytest.raises(ValueError, match="`layer` 9 has no trained q_proj; layers that have one, from 0: 0, 1"):
        adapter_delta(model, "q_proj", 9)


def test_an_ending_that_means_several_projections_is_refused() -> None:
    model = adapted("GPT2", "lora", r=2)
    with pytest.raises(ValueError, match="the ending of several: attn.c_proj, mlp.c_proj"):
        adapter_delta(model, "c_proj")
    assert adapter_delta(model, "attn.c_proj").projection == "attn.c_proj"


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_an_adapter_that_began_with_part_of_the_base_is_refused(start: str) -> None:
    model = adapted("Llama", "lora", r=2, init_lora_weights=start)
    with pytest.raises(ValueError, match=rf"began with part of W \({start}\)"):
        adapter_delta(model, "q_proj")


@pytest.mark.parametrize(("method", "why"), [("ia3", "it scales what layers give"), ("houlsby", "bottlenecks stand")])
def test_methods_without_a_change_of_weights_are_refused(method: str, why: str) -> None:
    base = tiny("Llama", 61)
    model = get_peft_model(base, method_config(base, method))
    with pytest.raises(ValueError, match=f"has no ΔW: .*{why}"):
        next(adapter_deltas(model))


def test_models_without_a_single_unmerged_adapter_are_refused() -> None:
    with pytest.raises(ValueError, match="without an adapter"):
        next(adapter_deltas(tiny("Llama", 61)))
    model = adapted("Llama", "lora", r=2)
    with pytest.raises(ValueError, match="'other' is unknown"):
        next(adapter_deltas(model, "other"))
    model.merge_adapter()
    with pytest.raises(ValueError, match="merged"):
        next(adapter_deltas(model))
