"""The stage `add_old_answers`: ask a model every prompt once, keep the answers, add them as columns."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from datasets import Dataset
from tqdm.auto import tqdm

from ..distribution import gather, is_first, local_main_first, on_first, world
from ..facts.answered import ANSWERED_BY
from ..facts.prompts import PromptFormat, as_prompt_format, check_tokenizer
from ..facts.schema import replace_columns, require_columns, require_dataset, require_strings
from .answerer import answerer, taken_over
from .decoding import GenerationSettings, answering, greedy_answers
from .endpoint import Endpoint, answer_from_endpoint
from .reading import Answer, end_ids
from .store import AnswerStore, model_key, tokenizer_key

logger = logging.getLogger(__name__)
NEAR_LIMIT = 8


def _load(source: str) -> object:
    """A model to be asked as it is; a `ValueError` where the source is an adapter, which transformers puts on."""
    from transformers import AutoModelForCausalLM

    with local_main_first():
        model = AutoModelForCausalLM.from_pretrained(source)
    check_base(model)
    return model


def _source_key(source: str) -> dict[str, str | None]:
    """A Hub id's key is its commit, so that known answers are read without loading the weights."""
    from transformers import AutoConfig

    with local_main_first():
        commit = getattr(AutoConfig.from_pretrained(source), "_commit_hash", None)
    if commit is None:
        raise ValueError(f"`model` {source!r}: the Hub gave no commit. Pass the loaded model instead of its name.")
    return {"weights": f"{source}@{commit}", "config": None, "adapter": None}


def _source_ends(source: str, processing_class: object) -> list[int]:
    """The EOS ids of a model that is not loaded yet."""
    from types import SimpleNamespace

    from transformers import GenerationConfig

    try:
        with local_main_first():
            config = GenerationConfig.from_pretrained(source)
    except OSError:  # a repository without generation_config.json
        config = None
    return end_ids(SimpleNamespace(generation_config=config), processing_class)


def check_base(model: object) -> None:
    """Raise a `ValueError` where an adapter was loaded into a model itself, which then cannot answer as its base."""
    if getattr(model, "_hf_peft_config_loaded", False) and not hasattr(model, "disable_adapter"):
        raise ValueError(
            "`model` carries an adapter loaded into the model itself, so its base cannot be asked. Load it with "
            "PeftModel.from_pretrained(base, adapter)."
        )


