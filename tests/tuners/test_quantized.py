"""Houlsby adapters, and the named methods, on bitsandbytes' 4-bit and 8-bit layers, which run on a CPU too."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from semantic_trainer import (
    SemanticSFTConfig,
    SemanticTrainingArguments,
    SemanticWeightedSFTTrainer,
    SemanticWeightedTrainer,
)
from semantic_trainer.quantization import without_repacking
from semantic_trainer.tuners.methods import CONFIGS, method_config
from semantic_trainer.tuners.modules import linear_modules

pytest.importorskip("bitsandbytes")
BITS = {
    "4bit": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.float32},
    "8bit": {"load_in_8bit": True},
}


@pytest.fixture(params=BITS)
def quantized(request: pytest.FixtureRequest, tiny: Callable, tmp_path: Path) -> Callable[[], PreTrainedModel]:
    tiny("llama").save_pretrained(tmp_path / "base")
    config = BitsAndBytesConfig(**BITS[request.param])

    def load() -> PreTrainedModel:
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "base", quantization_config=config)
        return without_repacking(loaded).eval()

    return load


def test_houlsby_on_quantized_layers(
    quantized: Callable, houlsby: Callable, ids: torch.Tensor, tmp_path: Path, relative_error: Callable
) -> None:
    base = quantized()
    expected = base(ids).logits
    tuned = houlsby(base)
    assert {p.dtype for p in tuned.parameters() if p.requires_grad} == {torch.float32}
    with tuned.disable_adapter():
        assert torch.equal(tuned(ids).logits, expected)
    found = tuned(ids, labels=ids)
    assert not torch.equal(found.logits, expected)
    found.loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in tuned.parameters() if p.requires_grad)

    tuned.save_pretrained(tmp_path)
    assert torch.equal(PeftModel.from_pretrained(quantized(), tmp_path)(ids).logits, found.logits)
    assert tuned.generate(input_ids=ids, max_new_tokens=3).shape == (2, 10)


@pytest.mark.parametrize("method", CONFIGS)
@pytest.mark.parametrize("targets", ["all-linear", "attention"])
def test_methods_on_quantized_layers(method: str, targets: str, quantized: Callable, ids: torch.Tensor) -> None:
    model = prepare_model_for_kbit_training(quantized(), use_gradient_checkpointing=False)
    assert len(linear_modules(model)) == 14
    tuned = get_peft_model(model, method_config(model, method, targets))
    tuned(ids, labels=ids).loss.backward()
    assert all(p.grad is not None for p in tuned.parameters() if p.requires_grad and p.numel())


@pytest.mark.parametrize("kind", [SemanticWeightedTrainer, SemanticWeightedSFTTrainer])
def test_quantized_weights_without_an_adapter_are_refused(
    kind: type, quantized: Callable, tokenizer: object, tmp_path: Path
) -> None:
    rows = Dataset.from_list([{"prompt": "Where? ", "target": "Rome"}])
    args = {"output_dir": str(tmp_path), "use_cpu": True}
    args = (
        SemanticTrainingArguments(**args) if kind is SemanticWeightedTrainer else SemanticSFTConfig(**args, bf16=False)
    )
    rows = rows if kind is SemanticWeightedTrainer else rows.rename_column("target", "completion")
    with pytest.raises(ValueError, match=r"`model` is quantized in \dbit and has no adapter.*float32"):
        kind(quantized(), args, train_dataset=rows, processing_class=tokenizer)
