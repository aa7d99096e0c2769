"""Tiny random models of many architectures, and token ids for them."""

import copy
from collections.abc import Callable

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from semantic_trainer import HoulsbyConfig

VOCABULARY, WIDTH, LAYERS, HEADS = 61, 16, 2, 4
# What each configuration calls its sizes; those of one line share the names.
SIZES: dict[str, dict[str, int]] = {
    "llama": {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 24,
    },
    "gpt2": {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS},
    "bloom": {"hidden_size": WIDTH, "n_layer": LAYERS, "n_head": HEADS},
    "opt": {"word_embed_proj_dim": WIDTH, "ffn_dim": 24},
}
SIZES["gpt_neox"] = SIZES["phi"] = SIZES["llama"]
SIZES["opt"] |= {name: size for name, size in SIZES["llama"].items() if name != "intermediate_size"}
GROUPED = {**SIZES["llama"], "num_key_value_heads": 2}
SIZES |= {"mistral": GROUPED, "qwen2": GROUPED}
SIZES |= {name: {**GROUPED, "head_dim": 4} for name in ("qwen3", "gemma", "gemma2", "gemma3_text")}

FAST = ("llama", "gpt2", "gpt_neox", "bloom", "opt")
ARCHITECTURES = [*FAST, *(pytest.param(name, marks=pytest.mark.slow, id=f"all-{name}") for name in SIZES)]


def build(architecture: str) -> PreTrainedModel:
    """A tiny random model, not in training mode."""
    torch.manual_seed(0)
    special = {"bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0}
    config = CONFIG_MAPPING[architecture](
        vocab_size=VOCABULARY, max_position_embeddings=64, initializer_range=0.3, **SIZES[architecture], **special
    )
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    """Five architectures in the fast tests, all of them in the slow ones."""
    return request.param


@pytest.fixture(params=[FAST, pytest.param(tuple(SIZES), marks=pytest.mark.slow)], ids=["five", "all"])
def architectures(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The same, all at once."""
    return request.param


@pytest.fixture(scope="session")
def _built() -> dict[str, PreTrainedModel]:
    return {}


@pytest.fixture
def tiny(_built: dict[str, PreTrainedModel]) -> Callable[[str], PreTrainedModel]:
    """A fresh copy of a tiny model by architecture."""

    def make(architecture: str) -> PreTrainedModel:
        if architecture not in _built:
            _built[architecture] = build(architecture)
        return copy.deepcopy(_built[architecture])

    return make


@pytest.fixture
def houlsby() -> Callable[..., PeftModel]:
    """A model with bottlenecks of 5 that start far from the base, so that an error is seen; not in training mode."""

    def wrap(model: PreTrainedModel, adapter_name: str = "default", **options: object) -> PeftModel:
        torch.manual_seed(1)
        settings = {"bottleneck_size": 5, "init_std": 0.5, "task_type": "CAUSAL_LM", **options}
        return get_peft_model(model, HoulsbyConfig(**settings), adapter_name).eval()

    return wrap


@pytest.fixture
def ids() -> torch.Tensor:
    """(2, 7) token ids."""
    return torch.randint(2, VOCABULARY, (2, 7), generator=torch.Generator().manual_seed(3))