@contextmanager
def adapters_off(model: object) -> Iterator[None]:
    """A `PeftModel` as its base; PEFT turns gradients on again at the end, so they are put back as they were."""
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        with model.disable_adapter():
            yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def answer_prompts(
    model: object,
    processing_class: object,
    prompts: Sequence[str],
    prompt_format: PromptFormat,
    settings: GenerationSettings | None = None,
    adapters: bool = False,
    batch_size: int = 64,
    store_dir: str | Path | None = None,
    description: str = "answers",
    keep: bool = True,
    shuffle: int | None = None,
    drafts: Mapping[str, str] | None = None,
    store: AnswerStore | None = None,
) -> dict[str, Answer]:
    """Greedy answers by prompt; what the store holds is read, the rest is asked batch by batch and kept.

    Several processes (`torchrun`) share the batches, and every process gets every answer; the first one keeps them.

    Args:
        model: a causal language model, a `PeftModel`, a local folder, a Hub id, or an `Endpoint`.
        prompts: texts without the prompt format; repeats are asked once.
        adapters: whether a `PeftModel` answers with its adapters on.
        store_dir: parent folder of the store; by default in the cache (`$SEMANTIC_TRAINER_CACHE`).
        keep: `False` neither reads nor writes the store.
        shuffle: seed of batches drawn at random instead of by length; such answers are not canonical, and not kept.
        drafts: prompt -> the answer to be expected, checked in one pass where it is right.
        store: what `open_store` gave for this model and these settings, where it is asked more than once.

    Returns:
        Each prompt's `Answer(raw, truncated)`; `.text` is the cut answer.
    """
    check_tokenizer(processing_class)
    settings, loaded = settings or GenerationSettings(), model
    if isinstance(model, Endpoint):
        limit = settings.max_new_tokens
        return answer_from_endpoint(
            model, processing_class, prompts, prompt_format, limit, store_dir, description, keep and shuffle is None
        )
    if isinstance(model, (str, Path)):
        loaded = _load(str(model)) if Path(model).exists() else None
    elif not adapters:
        check_base(model)
    if loaded is not None:
        settings = settings.resolve(loaded)
    elif settings.dtype == "auto":  # it would be loaded on the CPU
        settings = GenerationSettings(settings.max_new_tokens, "float32")
    answers, kept = {}, keep and shuffle is None

    def selected() -> dict[str, Answer]:  # by the first process alone: the key reads all weights
        nonlocal store
        if store is None:
            key = _store_key(model, loaded, processing_class, prompt_format, settings, adapters)
            store = AnswerStore(key, store_dir)
        return store.select(prompts)

    if kept:
        answers = on_first(selected)
    missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in answers]
    if not missing:
        return answers
    loaded = _load(str(model)) if loaded is None else loaded
    off = adapters_off(loaded) if hasattr(loaded, "disable_adapter") and not adapters else nullcontext()
    hidden = None if is_first() else True  # `None`: hidden where there is no terminal
    bar = tqdm(total=len(missing), desc=description, unit="facts", disable=hidden, leave=False)
    how = (prompt_format, settings, batch_size, *world(), shuffle, drafts)
    batches = greedy_answers(loaded, processing_class, missing, *how)
    start = time.perf_counter()
    # Half-precision weights are upcast here once, rather than in every batch.
    with off, bar, answering(loaded, settings.dtype):
        for batch in map(gather, batches):
            if kept:
                on_first(lambda answered=batch: store.add(answered))
            answers.update(batch)
            bar.update(len(batch))
    seconds = time.perf_counter() - start
    logger.info("%s: %d prompts in %.1f s (%.1f/s)", description, len(missing), seconds, len(missing) / seconds)
    return {prompt: answers[prompt] for prompt in prompts}


def open_store(
    model: object,
    processing_class: object,
    prompt_format: PromptFormat,
    settings: GenerationSettings,
    store_dir: str | Path | None = None,
    model_key: Mapping[str, str | None] | None = None,
) -> AnswerStore:
    """The kept answers of a loaded base model; its `name` is the hash of everything that they depend on.

    Args:
        store_dir: as in `answer_prompts`.
        model_key: what `semantic_trainer.answers.store.model_key` gave for this model; it reads all weights, so where
            several stores are opened, once is enough.
    """
    key = _store_key(model, model, processing_class, prompt_format, settings.resolve(model), False, model_key)
    return AnswerStore(key, store_dir)


def _store_key(
    model: object,
    loaded: object | None,
    processing_class: object,
    prompt_format: PromptFormat,
    settings: GenerationSettings,
    adapters: bool,
    known: Mapping[str, str | None] | None = None,
) -> dict[str, object]:
    """Everything that answers depend on; of a Hub id that is not loaded, its commit stands for the weights."""
    if loaded is not None:
        dtype = str(next(loaded.parameters()).dtype) if settings.dtype == "model" else settings.dtype
        key, ends = known or model_key(loaded, adapters), end_ids(loaded, processing_class)
    else:
        key, dtype, ends = _source_key(str(model)), settings.dtype, _source_ends(str(model), processing_class)
    generation = {**settings.to_dict(), "dtype": dtype, "eos": ends}
    tokenizer = tokenizer_key(processing_class)
    return {**key, "tokenizer": tokenizer, "prompt_format": prompt_format.to_dict(), "generation": generation}


def warn_about_long_targets(
    targets: Sequence[str], processing_class: object, prompt_format: PromptFormat, max_new_tokens: int
) -> None:
    """Warn where a target comes within 8 tokens of `max_new_tokens`: its answer may be cut short."""
    longest = max((len(ids) for ids in prompt_format.completion_ids(processing_class, targets)), default=0)
    if longest > max_new_tokens - NEAR_LIMIT:
        logger.warning(
            "the longest target has %d tokens and max_new_tokens is %d: answers may be cut short; raise it",
            longest,
            max_new_tokens,
        )


