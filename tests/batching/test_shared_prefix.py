"""Shared-prefix rows against one example a row: layout, losses and gradients."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_trainer.batching import probe
from semantic_trainer.batching.probe import unsuited
from semantic_trainer.batching.shared_prefix import (
    common_head,
    deal,
    model_inputs,
    shared_prefix_mask,
    shared_prefix_rows,
)
from semantic_trainer.training.losses import stock_token_nll, weighted_sum

from ..architectures import EXACT, LATER, tiny

VOCABULARY = 40
MODELS = {name: tiny(name, VOCABULARY) for name in EXACT}
TOKENS = st.integers(3, VOCABULARY - 1)


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    """Examples with a common head of any length, none too, and prompts and targets of any length."""
    head = draw(st.lists(TOKENS, max_size=12))
    ids, labels = [], []
    for _ in range(draw(st.integers(1, 6))):
        prompt = head + draw(st.lists(TOKENS, min_size=0 if head else 1, max_size=6))
        target = draw(st.lists(TOKENS, min_size=1, max_size=4))
        ids.append(prompt + target)
        labels.append([-100] * len(prompt) + target)
    return ids, labels


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), min_size=1, max_size=5))
def test_the_head_is_what_all_prompts_begin_with(prompts: list[list[int]]) -> None:
    n = common_head(prompts)
    assert all(prompt[:n] == prompts[0][:n] and len(prompt) > n for prompt in prompts)
    longer = all(len(prompt) > n + 1 and prompt[: n + 1] == prompts[0][: n + 1] for prompt in prompts)
    assert not longer


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 60))
def test_rows_hold_every_example_once_and_are_as_few_as_can_be(lengths: list[int], room: int) -> None:
    rows = deal(lengths, room)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert len(rows) == min(len(lengths), -(-sum(lengths) // room))
    sums = [sum(lengths[i] for i in row) for row in rows]
    assert max(sums) - min(sums) <= max(lengths)


@settings(deadline=None)
@given(batches(), st.integers(4, 40))
def test_every_token_sees_what_it_would_see_alone(batch: tuple, row_tokens: int) -> None:
    ids, labels = batch
    rows = shared_prefix_rows(ids, labels, 0, row_tokens)
    mask = shared_prefix_mask(rows.segment_ids)[:, 0]
    found = {}
    for r, segments in enumerate(rows.segment_ids.tolist()):
        for t, segment in enumerate(segments):
            seen = mask[r, t].nonzero()[:, 0]
            assert t in seen  # padding too: a row of a softmax must not be empty
            if segment > 0:
                context = rows.input_ids[r, seen].tolist()
                position = int(rows.position_ids[r, t])
                assert position == len(context) - 1
                assert rows.position_ids[r, seen].tolist() == list(range(len(context)))
                assert context == ids[segment - 1][: len(context)]
                found.setdefault(segment - 1, []).append((position, int(rows.shift_labels[r, t])))
    head = common_head([row[: len(row) - sum(x != -100 for x in y)] for row, y in zip(ids, labels, strict=True)])
    for i, places in found.items():
        assert places == list(enumerate(labels[i][1:]))[head:]
    assert sorted(found) == list(range(len(ids)))
    assert int((rows.shift_labels != -100).sum()) == sum(label != -100 for row in labels for label in row)


def one_by_one(model: torch.nn.Module, ids: list, labels: list, weights: list[float]) -> torch.Tensor:
    """The weighted sum of losses, one example a pass, from all logits."""
    total = torch.zeros(())
    for row, label, weight in zip(ids, labels, weights, strict=True):
        logits = model(input_ids=torch.tensor([row])).logits[0, :-1]
        total = total + weight * F.cross_entropy(logits, torch.tensor(label[1:]), ignore_index=-100, reduction="sum")
    return total


def gradients(model: torch.nn.Module, loss: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("name", EXACT)
@settings(deadline=None, max_examples=15)
@given(batch=batches(), row_tokens=st.integers(4, 40))
def test_losses_and_gradients_are_those_of_one_example_a_row(name: str, batch: tuple, row_tokens: int) -> None:
    ids, labels = batch
    model, weights = MODELS[name], [1.0 + 0.5 * i for i in range(len(ids))]
    rows = shared_prefix_rows(ids, labels, 0, row_tokens)
    keep = rows.shift_labels != -100
    logits = model(**model_inputs(rows, model), logits_to_keep=keep).logits
    examples = rows.segment_ids[keep] - 1
    together = weighted_sum(stock_token_nll(logits, rows.shift_labels[keep]), examples, torch.tensor(weights))
    alone = one_by_one(model, ids, labels, weights)
    assert abs(together.item() - alone.item()) <= 1e-6 * abs(alone.item()) + 1e-6
    expected, found = gradients(model, alone), gradients(model, together)
    assert (found - expected).norm() <= 2e-6 * expected.norm()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_trial_finds_the_exact_architectures(attention: str) -> None:
    for name in EXACT:
        assert unsuited(tiny(name, VOCABULARY, attention), 20) is None
    for name in LATER:
        assert "position_ids" in unsuited(tiny(name, VOCABULARY), 20)


def test_a_hybrid_of_attention_and_state_fails_the_trial() -> None:
    assert "off by" in unsuited(tiny("Qwen3Next", VOCABULARY), 20)


def test_a_window_must_hold_head_and_longest_fact() -> None:
    model = tiny("Mistral", VOCABULARY)
    model.config.sliding_window = 16
    assert unsuited(model, 16) is None
    assert unsuited(model, 17) == "its sliding_window is 16, shorter than the longest fact's 17 tokens"


def test_attention_without_masks_and_virtual_tokens_are_unsuited() -> None:
    from peft import PromptTuningConfig, get_peft_model

    model = tiny("Llama", VOCABULARY)
    model.config._attn_implementation = "flash_attention_2"
    assert "flash_attention_2" in unsuited(model, 5)
    tuned = get_peft_model(tiny("Llama", VOCABULARY), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    assert "virtual tokens" in unsuited(tuned, 5)


def test_the_trial_leaves_the_random_state_alone() -> None:
    model = tiny("Granite", VOCABULARY)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    assert unsuited(model, 5) is None
    assert torch.equal(torch.rand(3), expected)


def test_a_trial_is_shared_by_size_and_not_by_what_decides_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = []
    measure = probe.largest_error
    monkeypatch.setattr(probe, "largest_error", lambda *of: trials.append(of) or measure(*of))
    monkeypatch.setattr(probe, "_TRIALS", {})
    small, large = tiny("Llama", VOCABULARY), tiny("Llama", 2 * VOCABULARY)
    large.config.hidden_size, large.config.num_hidden_layers = 4096, 48
    assert unsuited(small, 20) is unsuited(large, 20) is None
    assert len(trials) == 1
    other = tiny("Llama", VOCABULARY)
    other.config.rope_parameters = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    assert unsuited(other, 20) is None
    assert len(trials) == 2
