"""Canonical greedy answers: what a model says does not depend on which other prompts are in the call."""

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass

import torch
from transformers import GenerationConfig

from ..batching.shared_prefix import common_head
from ..facts.prompts import PromptFormat, check_tokenizer
from ..quantization import HALF_PRECISION, computing_in_float32, is_packed
from .decoder import Decoder
from .drafts import PROBES
from .reading import Answer

logger = logging.getLogger(__name__)
ANSWER_DTYPE = "float32"  # of runs and studies: one protocol for all answers, whatever the device
SPREAD = 1.25  # with drafts most rows end with the one pass, whose padding then costs more than one batch more


@dataclass(frozen=True)
class GenerationSettings:
    """Everything besides model and prompt format that an answer depends on.

    Attributes:
        max_new_tokens: one number for a whole study, the same for old and new answers; default 32 tokens.
        dtype: `float32` (half-precision weights are upcast exactly while answering) or `model` (as loaded).
            `auto` is float32 on CPU, `model` elsewhere.
    """

    max_new_tokens: int = 32
    dtype: str = "auto"

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"`max_new_tokens` must be at least 1, but {self.max_new_tokens} was passed")
        if self.dtype not in ("auto", "float32", "model"):
            raise ValueError(f"`dtype` must be auto, float32 or model, but {self.dtype!r} was passed")

    def resolve(self, model: torch.nn.Module) -> "GenerationSettings":
        """The same settings with `auto` decided for the model's device."""
        if self.dtype != "auto":
            return self
        on_cpu = next(model.parameters()).device.type == "cpu"
        return GenerationSettings(self.max_new_tokens, "float32" if on_cpu else "model")

    def to_dict(self) -> dict[str, object]:
        """Plain values, for summaries and for the key of stored answers."""
        return asdict(self)


@contextmanager
def answering(model: torch.nn.Module, dtype: str) -> Iterator[None]:
    """Evaluation mode, plain greedy defaults and, for `dtype="float32"`, upcast weights; all put back.

    Quantized weights stay as they are, but are multiplied in float32 then.
    """
    owner = model.get_base_model() if hasattr(model, "get_base_model") else model
    modes, own_config = [(module, module.training) for module in model.modules()], owner.generation_config
    half = []
    if dtype == "float32":
        tensors = [tensor for tensor in [*model.parameters(), *model.buffers()] if not is_packed(tensor)]
        half = [(tensor, tensor.dtype) for tensor in tensors if tensor.dtype in HALF_PRECISION]
    try:
        for tensor, _ in half:
            tensor.data = tensor.data.float()
        model.eval()
        # generate() fills what a config leaves unset from the model's own one: repetition penalties and the like.
        owner.generation_config = GenerationConfig(eos_token_id=getattr(own_config, "eos_token_id", None))
        with computing_in_float32(model) if dtype == "float32" else nullcontext():
            yield
    finally:
        owner.generation_config = own_config
        for module, training in modes:
            module.training = training
        for tensor, before in half:
            tensor.data = tensor.data.to(before)


