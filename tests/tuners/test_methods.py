"""One way to name a method, with targets found from the model's modules."""

import warnings
from collections.abc import Callable

import pytest
import torch
from peft import AdaLoraConfig, IA3Config, LoraConfig, PeftModel, get_peft_model

from semantic_trainer.tuners.arguments import ModelArguments
from semantic_trainer.tuners.houlsby import HoulsbyConfig
from semantic_trainer.tuners.methods import CONFIGS, METHODS, method_config
from semantic_trainer.tuners.modules import (
    attention_modules,
    linear_modules,
    matching_modules,
    shortest_names,
    sublayer_outputs,
)

# All linear layers of one block, written down by hand.
ATTENTION = {
    "gpt2": ["attn.c_attn", "attn.c_proj"],
    "gpt_neox": ["attention.query_key_value", "attention.dense"],
    "bloom": ["self_attention.query_key_value", "self_attention.dense"],
    "opt": ["self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj"],
    "phi": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.dense"],
}
MLP = {
    "gpt2": ["mlp.c_fc", "mlp.c_proj"],
    "gpt_neox": ["mlp.dense_h_to_4h", "mlp.dense_4h_to_h"],
    "bloom": ["mlp.dense_h_to_4h", "mlp.dense_4h_to_h"],
    "opt": ["fc1", "fc2"],
    "phi": ["mlp.fc1", "mlp.fc2"],
}
LIKE_LLAMA = [f"self_attn.{name}_proj" for name in "qkvo"], [f"mlp.{name}_proj" for name in ("gate", "up", "down")]


def in_blocks(names: list[str], paths: list[str]) -> bool:
    """Whether these are the names, in both blocks and nowhere else."""
    return sorted(name.split(".", 1)[1] for name in (n[n.index(".0.") + 1 :] for n in names if ".0." in n)) == sorted(
        paths
    ) and len(names) == 2 * len(paths)


def adapted(model: torch.nn.Module, config: object) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # PEFT warns where it has to correct a config
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, config).base_model.targeted_module_names


def test_targets_are_found_from_the_modules(architecture: str, tiny: Callable) -> None:
    attention = ATTENTION.get(architecture, LIKE_LLAMA[0])
    mlp = MLP.get(architecture, LIKE_LLAMA[1])
    expected = {"all-linear": attention + mlp, "attention": attention}
    for method in ("lora", "adalora", "dora", "ia3"):
        for targets, paths in expected.items():
            model = tiny(architecture)
            assert in_blocks(adapted(model, method_config(model, method, targets)), paths), (method, targets)
    model = tiny(architecture)
    assert in_blocks(adapted(model, method_config(model, "houlsby")), [attention[-1], mlp[-1]])
    model = tiny(architecture)
    assert in_blocks(adapted(model, method_config(model, "houlsby", "attention")), attention[-1:])


def test_no_name_of_a_path_decides(tiny: Callable) -> None:
    model = tiny("gpt2")
    model.config._name_or_path = model.name_or_path = "org/llama-7b"
    model.config.model_type = "llama"
    config = method_config(model, "houlsby")
    assert config.target_modules == {"c_proj"}
    assert get_peft_model(model, HoulsbyConfig()).peft_config["default"].target_modules == {"c_proj"}


def test_ia3_scales_the_input_of_what_ends_the_mlp(architecture: str, tiny: Callable, ids: torch.Tensor) -> None:
    model = tiny(architecture)
    ends = sublayer_outputs(model).mlp
    tuned = get_peft_model(model, method_config(model, "ia3"))
    flags = {
        name: m.is_feedforward for name, m in tuned.base_model.model.named_modules() if hasattr(m, "is_feedforward")
    }
    assert sorted(name for name, flag in flags.items() if flag) == sorted(ends)
    assert len(flags) == len(linear_modules(tiny(architecture)))
    tuned(ids, labels=ids).loss.backward()
    assert all(p.grad is not None for p in tuned.parameters() if p.requires_grad)


