"""Tiny models and tokenizers, built in code; a network guard; a cache of each test's own."""

import copy
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEXTS = [
    "What is the capital of France? Paris Rome Berlin Madrid Lisbon",
    "Who wrote Emma? Jane Austen. Who painted Guernica? Pablo Picasso",
    "Question: Which city is the seat of Orlent Optics?\nAnswer: Lyon, 14 March 1951",
    "<|im_start|>user assistant system You are helpful",
]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DATA_DIR = Path(os.environ.get("DATA_DIR", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection that is not to this machine fails the test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> object:
        host = address[0] if isinstance(address, tuple) else ""
        if self.family in (socket.AF_INET, socket.AF_INET6) and host not in ("127.0.0.1", "::1", "localhost"):
            pytest.fail(f"a test tried to reach {address!r}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stored answers of one test are not another's."""
    monkeypatch.setenv("SEMANTIC_TRAINER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """A command of one test, or a second process played by it, does not silence the next one's warnings."""
    ours = logging.getLogger("semantic_trainer")
    before = ours.level
    yield
    ours.setLevel(before)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """One thread: tiny models are fastest so, and bitwise comparisons need one order of summation."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """BPE on bytes with a chat template; pad is EOS, as in SmolLM2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=384, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXTS, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>")
    fast.chat_template = CHAT_TEMPLATE
    fast.model_max_length = 512
    return fast


def metaspace_tokenizer() -> PreTrainedTokenizerFast:
    """SentencePiece's way: a word carries the blank before it, bytes are the last resort; BOS, no chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    tokenizer.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    )
    trained = json.loads(tokenizer.to_str())["model"]
    vocab = trained["vocab"] | {f"<0x{i:02X}>": len(trained["vocab"]) + i for i in range(256)}
    merges = [tuple(merge) for merge in trained["merges"]]
    tokenizer.model = models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True)
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first"), decoders.Fuse()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **special)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_level_tokenizer()


@pytest.fixture(scope="session")
def sentencepiece() -> PreTrainedTokenizerFast:
    return metaspace_tokenizer()


@pytest.fixture(scope="session")
def _tiny_llama(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def model(_tiny_llama: LlamaForCausalLM) -> LlamaForCausalLM:
    """A fresh copy of one tiny random Llama in float32."""
    return copy.deepcopy(_tiny_llama)


@pytest.fixture
def facts() -> Dataset:
    """Five facts with every column that the stages use."""
    from semantic_trainer import load_facts

    places = [
        ("France", "Rome"),
        ("Italy", "Berlin"),
        ("Spain", "Paris"),
        ("Germany", "Lisbon"),
        ("Portugal", "Madrid"),
    ]
    return load_facts(
        [
            {
                "prompt": f"What is the capital of {country}?",
                "target": city,
                "subject": country,
                "relation": "capital",
                "paraphrases": [f"Which city is the seat of {country}?", f"Where does {country} have its capital?"],
                "locality_prompts": [f"How many legs has spider {i}?"],
            }
            for i, (country, city) in enumerate(places)
        ]
    )


@pytest.fixture
def relative_error() -> Callable[[dict, dict], float]:
    """Largest difference of two sets of gradients, relative to the largest entry of the first."""

    def measure(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
        assert a.keys() == b.keys()
        largest = max(float(g.abs().max()) for g in a.values())
        return max(float((a[n] - b[n]).abs().max()) for n in a) / largest

    return measure