@torch.no_grad()
def greedy_answers(
    model: torch.nn.Module,
    processing_class: object,
    prompts: Sequence[str],
    prompt_format: PromptFormat,
    settings: GenerationSettings | None = None,
    batch_size: int = 64,
    rank: int = 0,
    world_size: int = 1,
    shuffle: int | None = None,
    drafts: Mapping[str, str] | None = None,
) -> Iterator[list[tuple[str, Answer]]]:
    """Answer prompts greedily, in batches of similar length.

    Args:
        model: causal language model, as it stands (adapters on or off is the caller's business).
        prompts: texts without the format; repeats are answered once.
        batch_size: prompts in one forward pass; halved, down to 1, when memory runs out.
        rank, world_size: of several processes, this one answers every `world_size`-th batch, starting at `rank`.
            The batches are those of a single process, so the answers are too.
        shuffle: seed of batches drawn at random instead of by length, to see whether answers depend on their batch.
        drafts: prompt -> the answer to be expected; right ones are checked in one pass, wrong ones cost little, and
            neither changes an answer.

    Yields:
        Lists of `(prompt, answer)`, one a batch, sorted by length over the whole call, but for the few of a batch
        whose drafts were wrong: those are decoded on together, some batches later. Every process yields as many lists,
        the last of some being empty.

    Raises:
        ValueError: no EOS or pad token, or a prompt that leaves no room for the answer in the model's context.
    """
    check_tokenizer(processing_class)
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, but {batch_size} was passed")
    settings = (settings or GenerationSettings()).resolve(model)
    unique = list(dict.fromkeys(prompts))
    ids = dict(zip(unique, prompt_format.prompt_ids(processing_class, unique), strict=True))
    check_context(model, ids, settings.max_new_tokens)
    expected = draft_ids(processing_class, prompt_format, {p: (drafts or {}).get(p, "") for p in unique})
    probes = prompt_format.prompt_ids(processing_class, PROBES)
    head = common_head([*probes, *ids.values()])
    lengths = {prompt: len(ids[prompt]) - head + len(expected[prompt]) for prompt in unique}
    unique.sort(key=lengths.__getitem__)
    if shuffle is not None:
        random.Random(shuffle).shuffle(unique)
    alike = SPREAD if drafts and shuffle is None else None
    batches = batches_of(unique, lengths, batch_size, alike)
    limit = settings.max_new_tokens
    decoder = Decoder(model, processing_class, list(ids.values()), probes, limit)
    rounds, waiting = -(-len(batches) // world_size), []
    for number in range(rank, rounds * world_size, world_size):
        batch, last = batches[number] if number < len(batches) else [], number // world_size == rounds - 1
        # Entered for every batch: whoever consumes this generator may use the model between two of them.
        with answering(model, settings.dtype):
            found = dict(zip(batch, decoder.answer([(ids[p], expected[p]) for p in batch], later=True), strict=True))
            waiting += [prompt for prompt, answer in found.items() if answer is None]
            while len(waiting) >= batch_size or (last and waiting):
                part, waiting = waiting[:batch_size], waiting[batch_size:]
                found |= zip(part, decoder.answer([(ids[p], expected[p]) for p in part]), strict=True)
        yield [(prompt, answer) for prompt, answer in found.items() if answer is not None]
    decoder.report()


def batches_of(prompts: Sequence[str], lengths: Mapping[str, int], size: int, spread: float | None) -> list[list[str]]:
    """Prompts cut into batches of at most `size`, in order.

    Args:
        spread: a batch of increasing lengths ends where one is so many times its first; `None` looks at no length.

    Example:
        >>> batches_of(["a", "b", "c"], {"a": 8, "b": 9, "c": 12}, 3, 1.25)
        [['a', 'b'], ['c']]
    """
    batches: list[list[str]] = []
    for prompt in prompts:
        batch = batches[-1] if batches else None
        long = batch and spread is not None and lengths[prompt] > spread * lengths[batch[0]]
        if not batch or len(batch) == size or long:
            batches.append([prompt])
        else:
            batch.append(prompt)
    return batches


def draft_ids(
    processing_class: object, prompt_format: PromptFormat, drafts: Mapping[str, str]
) -> dict[str, list[int]]:
    """Prompt -> ids of its expected answer's first line, as the model would write it; none for a blank one."""
    texts = [draft.strip().split("\n", 1)[0] for draft in drafts.values()]
    try:
        rows = prompt_format.completion_ids(processing_class, texts)
    except ValueError:  # a tokenizer that merges prompt and completion: nothing can be drafted
        rows = [[] for _ in texts]
    return dict(zip(drafts, rows, strict=True))


def check_context(model: torch.nn.Module, ids: dict[str, list[int]], max_new_tokens: int) -> None:
    """Raise a `ValueError` where a prompt and its answer do not fit the model's context."""
    limit = context_length(model)
    long = {prompt: len(row) for prompt, row in ids.items() if limit and len(row) + max_new_tokens > limit}
    if long:
        prompt, length = next(iter(long.items()))
        raise ValueError(
            f"{len(long)} prompt(s) do not fit the model's context of {limit} tokens: {prompt[:60]!r} has {length} "
            f"and max_new_tokens is {max_new_tokens}. Shorten the prompt, use fewer shots or lower max_new_tokens."
        )


def context_length(model: torch.nn.Module) -> int | None:
    """Positions the model was built for, or `None` where its config does not say."""
    config = model.config.get_text_config()
    return getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
