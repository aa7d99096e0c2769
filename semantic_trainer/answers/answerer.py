"""Who gave an answer, in one line of hashes: answers that come with facts are taken over from the same model alone."""

import json
import logging
from collections.abc import Iterator, Mapping

import torch
from datasets import Dataset

from ..facts.answered import ANSWERED_BY, PARTS, differing_parts
from ..facts.messages import readable
from ..facts.prompts import PromptFormat
from ..quantization import HALF_PRECISION, is_packed
from .decoding import GenerationSettings
from .reading import end_ids
from .store import NOT_IN_KEY, split_adapter, tensors_hash, text_hash, tokenizer_key

logger = logging.getLogger(__name__)
DIGITS = 16


class Upcast(Mapping[str, torch.Tensor]):
    """The same tensors, half precision as float32, one at a time: so they answer, whatever they were loaded in."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.tensors = tensors

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor = self.tensors[name]
        return tensor.float() if tensor.dtype in HALF_PRECISION and not is_packed(tensor) else tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def answerer(
    model: torch.nn.Module, processing_class: object, prompt_format: PromptFormat, settings: GenerationSettings
) -> str:
    """`model:... tokenizer:... prompt_format:... generation:...`, each with 16 hex digits of its hash.

    Weights that answer in float32 are hashed as such, so that a checkpoint loaded in bfloat16 and in float32 is one
    model. Of its config only what differs from the defaults of its class counts, which newer versions add to.

    Args:
        model: loaded; of a `PeftModel` its base.
        settings: `auto` is resolved.
    """
    settings = settings.resolve(model)
    base, _ = split_adapter(model)
    weights = tensors_hash(Upcast(base) if settings.dtype == "float32" else base)
    config = {name: value for name, value in model.config.to_diff_dict().items() if name not in NOT_IN_KEY}
    generation = {**settings.to_dict(), "eos": end_ids(model, processing_class)}
    hashes = (
        text_hash([weights, config]),
        tokenizer_key(processing_class),
        text_hash(json.loads(json.dumps(prompt_format.to_dict()))),
        text_hash(generation),
    )
    return " ".join(f"{part}:{value[:DIGITS]}" for part, value in zip(PARTS, hashes, strict=True))


def taken_over(facts: Dataset, own: str) -> dict[str, tuple[str, bool]]:
    """Prompt -> `(old_answer, old_answer_truncated)` of the old answers that came with facts and that `own` gave.

    What differs about the others is said in the log.

    Args:
        own: as `answerer` gives it.
    """
    stamps, answers = facts[ANSWERED_BY][:], facts["old_answer"][:]
    names = facts.column_names
    cut_off = facts["old_answer_truncated"][:] if "old_answer_truncated" in names else [False] * len(facts)
    rows = zip(facts["prompt"][:], answers, cut_off, stamps, strict=True)
    kept = {prompt: (answer, truncated) for prompt, answer, truncated, stamp in rows if stamp == own}
    n = sum(stamp == own for stamp in stamps)
    if n < len(facts):
        logger.warning(
            "the old answers of %d of %d facts were given by another %s: they are asked again",
            len(facts) - n,
            len(facts),
            readable(differing_parts(stamps, own)).replace(", ", " and another "),
        )
    if n:
        logger.info("the old answers of %d facts came with them, and are taken over: the model is the same", n)
    return kept
