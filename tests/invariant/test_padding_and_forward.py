"""Left padding, forwards that take little, and the precision of trained weights."""

import copy
import logging
from collections.abc import Callable

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import BloomConfig, BloomForCausalLM, GPT2Config, GPT2LMHeadModel, Trainer
from transformers.modeling_outputs import CausalLMOutput

from semantic_trainer.training.data_collator import FactCollator
from semantic_trainer.training.trainer import SemanticWeightedTrainer as Weighted


def left_padded(features: list[dict]) -> dict[str, torch.Tensor]:
    def pad(name: str, value: int) -> torch.Tensor:
        flipped = [torch.tensor(feature[name]).flip(0) for feature in features]
        return pad_sequence(flipped, batch_first=True, padding_value=value).flip(1)

    for feature in features:
        feature["attention_mask"] = [1] * len(feature["input_ids"])
    return {
        "input_ids": pad("input_ids", 0),
        "labels": pad("labels", -100),
        "attention_mask": pad("attention_mask", 0),
    }


@pytest.fixture
def gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=256, n_positions=64, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip


def test_left_padding_gives_the_right_padded_gradients_on_gpt2(
    gpt2: GPT2LMHeadModel, rows: Callable, gradients: Callable, relative_error: Callable
) -> None:
    data, options = rows(4), {"gamma": 1.0, "per_device_train_batch_size": 4}
    right = gradients(Weighted, copy.deepcopy(gpt2), data, FactCollator(), **options)
    left = gradients(Weighted, copy.deepcopy(gpt2), data, left_padded, **options)
    assert relative_error(right, left) <= 2e-6


def test_left_padding_gives_the_right_padded_loss_on_gpt2(
    gpt2: GPT2LMHeadModel, rows: Callable, arguments: Callable
) -> None:
    losses = []
    for collator in (FactCollator(), left_padded):
        trainer = Weighted(gpt2, arguments(gamma=1.0), collator, train_dataset=rows(4))
        features = trainer.train_dataset.select_columns(["input_ids", "labels", "weight"]).to_list()
        gpt2.train()
        losses.append(trainer.compute_loss(gpt2, trainer.training_collator()(features), num_items_in_batch=10).item())
    assert losses[1] == pytest.approx(losses[0], rel=2e-6)


def test_left_padding_is_refused_where_there_are_no_position_ids(rows: Callable, arguments: Callable) -> None:
    bloom = BloomForCausalLM(BloomConfig(vocab_size=256, hidden_size=32, n_layer=1, n_head=4))
    trainer = Weighted(bloom, arguments(gamma=1.0, max_steps=1), left_padded, train_dataset=rows(2))
    with pytest.raises(ValueError, match=r"padded at the left.*no position ids.*padding_side = \"right\""):
        trainer.train()


def test_right_padding_works_where_there_are_no_position_ids(rows: Callable, arguments: Callable) -> None:
    bloom = BloomForCausalLM(BloomConfig(vocab_size=256, hidden_size=32, n_layer=1, n_head=4))
    trainer = Weighted(bloom, arguments(gamma=1.0, max_steps=1), train_dataset=rows(2))
    assert trainer.train().training_loss > 0


class Narrow(torch.nn.Module):
    """A model that takes ids, mask and labels, and nothing else."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.config = inner, inner.config

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> CausalLMOutput:
        out = self.inner(input_ids=input_ids, attention_mask=attention_mask, labels=labels)
        return CausalLMOutput(loss=out.loss, logits=out.logits)


def test_a_narrow_forward_gives_the_wide_ones_gradients_under_accumulation(
    model: torch.nn.Module, rows: Callable, gradients: Callable, relative_error: Callable
) -> None:
    data = rows(6, answer=3)  # as many targets in every micro-batch: the mean of means is the mean
    options = {"gamma": 1.0, "gradient_accumulation_steps": 3}
    wide = gradients(Weighted, copy.deepcopy(model), data, **options)
    narrow = gradients(Weighted, Narrow(copy.deepcopy(model)), data, **options)
    narrow = {name.removeprefix("inner."): g for name, g in narrow.items()}
    assert relative_error(wide, narrow) <= 2e-6


def test_a_narrow_forward_with_all_ones_is_the_stock_trainers(
    model: torch.nn.Module, rows: Callable, gradients: Callable, relative_error: Callable
) -> None:
    data, options = rows(5), {"weighting": "none", "gradient_accumulation_steps": 3}
    found = [
        gradients(kind, Narrow(copy.deepcopy(model)), data, FactCollator(), **options) for kind in (Trainer, Weighted)
    ]
    assert relative_error(*found) <= 2e-6


def test_full_fine_tuning_in_float32_lowers_the_loss_without_a_warning(
    model: torch.nn.Module, rows: Callable, arguments: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "semantic_trainer"):
        trainer = Weighted(model, arguments(gamma=1.0, max_steps=20), train_dataset=rows(4))
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0] / 4
    assert "half precision" not in caplog.text


def test_half_precision_trainable_weights_warn(
    model: torch.nn.Module, rows: Callable, arguments: Callable, lora: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "semantic_trainer"):
        Weighted(lora(copy.deepcopy(model).bfloat16()), arguments(gamma=1.0), train_dataset=rows(2))
        assert "half precision" not in caplog.text  # PEFT keeps the adapter in float32
        Weighted(model.bfloat16(), arguments(gamma=1.0), train_dataset=rows(2))
    assert "half precision" in caplog.text
    assert "Load the model in float32" in caplog.text
    assert "model.embed_tokens.weight" in caplog.text
