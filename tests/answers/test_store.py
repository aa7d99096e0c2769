"""Answers on disk: whole chunks or none, torn ones dropped, and keys that change with what answers depend on."""

import copy
import json
import logging
import os
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel
from transformers import LlamaForCausalLM

from semantic_trainer.answers.reading import Answer
from semantic_trainer.answers.store import AnswerStore, model_key, tensors_hash
from semantic_trainer.files import cache_dir, write_atomically

KEY = {"weights": "abc", "generation": {"max_new_tokens": 32}}
FIRST = [("A?", Answer(" Rome", False)), ("B?", Answer("\n“日本”\u2028\r x", True))]
SECOND = [("C?", Answer("", False))]


def filled(root: Path) -> AnswerStore:
    store = AnswerStore(KEY, root)
    store.add(FIRST)
    store.add(SECOND)
    return store


def test_answers_come_back_as_they_were(tmp_path: Path) -> None:
    store = filled(tmp_path)
    assert AnswerStore(KEY, tmp_path).answers == store.answers == dict(FIRST + SECOND)
    assert store.select(["D?", "A?", "E?", "D?"]) == dict(FIRST[:1])
    assert AnswerStore({**KEY, "weights": "abd"}, tmp_path).answers == {}
    assert json.loads((store.folder / "key.json").read_text(encoding="utf-8")) == KEY


def test_the_order_of_a_key_does_not_matter(tmp_path: Path) -> None:
    assert AnswerStore(dict(reversed(KEY.items())), tmp_path).folder == AnswerStore(KEY, tmp_path).folder


def test_answers_live_in_the_cache_by_default(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert AnswerStore(KEY).folder.parent == cache / "answers"
    monkeypatch.delenv("SEMANTIC_TRAINER_CACHE")
    assert cache_dir() == Path.home() / ".cache" / "semantic-trainer"


@pytest.mark.parametrize("bytes_kept", [0, 1, 40, -2, -30])
def test_a_torn_last_chunk_is_dropped_and_said(
    bytes_kept: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last = sorted(filled(tmp_path).folder.glob("chunk-*"))[-1]
    last.write_bytes(last.read_bytes()[:bytes_kept])
    with caplog.at_level(logging.WARNING):
        again = AnswerStore(KEY, tmp_path)
    assert again.answers == dict(FIRST)
    assert f"{last.name} is torn" in caplog.text
    assert again.select(["A?", "C?"]) == dict(FIRST[:1])
    again.add(SECOND)
    assert AnswerStore(KEY, tmp_path).answers == dict(FIRST + SECOND)


def test_a_changed_answer_is_not_believed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = sorted(filled(tmp_path).folder.glob("chunk-*"))[0]
    first.write_bytes(first.read_bytes().replace(b"Rome", b"Lyon"))
    assert AnswerStore(KEY, tmp_path).answers == dict(SECOND)
    assert "checksum does not match" in caplog.text


def test_files_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "file"
    write_atomically(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def test_no_temporary_files_are_left(tmp_path: Path) -> None:
    names = sorted(file.name for file in filled(tmp_path).folder.iterdir())
    assert len(names) == 3
    assert all(name == "key.json" or name.startswith("chunk-") for name in names)


def test_the_hash_sees_names_types_shapes_and_bytes() -> None:
    zeros = torch.zeros(2, 3)
    hashes = [
        tensors_hash(tensors)
        for tensors in (
            {"a": zeros},
            {"b": zeros},
            {"a": zeros.reshape(3, 2)},
            {"a": zeros.half()},
            {"a": zeros.to(torch.bfloat16)},
            {"a": zeros, "b": zeros},
            {"a": zeros + 1e-8},
            {"a": torch.tensor(0.0)},
            {"a": torch.zeros(0)},
        )
    ]
    assert len(set(hashes)) == len(hashes)
    assert tensors_hash({"a": zeros, "b": zeros + 1}) == tensors_hash({"b": zeros + 1, "a": zeros})
    strided = torch.arange(6.0).reshape(2, 3).T
    assert tensors_hash({"a": strided}) == tensors_hash({"a": strided.contiguous()})


def test_a_peft_models_base_has_the_base_models_key(model: LlamaForCausalLM) -> None:
    from peft import get_peft_model

    key = model_key(model)
    config = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"], init_lora_weights=False)
    wrapped = get_peft_model(copy.deepcopy(model), config)
    assert key["adapter"] is None
    assert model_key(wrapped) == key
    on = model_key(wrapped, adapter_on=True)
    assert on["weights"] == key["weights"]
    assert on["adapter"]


def test_the_key_changes_with_weights_and_dtype(model: LlamaForCausalLM) -> None:
    key = model_key(model)
    assert model_key(copy.deepcopy(model)) == key
    assert model_key(copy.deepcopy(model).to(torch.bfloat16)) != key
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] += 1e-6
    assert model_key(model) != key


def test_the_key_changes_with_the_adapter(adapted: PeftModel) -> None:
    off, on = model_key(adapted), model_key(adapted, adapter_on=True)
    with torch.no_grad():
        next(p for n, p in adapted.named_parameters() if "lora_B" in n).add_(1e-3)
    assert model_key(adapted) == off
    assert model_key(adapted, adapter_on=True) != on


def test_the_key_changes_with_the_active_adapter(adapted: PeftModel) -> None:
    adapted.add_adapter("other", LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    first = model_key(adapted, adapter_on=True)
    adapted.set_adapter("other")
    assert model_key(adapted, adapter_on=True) != first


def test_the_key_changes_with_the_config(model: LlamaForCausalLM) -> None:
    config = copy.deepcopy(model.config)
    config.rms_norm_eps = 0.5
    other = LlamaForCausalLM(config)
    other.load_state_dict(model.state_dict())
    assert model_key(other) != model_key(model)