def test_weights_that_full_cannot_train_are_refused(tiny: Callable) -> None:
    assert method_config(tiny("llama"), "full") is None
    with pytest.raises(ValueError, match="half precision .* first model.embed_tokens.weight.*dtype=torch.float32"):
        method_config(tiny("llama").bfloat16(), "full")
    quantized = tiny("llama")
    quantized.is_quantized = True
    with pytest.raises(ValueError, match="full cannot train quantized weights.*or use an adapter"):
        method_config(quantized, "full")


@pytest.mark.parametrize("targets", ["all-linear", "attention", ["c_proj", "c_attn"], ["attn.c_proj"], ["mlp.c_proj"]])
@pytest.mark.parametrize("method", [name for name in CONFIGS if name != "adalora"])
def test_a_config_survives_its_file(
    method: str, targets: str | list[str], tiny: Callable, ids: torch.Tensor, tmp_path: object
) -> None:
    """gpt2 calls two layers c_proj, one of which ends the MLP: (IA)^3's lists must agree when they are read again."""
    model = tiny("gpt2")
    tuned = get_peft_model(model, method_config(model, method, targets)).eval()
    for name, p in tuned.named_parameters():
        if p.requires_grad:
            torch.nn.init.normal_(p, 1.0 if "ia3" in name else 0.0, 0.3)
    tuned.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(tiny("gpt2"), tmp_path).eval()
    assert loaded.base_model.targeted_module_names == tuned.base_model.targeted_module_names
    assert torch.equal(loaded(ids).logits, tuned(ids).logits)
    with tuned.disable_adapter():
        assert not torch.equal(loaded(ids).logits, tuned(ids).logits)


def test_values_reach_the_config(tiny: Callable) -> None:
    model = tiny("llama")
    lora = method_config(model, "lora", r=4, alpha=7, lora_dropout=0.25)
    assert (type(lora), lora.r, lora.lora_alpha, lora.lora_dropout, lora.use_dora) == (LoraConfig, 4, 7, 0.25, False)
    assert (lora.target_modules, lora.task_type) == ("all-linear", "CAUSAL_LM")
    assert (method_config(model, "lora").r, method_config(model, "lora").lora_alpha) == (8, 16)
    assert method_config(model, "dora", r=2).use_dora
    adalora = method_config(model, "adalora", r=6)
    assert (type(adalora), adalora.target_r, adalora.init_r) == (AdaLoraConfig, 6, 9)
    assert method_config(model, "adalora", r=1).init_r == 2
    adalora = method_config(model, "adalora", r=6, init_r=20, tinit=10, tfinal=20, total_step=100)
    assert (adalora.init_r, adalora.tinit, adalora.tfinal, adalora.total_step) == (20, 10, 20, 100)
    ia3 = method_config(model, "ia3", ["k_proj", "v_proj", "down_proj"])
    assert isinstance(ia3, IA3Config)
    assert (ia3.target_modules, ia3.feedforward_modules) == ({"k_proj", "v_proj", "down_proj"}, {"down_proj"})
    ia3 = method_config(model, "ia3", ["up_proj", "v_proj"], feedforward_modules=["up_proj"])
    assert ia3.feedforward_modules == {"up_proj"}
    houlsby = method_config(model, "houlsby", "attention", bottleneck_size=3, activation="relu")
    assert (houlsby.bottleneck_size, houlsby.activation, houlsby.target_modules) == (3, "relu", {"o_proj"})
    assert method_config(model, "lora", "q_proj").target_modules == {"q_proj"}
    assert method_config(model, "full") is None
    assert method_config(model, lora) is lora


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (
            "lora",
            {"target_modules": ["q_prj"]},
            "'q_prj', which no module of this model is called. Did you mean 'q_proj'",
        ),
        ("lora", {"target_modules": "atention"}, "Did you mean 'attention'"),
        ("lora", {"target_modules": ["q_proj", "all-linear"]}, "'all-linear', which no module"),
        ("lora", {"target_modules": []}, "`target_modules` is empty"),
        ("lora", {"target_modules": ["self_attn"]}, "holds other modules: q_proj"),
        ("houlsby", {"target_modules": ["o_proy"]}, "Did you mean 'o_proj'"),
        ("lroa", {}, "`method` 'lroa' is none of lora, adalora, dora, ia3, houlsby, full. Did you mean 'lora'"),
        ("LORA", {}, "`method` 'LORA' is none of"),
        ("lora", {"lora_droput": 0.1}, "`lora_droput` is no field of lora's config. Did you mean 'lora_dropout'"),
        ("lora", {"bottleneck_size": 3}, "`bottleneck_size` is no field of lora's config"),
        ("lora", {"lora_alpha": 3}, "is to be given as `alpha`"),
        ("full", {"bottleneck_size": 3}, "`bottleneck_size` is no field of full's config"),
        ("houlsby", {"r": 8}, "`r` has no effect on houlsby.* Its width is `bottleneck_size`"),
        ("ia3", {"alpha": 8}, "`alpha` has no effect on ia3"),
        ("lora", {"r": 0}, "`r` must be an integer of at least 1, but 0"),
        ("adalora", {"r": 8, "init_r": 8}, "`init_r` must be above `r`.*init_r=12"),
        ("adalora", {"target_r": 8}, "is to be given as `r`"),
        ("houlsby", {"bottleneck_size": 0}, "`bottleneck_size`"),
    ],
)
def test_wrong_input(method: str, options: dict, message: str, tiny: Callable) -> None:
    with pytest.raises(ValueError, match=message):
        method_config(tiny("llama"), method, **options)


