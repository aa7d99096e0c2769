"""Answers on disk: one folder a model and setting, one file a chunk, each written whole or not at all."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ..files import CACHE_FIX, cache_dir, check_writable, sweep, write_atomically
from .reading import Answer

logger = logging.getLogger(__name__)


def tensors_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """sha256 over names, dtypes, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()) if tensor.numel() else b"")
    return digest.hexdigest()


def split_adapter(model: torch.nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """`(base, adapter)` tensors of a model by name. A PeftModel's base has the names it had before it was wrapped."""
    state = model.state_dict()
    prefix = getattr(getattr(model, "base_model", None), "prefix", None) if hasattr(model, "peft_config") else None
    if prefix is None:
        return state, {}
    base, adapter = {}, {}
    for name, tensor in state.items():
        if prefix in name or "modules_to_save." in name:
            adapter[name] = tensor
        else:
            name = name.removeprefix("base_model.model.")
            base[name.replace(".base_layer.", ".").replace(".original_module.", ".")] = tensor
    return base, adapter


# What a model's config says of where it came from or how it is run, not of what it answers.
NOT_IN_KEY = (
    *("_name_or_path", "transformers_version", "use_cache", "dtype", "torch_dtype", "architectures"),
    *("pad_token_id", "bos_token_id", "eos_token_id"),  # Trainer aligns them with the tokenizer; EOS is in the key
)
_NOT_IN_ADAPTER_KEY = ("inference_mode", "base_model_name_or_path", "revision", "peft_version")


def text_hash(value: object) -> str:
    """sha256 of a value's JSON text, the first 32 hex digits."""

    def plain(other: object) -> object:
        return sorted(other) if isinstance(other, (set, frozenset)) else str(other)  # a set's order is not stable

    return hashlib.sha256(json.dumps(value, sort_keys=True, default=plain).encode()).hexdigest()[:32]


def model_key(model: torch.nn.Module, adapter_on: bool = False) -> dict[str, str | None]:
    """What a model's answers depend on: sha256 of its weights' bytes, its config, and its adapter where it is on."""
    base, adapter = split_adapter(model)
    config = {name: value for name, value in model.config.to_dict().items() if name not in NOT_IN_KEY}
    key = {"weights": tensors_hash(base), "config": text_hash(config), "adapter": None}
    if adapter_on:
        settings = {
            name: {k: v for k, v in config.to_dict().items() if k not in _NOT_IN_ADAPTER_KEY}
            for name, config in getattr(model, "peft_config", {}).items()
        }
        active = getattr(model, "active_adapters", None)
        key["adapter"] = f"{tensors_hash(adapter)} {text_hash([settings, active])}"
    return key


def tokenizer_key(processing_class: object) -> str:
    """Hash of how a tokenizer splits texts, leaving out the padding and truncation of its last call."""
    backend = getattr(processing_class, "backend_tokenizer", None)
    if backend is None:
        return text_hash([type(processing_class).__name__, processing_class.get_vocab()])
    return text_hash({k: v for k, v in json.loads(backend.to_str()).items() if k not in ("padding", "truncation")})


class AnswerStore:
    """Answers of one model under one prompt format and one set of generation settings, kept in a folder.

    Args:
        key: everything the answers depend on, as plain values; its sha256 names the folder, `key.json` spells it out.
        root: parent folder; by default `answers` in the cache (`$SEMANTIC_TRAINER_CACHE`).
    """

    def __init__(self, key: Mapping[str, object], root: str | Path | None = None) -> None:
        text = json.dumps(key, sort_keys=True, ensure_ascii=False)
        self.name = hashlib.sha256(text.encode()).hexdigest()[:32]
        self.folder = Path(root if root is not None else cache_dir() / "answers") / self.name
        fix = CACHE_FIX if root is None else "Choose another `store_dir`."
        check_writable(self.folder, "the store of answers", fix)
        self.key = json.dumps(key, indent=1, ensure_ascii=False).encode()
        sweep(self.folder)
        self.answers: dict[str, Answer] = {}
        for chunk in sorted(self.folder.glob("chunk-*.jsonl")):
            self.answers.update(self._read(chunk))

    def _read(self, chunk: Path) -> dict[str, Answer]:
        """A chunk's answers; none, and a warning, where its last line does not vouch for the lines before it."""
        try:
            lines = chunk.read_bytes().splitlines(keepends=True)
            seal = json.loads(lines[-1])
            if seal["sha256"] != hashlib.sha256(b"".join(lines[:-1])).hexdigest():
                raise ValueError("its checksum does not match")
            rows = [json.loads(line) for line in lines[:-1]]
            return {row["prompt"]: Answer(row["raw"], row["truncated"]) for row in rows}
        except (ValueError, KeyError, IndexError, TypeError) as error:
            logger.warning("stored answers: %s is torn (%s); its prompts are answered again", chunk.name, error)
            chunk.unlink(missing_ok=True)  # another process may have been first
            return {}

    def select(self, prompts: Sequence[str]) -> dict[str, Answer]:
        """What is kept of the answers to these prompts."""
        return {prompt: self.answers[prompt] for prompt in prompts if prompt in self.answers}

    def add(self, answers: Sequence[tuple[str, Answer]]) -> None:
        """Write one chunk, whole or not at all."""
        if not (self.folder / "key.json").exists():  # the first chunk, or the cache was emptied meanwhile
            write_atomically(self.folder / "key.json", self.key)
        rows = [{"prompt": p, "raw": a.raw, "truncated": a.truncated} for p, a in answers]
        body = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        digest = hashlib.sha256(body).hexdigest()
        seal = json.dumps({"rows": len(rows), "sha256": digest}).encode() + b"\n"
        write_atomically(self.folder / f"chunk-{len(self.answers):08d}-{digest[:8]}.jsonl", body + seal)
        self.answers.update(answers)
