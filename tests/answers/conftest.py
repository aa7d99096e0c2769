"""A model that answers variously, one whose answers are written beforehand, and an adapter that changes answers."""

from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from semantic_trainer import PromptFormat

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
    """Teaches the model to answer each key with the ids of its script; `.steps` counts forward passes afterwards."""

    def write(scripts: dict[str, list[int]]) -> LlamaForCausalLM:
        rows = [
            (PromptFormat.question_answer().encode(tokenizer, [f"Question: {k}\nAnswer:"])[0], list(v))
            for k, v in scripts.items()
        ]
        ids = pad_sequence([torch.tensor(prompt + said) for prompt, said in rows], batch_first=True)
        labels = torch.full_like(ids, -100)
        for label, (prompt, said) in zip(labels, rows, strict=True):
            label[len(prompt) : len(prompt) + len(said)] = torch.tensor(said)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(600):
            logits = model(input_ids=ids).logits[:, :-1]
            chosen, wanted = logits.log_softmax(-1), labels[:, 1:]
            loss = torch.nn.functional.nll_loss(chosen[wanted != -100], wanted[wanted != -100])
            if loss < 1e-2:
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert loss < 1e-2
        model.steps = 0
        model.register_forward_hook(lambda *_: setattr(model, "steps", model.steps + 1))
        return model

    return write
