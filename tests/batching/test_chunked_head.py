"""Losses by chunks of the output head against losses from all logits."""

import copy

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model

from semantic_trainer.batching.chunked_head import chunked_head, is_plain_head, output_head

from ..architectures import tiny

VOCABULARY = 40


@pytest.mark.parametrize("at_once", [1, 3 * VOCABULARY, 10**6], ids=["one", "three", "all"])
@pytest.mark.parametrize("name", ["Llama", "GPT2", "OPT"])
@pytest.mark.parametrize("adapted", [False, True], ids=["full", "lora_on_the_head"])
def test_losses_and_gradients_are_those_of_all_logits(name: str, at_once: int, adapted: bool) -> None:
    model = tiny(name, VOCABULARY)
    if adapted:
        model.config.tie_word_embeddings = False
        head = "lm_head"
        model = get_peft_model(model, LoraConfig(target_modules=[head], init_lora_weights=False, r=2))
    assert is_plain_head(model)
    ids = torch.randint(3, VOCABULARY, (2, 9))
    keep = torch.rand(2, 9) < 0.6
    keep[:, -1] = False
    targets = ids.roll(-1, 1)[keep]
    inputs = {"input_ids": ids, "logits_to_keep": keep}
    other = copy.deepcopy(model)
    expected = F.cross_entropy(model(**inputs).logits, targets, reduction="none")
    with chunked_head(output_head(other), targets, at_once):
        found = other(**inputs).logits[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    for losses in (expected, found):
        (losses * torch.arange(len(targets))).sum().backward()
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-5)
    assert "forward" not in vars(output_head(other))
    torch.testing.assert_close(other(**inputs).logits, model(**inputs).logits)


def test_a_model_that_changes_its_logits_is_told() -> None:
    model = tiny("Gemma2", VOCABULARY)
    model.config.final_logit_softcapping = 30.0
    assert not is_plain_head(model)
    granite = tiny("Granite", VOCABULARY)
    granite.config.logits_scaling = 8.0
    assert not is_plain_head(granite)
