"""Principal components against numpy, and features against what the model itself gives."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from semantic_trainer import PromptFormat
from semantic_trainer.evaluation.forward import last_prompt_features
from semantic_trainer.study.features import joint_pca, participation_ratio, spread

from ..architectures import tiny
from .test_deltas import adapted

RNG = np.random.default_rng(0)
GROUPS = {"short": RNG.standard_normal((20, 30)), "long": 3 + 2 * RNG.standard_normal((25, 30))}


@pytest.mark.parametrize("k", [1, 15, 30])
def test_it_is_the_singular_value_decomposition(k: int) -> None:
    found = joint_pca(GROUPS, k)
    stacked = np.concatenate(list(GROUPS.values()))
    centred = stacked - stacked.mean(0)
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(found.explained, (s**2 / (s**2).sum())[:k], rtol=1e-10)
    np.testing.assert_allclose(np.abs((found.components * vt[:k]).sum(1)), 1, rtol=1e-10)  # equal but for their signs
    for name, rows in GROUPS.items():
        np.testing.assert_allclose(found.scores[name], (rows - stacked.mean(0)) @ found.components.T, atol=1e-10)
    if k == 30:  # nothing is lost: distances stay as they were
        assert found.explained.sum() == pytest.approx(1)
        assert found.spread["long"] == pytest.approx(np.sqrt(GROUPS["long"].var(0).sum()))
        values = np.linalg.eigvalsh(np.cov(GROUPS["long"].T))
        assert found.dimensions["long"] == pytest.approx(values.sum() ** 2 / (values**2).sum())


def test_spread_and_dimensions_know_size_and_shape() -> None:
    line, ball = np.outer(RNG.standard_normal(500), np.ones(3)), RNG.standard_normal((500, 3))
    assert participation_ratio(line) == pytest.approx(1)
    assert participation_ratio(ball) == pytest.approx(3, rel=0.05)
    assert spread(2 * ball) == pytest.approx(2 * spread(ball))
    assert (spread(ball[:1]), participation_ratio(ball[:1])) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("groups", "k", "message"),
    [
        ({}, 2, "is empty"),
        ({"a": np.ones((3, 2)), "b": np.ones((3, 4))}, 2, r"of one width .* b \(3, 4\)"),
        ({"a": np.ones((0, 2))}, 2, "n > 0"),
        ({"a": np.full((3, 2), np.nan)}, 2, "'a' holds numbers that are not finite"),
        ({"a": np.ones((3, 4))}, 2, "all features are the same"),
        ({"a": np.eye(3)}, 4, r"from 1 to 3, the lesser of facts \(3\)"),
        ({"a": np.eye(3)}, 0, "from 1 to 3"),
    ],
)
def test_what_has_no_components_is_refused(groups: dict, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        joint_pca(groups, k)


@pytest.mark.parametrize("name", ["Llama", "GPT2", "GPTNeoX", "OPT", "Bloom", "Mamba"])
def test_features_are_the_last_hidden_states_of_each_prompt(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    model, form = tiny(name, len(tokenizer)), PromptFormat.question_answer()
    prompts = ["Who wrote Emma?", "What is the capital of France?", "Who?"]
    found = last_prompt_features(model, tokenizer, prompts, form, batch_size=2)
    for row, ids in zip(found, form.prompt_ids(tokenizer, prompts), strict=True):
        with torch.no_grad():
            wanted = model(torch.tensor([ids]), output_hidden_states=True)
            logits = model.get_output_embeddings()(torch.from_numpy(row))
        torch.testing.assert_close(logits, wanted.logits[0, -1], atol=2e-4, rtol=1e-4)
        np.testing.assert_allclose(row, wanted.hidden_states[-1][0, -1], atol=1e-4, rtol=1e-4)
    assert found.dtype == np.float32


def test_features_are_the_adapters(tokenizer: PreTrainedTokenizerFast, facts: Dataset) -> None:
    model = adapted("Llama", "lora", r=2)
    model.get_base_model().resize_token_embeddings(len(tokenizer))
    args = tokenizer, facts["prompt"][:], PromptFormat.question_answer()
    tuned = last_prompt_features(model, *args)
    with model.disable_adapter():
        base = last_prompt_features(model, *args)
    assert np.abs(tuned - base).max() > 1e-3
    np.testing.assert_array_equal(tuned, last_prompt_features(model, *args))
