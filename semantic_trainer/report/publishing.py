"""push_facts: a set of facts on the Hub, with a base model's old answers where it is asked for them."""

import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet
import torch
from datasets import Dataset

from ..answers import add_old_answers
from ..answers.answerer import answerer
from ..answers.checkpoint import checkpoint_tensors
from ..answers.decoding import GenerationSettings
from ..answers.store import split_adapter
from ..distance.embedding import EmbeddingTable, add_distances
from ..distribution import on_first
from ..facts.answered import ANSWER_FEATURES, ANSWERED_BY
from ..facts.prompts import PromptFormat, as_prompt_format, check_tokenizer
from ..facts.readers import load_facts
from ..facts.schema import FACT_COLUMNS, require_columns, require_dataset, require_strings
from ..hub.plan import Upload
from ..hub.scan import check_leaks
from ..hub.upload import check_license, check_repo_id, commit
from ..models import DEFAULT_MODEL, default_folder, hub_name
from ..quantization import is_packed, loaded_in
from .facts_card import FILE, Answered, facts_card
from .taught import describe_base

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo


def push_facts(
    facts: Dataset,
    repo_id: str,
    model: torch.nn.Module | None = None,
    processing_class: object = None,
    *,
    prompt_format: PromptFormat | str | None = None,
    max_new_tokens: int = 32,
    batch_size: int = 64,
    dtype: str = "auto",
    store_dir: str | Path | None = None,
    base_model: str | None = None,
    license: str | None = None,
    commit_message: str | None = None,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
) -> "CommitInfo":
    """Publish facts as a dataset that `load_facts(repo_id)` reads: one Parquet file and a card, in one commit.

    With a model, its old answers and distances are published too: those that `add_old_answers` has kept are not asked
    again. Who takes them up is told whether weights, tokenizer, prompt format and settings are the same. A card that
    is there already is written anew. Under a launcher every process must call this; the first one publishes.

    Args:
        facts: what `load_facts` gives, or a dataset with `prompt` and `target`. Columns that are not of facts or old
            answers stay here.
        repo_id: ORG/NAME; made where it is not there yet.
        model: the loaded base model, or a `PeftModel`, whose base answers. `None` publishes the facts alone.
        processing_class: its tokenizer.
        prompt_format, max_new_tokens, batch_size, dtype, store_dir: as in `add_old_answers`.
        base_model: what the Hub calls the model, where it was read from a local folder.
        license: as the Hub writes it, such as `cc-by-4.0`; by default `unknown`.
        commit_message, private, token, revision, create_pr: as in `Dataset.push_to_hub`.

    Raises:
        TypeError: `facts` is no `datasets.Dataset`, or `model` is not loaded.
        ValueError: a bad `repo_id`, facts that cannot be taught, old answers that are not the model's, or a model that
            the Hub does not have under any name.
        LeakError: a fact or an answer holds a secret or a path of this machine.
        HubError: the Hub refused or was not reached; nothing is published then.

    Example:
        >>> facts = load_facts("builtin:counterfactual")
        >>> push_facts(facts, "org/counterfactual", model, tokenizer, license="apache-2.0").commit_url
        >>> facts = add_old_answers(load_facts("org/counterfactual"), model, tokenizer)  # does not ask the model
    """
    how = (prompt_format, max_new_tokens, batch_size, dtype, store_dir, base_model, license)
    files = facts_files(facts, repo_id, model, processing_class, *how)
    message = commit_message or f"Upload {len(facts)} facts{' and old answers' if model is not None else ''}"
    options = {"private": private, "create_pr": create_pr, "revision": revision, "token": token}
    return on_first(partial(commit, files, repo_id, message, repo_type="dataset", **options))


def facts_files(
    facts: Dataset,
    repo_id: str,
    model: torch.nn.Module | None = None,
    processing_class: object = None,
    prompt_format: PromptFormat | str | None = None,
    max_new_tokens: int = 32,
    batch_size: int = 64,
    dtype: str = "auto",
    store_dir: str | Path | None = None,
    base_model: str | None = None,
    license: str | None = None,
) -> list[Upload]:
    """What `push_facts` publishes, searched for secrets and paths; arguments and errors are the same."""
    check_repo_id(repo_id)
    check_license(license)
    require_dataset(facts)
    require_columns(facts, ("prompt", "target"))
    given = [name for name in ANSWER_FEATURES if name in facts.column_names]
    if model is None and given:
        raise ValueError(
            f"`facts` has the column(s) {', '.join(given)}: give `model` and `processing_class`, so that it can be "
            f"said whose answers they are, or leave them here with facts.remove_columns({given})."
        )
    if model is not None:
        base = base_on_hub(model, base_model)
        require_strings(facts, ("prompt",))
        check_tokenizer(processing_class)
        form = as_prompt_format(prompt_format, facts["prompt"][:], processing_class)
        settings = GenerationSettings(max_new_tokens, dtype).resolve(model)
        facts = with_answers(facts, model, processing_class, form, settings, batch_size, store_dir)
        card = facts_card(facts, repo_id, license, Answered(base, form, settings, loaded_in(model)))
    else:
        facts = load_facts(facts, format="facts")
        card = facts_card(facts, repo_id, license)
    files = [Upload(FILE, as_parquet(facts)), Upload("README.md", card.encode(), quotes=True)]
    check_leaks(files, Path.cwd())
    return files