def add_old_answers(
    facts: Dataset,
    model: object,
    processing_class: object,
    prompt_format: PromptFormat | str | None = None,
    max_new_tokens: int = 32,
    batch_size: int = 64,
    dtype: str = "auto",
    store_dir: str | Path | None = None,
) -> Dataset:
    """Add what the base model answers now: `old_answer` (cut) and `old_answer_truncated`.

    Answers are greedy, in left-padded batches of similar length, up to EOS or the first newline after a non-blank
    character, and kept on disk chunk by chunk: a second call reads them, a killed call goes on where it stopped.

    Answers that came with facts from the Hub are taken over where their column `answered_by` names this model, its
    tokenizer, the prompt format and the settings; the others are asked again, which the log says. The column is
    dropped then. Where any answer is another than it was, so is `distance`, which was of the old one.

    Args:
        facts: dataset with the text column `prompt`.
        model: the base model, or a local folder; a `PeftModel` answers with its adapters off. A Hub id is loaded only
            where answers are missing. An `Endpoint` is a server that is asked; `batch_size` and `dtype` are its own.
        prompt_format: `None` resolves `auto` from the prompts and the tokenizer.
        max_new_tokens: default 32 tokens, one number for a whole study; a warning where a target comes within 8 of it.
        batch_size: default 64 prompts; halved when memory runs out.
        dtype: `auto` (float32 on CPU, as loaded elsewhere), `float32` or `model`.
        store_dir: where answers are kept; by default `answers` under `$SEMANTIC_TRAINER_CACHE`.

    Returns:
        The dataset with the two columns added or replaced.

    Raises:
        TypeError: `facts` is no `datasets.Dataset`.
        ValueError: missing or blank prompts, a prompt longer than the context, no EOS or pad token.

    Example:
        >>> facts = add_old_answers(load_facts("builtin:counterfactual[8]"), model, tokenizer)
        >>> facts[0]["old_answer"]
        'Paris'
    """
    require_dataset(facts)
    require_columns(facts, ("prompt",))
    require_strings(facts, ("prompt",))
    check_tokenizer(processing_class)
    prompts = facts["prompt"][:]
    form = as_prompt_format(prompt_format, prompts, processing_class)
    if "target" in facts.column_names:
        warn_about_long_targets(facts["target"][:], processing_class, form, max_new_tokens)
    settings = GenerationSettings(max_new_tokens, dtype)
    model, known = _came_along(facts, model, processing_class, form, settings)
    missing = [prompt for prompt in prompts if prompt not in known]
    if missing:
        how = (form, settings, False, batch_size)
        found = answer_prompts(model, processing_class, missing, *how, store_dir=store_dir, description="old answers")
        known = {**known, **{prompt: (answer.text, answer.truncated) for prompt, answer in found.items()}}
    new = {
        "old_answer": [known[prompt][0] for prompt in prompts],
        "old_answer_truncated": [known[prompt][1] for prompt in prompts],
    }
    changed = "old_answer" in facts.column_names and facts["old_answer"][:] != new["old_answer"]
    stale = ["distance"] if changed or (ANSWERED_BY in facts.column_names and missing) else []
    facts = facts.remove_columns([name for name in (ANSWERED_BY, *stale) if name in facts.column_names])
    return replace_columns(facts, new)


def _came_along(
    facts: Dataset, model: object, processing_class: object, form: PromptFormat, settings: GenerationSettings
) -> tuple[object, dict[str, tuple[str, bool]]]:
    """The model, loaded where it had to be for that, and the answers of its own that the facts came with."""
    if not {ANSWERED_BY, "old_answer"} <= set(facts.column_names):
        return model, {}
    if isinstance(model, Endpoint):
        logger.warning("which weights a server has is not known: the old answers that came with the facts are dropped")
        return model, {}
    model = _load(str(model)) if isinstance(model, (str, Path)) else model
    return model, taken_over(facts, answerer(model, processing_class, form, settings))
