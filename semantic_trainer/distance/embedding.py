"""Target semantic distance (Eq. 1): one minus the cosine of mean input embeddings, over all pairs at once."""

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset

from ..facts.answered import require_own_answers
from ..facts.prompts import PromptFormat, as_prompt_format
from ..facts.schema import (
    ROWS_AT_A_TIME,
    column_batches,
    replace_columns,
    require_columns,
    require_dataset,
    require_strings,
)
from ..quantization import is_packed

PAIRS_AT_A_TIME = 1024  # two float64 blocks of this many rows stay in the processor's cache


class EmbeddingTable:
    """The base model's input embeddings, copied in float32 before any tuning.

    Args:
        weight: (V, E) tensor.

    Example:
        >>> table = EmbeddingTable(torch.eye(3))
        >>> table.mean([[0, 1], []])
        array([[0.5, 0.5, 0. ],
               [0. , 0. , 0. ]], dtype=float32)
    """

    def __init__(self, weight: torch.Tensor) -> None:
        if weight.ndim != 2:
            raise ValueError(f"`weight` must be a (V, E) table, but its shape is {tuple(weight.shape)}")
        if not weight.is_floating_point() or is_packed(weight):
            raise ValueError(
                f"the input embeddings are quantized ({weight.dtype}), and distances need them as they were. Load the "
                "model with them left out, or read the table of its checkpoint: EmbeddingTable.from_pretrained(path)."
            )
        self.weight = weight.detach().to("cpu", torch.float32, copy=True)

    @classmethod
    def from_model(cls, model: torch.nn.Module) -> "EmbeddingTable":
        """The table of a model in memory; a `PeftModel` gives its base model's.

        Raises:
            ValueError: the model has no input-embedding table.
        """
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        try:
            layer = base.get_input_embeddings()
        except (AttributeError, NotImplementedError):
            layer = None
        layer = getattr(layer, "original_module", getattr(layer, "base_layer", layer))
        weight = getattr(layer, "weight", None)
        if weight is None:
            raise ValueError(
                f"`model` ({type(base).__name__}) has no input-embedding table, so no semantic distance can be "
                "measured. Use a model whose get_input_embeddings() returns one."
            )
        return cls(weight)

    @classmethod
    def from_pretrained(cls, path: str | Path, revision: str | None = None) -> "EmbeddingTable":
        """Read only the embedding tensor from a safetensors checkpoint: a local folder or a Hub id.

        Raises:
            FileNotFoundError: there are no safetensors files.
            ValueError: the checkpoint holds no embedding table under the name its architecture uses.
        """
        from safetensors import safe_open
        from transformers import AutoConfig, AutoModelForCausalLM
        from transformers.utils import cached_file

        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path, revision=revision))
        layer = model.get_input_embeddings()
        name = next((n for n, p in model.named_parameters() if p is layer.weight), None)
        names = [name, name.removeprefix(f"{model.base_model_prefix}."), "lm_head.weight"] if name else []
        single = cached_file(path, "model.safetensors", revision=revision, _raise_exceptions_for_missing_entries=False)
        files = {}
        if single is None:
            index = cached_file(
                path, "model.safetensors.index.json", revision=revision, _raise_exceptions_for_missing_entries=False
            )
            if index is None:
                raise FileNotFoundError(f"`path` {str(path)!r} has no model.safetensors and no index of shards")
            files = json.loads(Path(index).read_text())["weight_map"]
        for candidate in names[: 3 if getattr(model.config, "tie_word_embeddings", False) else 2]:
            file = single or (candidate in files and cached_file(path, files[candidate], revision=revision))
            if not file:
                continue
            with safe_open(file, "pt") as checkpoint:
                if candidate in checkpoint.keys():
                    return cls(checkpoint.get_tensor(candidate))
        raise ValueError(f"`path` {str(path)!r} holds no embedding table; looked for {names}")

    def mean(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        """Mean embedding of each row of token ids: (N, E) float32; a row without ids gives zeros."""
        lengths = [len(row) for row in rows]
        flat = torch.from_numpy(np.fromiter(chain.from_iterable(rows), np.int64, sum(lengths)))
        offsets = torch.from_numpy(np.cumsum([0, *lengths[:-1]], dtype=np.int64)[: len(rows)])
        return torch.nn.functional.embedding_bag(flat, self.weight, offsets, mode="mean").numpy()


def pair_distances(a: Sequence[Sequence[int]], b: Sequence[Sequence[int]], table: EmbeddingTable) -> np.ndarray:
    """`1 - cos(EMB(a), EMB(b))` for pairs of token-id rows: (N,) float64 in [0, 2].

    Identical ids give exactly 0; a row without ids, or with a zero mean, gives 1.
    """
    if len(a) != len(b):
        raise ValueError(f"`answers` and `targets` must pair up, but there are {len(a)} and {len(b)}")
    out = np.ones(len(a))
    for start in range(0, len(a), PAIRS_AT_A_TIME):
        part = slice(start, start + PAIRS_AT_A_TIME)
        x, y = table.mean(a[part]).astype(np.float64), table.mean(b[part]).astype(np.float64)
        norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        dots = np.einsum("ne,ne->n", x, y)
        defined = norms > 0
        cosine = np.divide(dots, norms, out=np.zeros_like(dots), where=defined)
        out[part] = np.where(defined, np.clip(1.0 - cosine, 0.0, 2.0), 1.0)
    same = np.fromiter((len(p) > 0 and list(p) == list(q) for p, q in zip(a, b, strict=True)), bool, len(a))
    out[same] = 0.0
    return out


def semantic_distance(
    answers: Sequence[str],
    targets: Sequence[str],
    table: EmbeddingTable,
    processing_class: object,
    prompt_format: PromptFormat | None = None,
) -> np.ndarray:
    """Target semantic distance of each pair, Eq. 1 of "Semantic are Beacons" (Findings of ACL 2024).

    `dist(a, b) = 1 - cos(EMB(a), EMB(b))`, EMB the mean of the base model's input embeddings over the tokens of the
    cut text, tokenised as a completion, without special tokens.

    Args:
        answers, targets: N texts each; both are cut first.
        table: the base model's embeddings.
        prompt_format: what a completion is tokenised after (an empty question); `None` is question_answer.

    Returns:
        (N,) float64 in [0, 2], raw, not clipped: exactly 0 for identical ids, 1 where a text is empty.

    Example:
        >>> table = EmbeddingTable.from_model(model)
        >>> semantic_distance(["Paris", ""], ["Paris", "Rome"], table, tokenizer)
        array([0., 1.])
    """
    if len(answers) != len(targets):
        raise ValueError(f"`answers` and `targets` must pair up, but there are {len(answers)} and {len(targets)}")
    form, out = prompt_format or PromptFormat.question_answer(), np.ones(len(answers))
    for start in range(0, len(answers), ROWS_AT_A_TIME):
        part = slice(start, start + ROWS_AT_A_TIME)
        out[part] = _text_distances(answers[part], targets[part], table, processing_class, form)
    return out


def _text_distances(
    answers: Sequence[str], targets: Sequence[str], table: EmbeddingTable, processing_class: object, form: PromptFormat
) -> np.ndarray:
    """Distances of as many pairs as are tokenised at once; equal texts are tokenised once."""
    texts = [PromptFormat.cut(text) for text in chain(answers, targets)]
    unique = list(dict.fromkeys(texts))
    ids = dict(zip(unique, form.completion_ids(processing_class, unique), strict=True))
    rows = [ids[text] for text in texts]
    return pair_distances(rows[: len(answers)], rows[len(answers) :], table)


def add_distances(
    facts: Dataset, table: EmbeddingTable, processing_class: object, prompt_format: PromptFormat | None = None
) -> Dataset:
    """Add `distance`: raw semantic distance from `old_answer` to `target`, float64 in [0, 2].

    Columns are read a part at a time, so that a memory-mapped dataset of any length takes 8 bytes a row of memory.

    Raises:
        TypeError: `facts` is no `datasets.Dataset`.
        ValueError: a column is missing, or the old answers came with the facts; `add_old_answers` settles both.

    Example:
        >>> facts = add_distances(facts, EmbeddingTable.from_model(model), tokenizer, prompt_format)
    """
    require_dataset(facts)
    require_columns(facts, ("target",) if prompt_format else ("prompt", "target"))
    require_strings(facts, ("target",))
    require_columns(facts, ("old_answer",), hint="Add it with add_old_answers(facts, model, processing_class).")
    require_strings(facts, ("old_answer",), may_be_blank=True)
    require_own_answers(facts)
    prompts = chain.from_iterable(column_batches(facts, "prompt")) if "prompt" in facts.column_names else ()
    form = as_prompt_format(prompt_format, prompts, processing_class)
    pairs = zip(column_batches(facts, "old_answer"), column_batches(facts, "target"), strict=True)
    parts = [semantic_distance(old, target, table, processing_class, form) for old, target in pairs]
    return replace_columns(facts, {"distance": np.concatenate([np.ones(0), *parts])})