def as_parquet(facts: Dataset) -> bytes:
    """One Parquet file, the same bytes for the same facts; `Dataset.to_parquet` would show a bar."""
    data = io.BytesIO()
    table = facts.with_format("arrow")[:].replace_schema_metadata(facts.features.arrow_schema.metadata)
    pyarrow.parquet.write_table(table, data)
    return data.getvalue()


def with_answers(
    facts: Dataset,
    model: torch.nn.Module,
    processing_class: object,
    form: PromptFormat,
    settings: GenerationSettings,
    batch_size: int,
    store_dir: str | Path | None,
) -> Dataset:
    """The columns of facts with the model's answers, who gave them, and their distances.

    Raises:
        ValueError: `old_answer` holds something else than the model answers.
    """
    claimed = None
    if "old_answer" in facts.column_names and ANSWERED_BY not in facts.column_names:
        claimed = dict(zip(facts["prompt"][:], facts["old_answer"][:], strict=True))
        facts = facts.remove_columns([name for name in ANSWER_FEATURES if name in facts.column_names])
    facts = load_facts(facts, format="facts")
    how = (settings.max_new_tokens, batch_size, settings.dtype, store_dir)
    facts = add_old_answers(facts, model, processing_class, form, *how)
    if claimed is not None:
        check_claimed(facts, claimed)
    facts = add_distances(facts, EmbeddingTable.from_model(model), processing_class, form)
    stamp = answerer(model, processing_class, form, settings)
    facts = facts.add_column(ANSWERED_BY, [stamp] * len(facts))
    return facts.select_columns([*FACT_COLUMNS, *ANSWER_FEATURES])


def check_claimed(facts: Dataset, claimed: dict[str, str]) -> None:
    """Raise a `ValueError` where a dataset says that the model answers something else than it does."""
    for prompt, answer in zip(facts["prompt"][:], facts["old_answer"][:], strict=True):
        if claimed[prompt] != answer:
            raise ValueError(
                f"`facts` column 'old_answer' says {claimed[prompt]!r} to {prompt!r}, but `model` answers {answer!r}: "
                "give the model, prompt_format, max_new_tokens and dtype that it was asked with, or leave the column "
                "out, which has it answered anew."
            )


def base_on_hub(model: object, base_model: str | None) -> dict[str, object]:
    """What the card says of the base: as `describe_base`, under the name that the Hub has for it.

    Raises:
        TypeError: the model is not loaded.
        ValueError: it was read from a local folder, and `base_model` does not say what the Hub calls it; or it was
            tuned since.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"`model` must be a loaded model, but {type(model).__name__} was passed: the hash of its weights goes "
            "with its answers. Load it with AutoModelForCausalLM.from_pretrained."
        )
    if base_model is not None:
        check_repo_id(base_model, "base_model")
    source = str(getattr(model.config, "_name_or_path", "") or "")
    if not (base_model or hub_name(source)):
        raise ValueError(
            f"`model` was read from the local folder {Path(source).name!r}, which nobody else has. Say what the Hub "
            "calls it: base_model='ORG/NAME'."
        )
    name = DEFAULT_MODEL if source and Path(source) == default_folder() else source
    if not name:  # built in code
        return {"id": base_model, "weights": None, "sha256": None}
    commit = getattr(model.config, "_commit_hash", None)
    check_untouched(model, name, commit)
    return {**(found := describe_base(name, commit, commit)), "id": base_model or found["id"]}


def check_untouched(model: torch.nn.Module, name: str, revision: str | None) -> None:
    """Raise a `ValueError` where a weight is not that of the checkpoint that the model was read from.

    What is quantized, or called otherwise in the checkpoint, is not compared.
    """
    loaded, _ = split_adapter(model)
    stored = checkpoint_tensors(name, revision)
    for key in sorted(loaded.keys() & stored.keys()):
        own = loaded[key].detach()
        if own.dtype.is_floating_point and not is_packed(own) and own.shape == (saved := stored[key]).shape:
            if not torch.equal(own.cpu(), saved.to(own.dtype)):
                raise ValueError(
                    f"`model` is not what was read from {hub_name(name) or Path(name).name!r} any more: its weight "
                    f"{key!r} differs. Publish a base model's answers before it is tuned, or load it again."
                )