class Stack(torch.nn.Module):
    """A model of blocks that nobody has seen before."""

    def __init__(self, **block: torch.nn.Module) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.ModuleDict(block)])


@pytest.mark.parametrize(
    ("model", "method", "targets", "message"),
    [
        (
            Stack(mixer=torch.nn.Linear(2, 2)),
            "houlsby",
            "all-linear",
            "Stack model: of layers.0 .mixer., 0 layers are",
        ),
        (Stack(norm=torch.nn.LayerNorm(2)), "houlsby", "all-linear", "no numbered blocks"),
        (Stack(mixer=torch.nn.Linear(2, 2)), "ia3", "all-linear", "no default `target_modules` for a Stack model"),
        (Stack(mixer=torch.nn.Linear(2, 2)), "lora", "attention", "no linear layer inside a module called attention"),
        (Stack(norm=torch.nn.LayerNorm(2)), "lora", "all-linear", "has no linear layer but the output head"),
    ],
)
def test_unknown_architectures_are_told_what_to_pass(
    model: torch.nn.Module, method: str, targets: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        method_config(model, method, targets)
    if method == "houlsby":
        with pytest.raises(ValueError, match=message):
            get_peft_model(model, HoulsbyConfig())
        if "of layers" in message:
            assert "target_modules=['self_attn.o_proj', 'mlp.down_proj']" in str(error.value)


def test_an_unknown_architecture_takes_given_names() -> None:
    model = Stack(mixer=torch.nn.Linear(2, 2), out=torch.nn.Linear(2, 2))
    assert method_config(model, "houlsby", ["mixer"]).target_modules == {"mixer"}
    assert method_config(model, "ia3", ["mixer", "out"], feedforward_modules=["out"]).feedforward_modules == {"out"}
    assert adapted(model, HoulsbyConfig(target_modules=["mixer"])) == ["layers.0.mixer"]


def test_finding_sees_through_adapters(tiny: Callable, houlsby: Callable) -> None:
    model = tiny("llama")
    expected = linear_modules(model), attention_modules(model), sublayer_outputs(model)
    inside = houlsby(model).base_model.model
    assert (linear_modules(inside), attention_modules(inside), sublayer_outputs(inside)) == expected


def test_shortest_names_match_these_modules_alone(architecture: str, tiny: Callable) -> None:
    model = tiny(architecture)
    generator = torch.Generator().manual_seed(0)
    names = [
        name
        for name, _ in model.named_modules()
        if name and not any(True for _ in model.get_submodule(name).children())
    ]
    for _ in range(20):
        some = [name for name in names if torch.rand((), generator=generator) < 0.4]
        assert matching_modules(model, sorted(shortest_names(model, some))) == some


def test_the_help_names_the_methods_of_run() -> None:
    described = ModelArguments.__dataclass_fields__["method"].metadata["help"]
    assert all(name in described for name in METHODS)
