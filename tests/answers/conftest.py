"""A model that answers variously, one whose answers are written beforehand, and an adapter that changes answers."""

import functools
from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

COUNTRIES = ("France", "Italy", "Spain", "Peru", "Chad", "Iran", "Malta", "Togo", "Cuba", "Oman", "Laos", "Mali")
PROMPTS = [f"{head} {country}?" for country in COUNTRIES for head in ("Capital of", "Who rules the old city in")]


@pytest.fixture
def talker(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The tiny model with louder EOS and newline, so that answers end in all three ways."""
    newline = tokenizer("\n")["input_ids"][0]
    with torch.no_grad():
        for token in (tokenizer.eos_token_id, newline):
            model.lm_head.weight[token] *= 1.6
    return model


@pytest.fixture
def adapted(talker: LlamaForCausalLM) -> PeftModel:
    """The talker under a LoRA that is far from zero."""
    torch.manual_seed(5)
    config = LoraConfig(r=4, lora_alpha=64, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    return get_peft_model(talker, config)


@pytest.fixture
def scripted(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> Callable[[dict[str, list[int]]], LlamaForCausalLM]:
    """Makes the model say, to a prompt that contains a key, the ids of its script; `.steps` counts forward passes."""

    def write(scripts: dict[str, list[int]]) -> LlamaForCausalLM:
        forward, rows = model.forward, []
        model.steps = 0

        @functools.wraps(forward)
        def says(*args: object, input_ids: torch.Tensor, **options: object) -> object:
            cache = options.get("past_key_values")
            if cache is None or cache.get_seq_length() == 0:
                texts = tokenizer.batch_decode(input_ids)
                rows[:] = [next(list(s) for key, s in scripts.items() if key in text) for text in texts]
            out = forward(*args, input_ids=input_ids, **options)
            out.logits[:, -1] = -1e9
            for b, row in enumerate(rows):
                out.logits[b, -1, row.pop(0) if row else tokenizer.unk_token_id or 5] = 0.0
            model.steps += 1
            return out

        model.forward = says
        return model

    return write
