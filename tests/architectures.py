"""Tiny models of several architectures with random weights, large enough for every token to matter."""

import torch
import transformers
from transformers import AutoModelForCausalLM

from semantic_trainer.batching.probe import shrunk

EXACT = ("Llama", "Mistral", "Qwen2", "GPT2", "GPTNeoX", "OPT")
LATER = ("Bloom", "Mamba")  # no positions of our own: alibi, and a state


def tiny(name: str, vocab_size: int, attention: str | None = None) -> torch.nn.Module:
    """A model of the architecture, in evaluation mode, its dropout at 0."""
    config = shrunk(getattr(transformers, f"{name}Config")())
    config.vocab_size = vocab_size
    for key in vars(config):
        if "drop" in key and isinstance(getattr(config, key), float):
            setattr(config, key, 0.0)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.15)
    return model.eval()
