"""Weights that `Trainer` would not find again in a checkpoint."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from semantic_trainer.training.checkpoints import load_renamed_weights

from ..architectures import tiny


@pytest.mark.parametrize(("name", "renamed"), [("GPTNeoX", True), ("Llama", False)])
def test_weights_saved_under_other_names_are_brought_back(name: str, renamed: bool, tmp_path: Path) -> None:
    model = tiny(name, 40)
    expected = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert (not set(file.keys()) <= expected.keys()) == renamed
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert load_renamed_weights(model, tmp_path) == renamed
    if renamed:
        assert all(torch.equal(tensor, expected[key]) for key, tensor in model.state_dict().items())


def test_a_folder_without_weights_is_left_to_the_trainer(tmp_path: Path) -> None:
    assert not load_renamed_weights(tiny("GPTNeoX", 40), tmp_path)
