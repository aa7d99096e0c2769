"""A published adapter is put on its base model again and asked what its table says it was asked."""

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..answers.checkpoint import checkpoint_sha256
from ..answers.decoding import ANSWER_DTYPE
from ..distance.embedding import EmbeddingTable
from ..evaluation.evaluator import Evaluation, evaluate_facts
from ..evaluation.record import record_base
from ..hub.trouble import PULL, explained
from ..models import choose_dtype, hub_name, load_model, resolve_model
from ..report.card_parts import base_of
from .finished import run_format, to_device
from .published import AGAIN, CONFIG, Published, loading

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PretrainedConfig

logger = logging.getLogger(__name__)
ELSEWHERE = "Say where it is with --model."
REMEDY = "Say which base model to take with --model, or add --any_base to score on this one nevertheless."


def choose_base(published: Published, given: str | None) -> tuple[str, str | None]:
    """The base model to load, and its revision: the one given, or the run's.

    Raises:
        ValueError: what was pulled names a path, or its files name two base models.
    """
    config, base = published.summary.config, base_of(published.summary)
    model = str(config["model"])
    if not published.full:
        from peft import PeftConfig

        named = PeftConfig.from_pretrained(str(published.weights)).base_model_name_or_path
        if named and named not in (model, base.get("id"), hub_name(model)):
            raise ValueError(
                f"{CONFIG} of {published.name!r} is for the base model {named!r}, its summary is of {model!r}: they "
                "are not of one run. Ask its owner to publish it again."
            )
    if given:
        return given, None
    if published.from_hub and hub_name(model) is None:
        raise ValueError(
            f"the summary of {published.name!r} names its base model by a path, {model[:80]!r}, which is not "
            "followed. Say which one to take with --model."
        )
    return model, config["revision"] or base.get("commit")


def open_base(published: Published, model: str, revision: str | None, trust: bool) -> "PretrainedConfig":
    """The base model's config; its weights are not read yet.

    Raises:
        FileNotFoundError, ValueError: there is none, or it needs code of its repository, which is not trusted.
        HubError: the Hub refused or was not reached.
    """
    from transformers import AutoConfig

    with loading(f"the base model {model!r} of {published.name!r}", ELSEWHERE), explained(model, revision, PULL):
        try:
            return AutoConfig.from_pretrained(resolve_model(model), revision=revision, trust_remote_code=trust)
        except ValueError as error:
            if "trust_remote_code" in str(error) or "custom code" in str(error):
                raise ValueError(
                    f"the base model {model!r} of {published.name!r} needs code from its repository, which is not "
                    "run. Read it; if you trust it, add --trust_remote_code."
                ) from error
            raise missing(published, model, error) from error
        except OSError as error:
            raise missing(published, model, error) from error


def missing(published: Published, model: str, error: Exception) -> FileNotFoundError:
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    return FileNotFoundError(
        f"the base model {model!r} of {published.name!r} cannot be loaded ({reason}). {ELSEWHERE}"
    )


def check_weights(published: Published, model: str, revision: str | None, any_base: bool) -> None:
    """Compare the base's weights with those the run had, by their sha256; what cannot be compared is said.

    Raises:
        ValueError: they are others, and `any_base` is not given.
    """
    recorded, found = base_of(published.summary).get("sha256"), checkpoint_sha256(model, revision)
    if not recorded or not found:
        lacks = "the summary does not say" if not recorded else "no safetensors show"
        logger.warning("%s which weights the base model has: they are not compared with the run's", lacks)
    elif found != recorded:
        said = (
            f"the base model {model!r} does not have the weights that {published.name!r} was trained on: their sha256 "
            f"is {found[:12]}..., the summary says {recorded[:12]}..."
        )
        if not any_base:
            raise ValueError(f"{said}. {REMEDY}")
        logger.warning("%s: the table need not hold on them", said)


def load_base(
    published: Published, given: str | None, any_base: bool, trust: bool
) -> tuple["torch.nn.Module", object]:
    """Base model and tokenizer, everything checked that can be before its weights are read.

    Returns:
        The model on the device that training would take, and its tokenizer.
    """
    from ..tuners.saved import check_saved_adapter

    model, revision = choose_base(published, given)
    found = open_base(published, model, revision, trust)
    if not published.full and not getattr(found, "auto_map", None):
        with loading(f"the weights of {published.name!r}"):
            check_saved_adapter(published.weights, found, f"{published.arm} adapter", AGAIN)
    local = Path(resolve_model(model)).is_dir()
    if local:
        check_weights(published, model, revision, any_base)
    config = published.summary.config
    dtype = choose_dtype(config["dtype"], base_frozen=not published.full)
    with loading(f"the base model {model!r} of {published.name!r}", ELSEWHERE), explained(model, revision, PULL):
        try:
            loaded = load_model(model, dtype, revision, config.get("load_in"), trust, use_safetensors=True)
        except OSError as error:
            raise missing(published, model, error) from error
    if not local:
        check_weights(published, model, revision, any_base)
    return to_device(loaded[0], bool(config.get("use_cpu"))), loaded[1]


def rescore(
    published: Published, facts: "Dataset", model: "torch.nn.Module", tokenizer: object
) -> dict[str, Evaluation]:
    """`before` and the published arm, measured as the run measured them; every answer is decoded anew.

    Args:
        model: the base. It is given away: afterwards it holds the adapter.
    """
    config = published.summary.config
    form = run_format(config, tokenizer)
    how = (config["max_new_tokens"], config.get("answer_batch_size", 64), ANSWER_DTYPE)
    table, seed = EmbeddingTable.from_model(model), config.get("seed", 0)
    with tempfile.TemporaryDirectory() as store:  # an answer that lies in the cache has been believed already

        def evaluate(current: "torch.nn.Module", **more: object) -> Evaluation:
            return evaluate_facts(current, tokenizer, facts, form, table, *how, store_dir=store, seed=seed, **more)

        before = evaluate(model)
        record = record_base(model, tokenizer, facts, form, *how, store_dir=store) if published.full else None
        return {"before": before, published.arm: evaluate(put_on(published, model), base=record)}


def put_on(published: Published, model: "torch.nn.Module") -> "torch.nn.Module":
    """The published adapter on the base; the published model instead of it."""
    from .. import tuners  # noqa: F401  (PEFT then knows Houlsby adapters)
    from .arms import read_adapter, read_model

    with loading(f"the weights of {published.name!r}"):
        return (read_model if published.full else read_adapter)(model, published.weights)
