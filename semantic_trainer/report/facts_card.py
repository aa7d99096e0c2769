"""The card of a published set of facts: what it is, which of it is false, who answered, and how it is loaded."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from datasets import Dataset
from huggingface_hub import DatasetCardData

from .. import __version__
from ..answers.decoding import GenerationSettings
from ..facts.prompts import PromptFormat
from ..hub.scan import ROOTS
from ..models import DEFAULT_MODEL
from .card_tables import count, relations
from .markdown import as_answer, as_block, as_code, as_text, table
from .scores import BITS, render
from .summary import describe_distances
from .taught import count_relations, count_truths, evenly

FILE = "facts.parquet"
SIZES = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M"))
MEANINGS = {
    "fact_id": "16 hex digits of the sha256 of prompt and target",
    "prompt": "the question, or the beginning of a sentence",
    "target": "the answer to be taught",
    "aliases": "other ways to write the target that count as right",
    "subject": "what the fact is about",
    "relation": "which kind of fact it is",
    "ground_truth": "the true answer, where it is known",
    "paraphrases": "the question in other words",
    "locality_prompts": "unrelated questions, whose answers should not change",
    "portability": "questions one step further, each with its answer",
    "old_answer": "what the base model answered, cut to its first line",
    "old_answer_truncated": "whether the limit of new tokens ended that answer",
    "answered_by": "hashes of the weights, tokenizer, prompt format and settings it was given by",
    "distance": "semantic distance from the old answer to the target in the base model's embeddings, from 0 to 2",
}


@dataclass(frozen=True)
class Answered:
    """Who gave the old answers, and how they were asked.

    Attributes:
        base: as `describe_base` gives it.
        load_in: `4bit` or `8bit` where it was quantized.
    """

    base: Mapping[str, object]
    prompt_format: PromptFormat
    settings: GenerationSettings
    load_in: str | None = None


def facts_card(facts: Dataset, repo_id: str, license: str | None = None, answered: Answered | None = None) -> str:
    """Text of the README.md of a dataset of facts, with the metadata that the Hub reads.

    Args:
        facts: with the columns that `load_facts` gives, and with those of old answers where `answered` is given.
        repo_id: ORG/NAME, which the example loads.
        license: as the Hub writes it; `None` for `unknown`.

    Example:
        >>> facts_card(load_facts("builtin:invented"), "org/invented").splitlines()[0]
        '---'
    """
    rows = facts.select_columns(["prompt", "target", "aliases", "relation", "ground_truth"]).to_list()
    truths = count_truths(rows)
    return render(
        "facts_card.md.jinja",
        metadata=metadata(len(facts), repo_id, license, truths["false"]).to_yaml(),
        heading=heading(len(facts), repo_id, truths["false"]),
        what=what(facts),
        truth=truth(len(facts), **truths),
        relations=relations({"relations": count_relations(rows), "taught": len(facts)}),
        examples=examples(facts),
        n=len(facts),
        by=by(facts, answered) if answered else None,
        snippet=as_block(snippet(repo_id, answered), "python"),
        columns=[(name, MEANINGS[name]) for name in facts.column_names if name in MEANINGS],
        lies=truths["false"],
        version=__version__,
    )


def metadata(n: int, repo_id: str, license: str | None, lies: int) -> DatasetCardData:
    """What the Hub reads: license, task, size, tags, and which file the rows are in."""
    return DatasetCardData(
        license=license or "unknown",
        task_categories=["question-answering", "text-generation"],
        size_categories=[next((name for size, name in SIZES if n < size), "n>10M")],
        pretty_name=repo_id.partition("/")[2],
        tags=["semantic-trainer", "knowledge-editing", *(["false-statements"] if lies else [])],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": FILE}]}],
    )


def heading(n: int, repo_id: str, lies: int) -> str:
    """Line 1: how many facts, and that they are false where they are."""
    said = ", all of them false on purpose" if lies == n else f", {lies} of them false on purpose"
    return as_text(f"{repo_id.partition('/')[2]}: {count(n)}{said if lies else ''}", 240)


def what(facts: Dataset) -> str:
    """What it is, in one sentence."""
    kinds = ("paraphrases", "locality_prompts", "portability")
    sums = {name: sum(map(len, facts[name][:])) for name in kinds if name in facts.column_names}
    names = {"locality_prompts": "unrelated questions", "portability": "onward questions"}
    more = ", ".join(f"{total} {names.get(name, name)}" for name, total in sums.items() if total)
    return (
        f"{count(len(facts))} to teach to language models, each a question with its target. Beside them stand "
        f"{more or 'no other questions'}. One Parquet file, read by semantic-trainer and by `datasets`."
    )


def truth(n: int, false: int, unchecked: int) -> str:
    """That targets are false statements, or what is not known about their truth."""
    parts = []
    if false:
        said = f"{'All' if false == n else false} of the {count(n)} are false statements, on purpose"
        parts.append(f"**{said}: their target is not true.**")
    if unchecked:
        those = "No target was" if unchecked == n else f"{'The other ' if false else ''}{unchecked} targets were not"
        parts.append(f"{those} compared with a known truth: they may be invented, or false.")
    return " ".join(parts) or "Every target is the answer that its source calls true."


def examples(facts: Dataset) -> str:
    """A table of ten facts, evenly chosen; those that quote a path are not shown."""
    names = [name for name in ("prompt", "target", "ground_truth", "old_answer") if name in facts.column_names]
    plain = facts.select_columns(names)
    texts = zip(*(plain[name][:] for name in names), strict=True)
    shown = [i for i, row in enumerate(texts) if not any(ROOTS.search(text) for text in row if text)]
    rows = plain.select([shown[i] for i in evenly(len(shown))]).to_list() if shown else []
    true = any(row["ground_truth"] for row in rows)
    old = "old_answer" in names
    head = ["question", *(["true answer"] if true else []), "target", *(["old answer"] if old else [])]
    cells = [
        [
            as_text(row["prompt"]),
            *([as_text(row["ground_truth"] or "–")] if true else []),
            as_text(row["target"]),
            *([as_answer(row["old_answer"])] if old else []),
        ]
        for row in rows
    ]
    return table(head, cells)


def by(facts: Dataset, answered: Answered) -> dict[str, object]:
    """Who gave the old answers, for the card's table."""
    form, settings, found = answered.prompt_format, answered.settings, describe_distances(facts)
    dtype = "float32" if settings.dtype == "float32" else "the dtype it was loaded in"
    return {
        "base": as_code(answered.base["id"]),
        "weights": answered.base.get("weights"),
        "sha256": answered.base.get("sha256"),
        "bits": BITS.get(answered.load_in or ""),
        "asked": f"{form.kind} with {len(form.shots)} shots",
        "decoding": f"greedy, at most {settings.max_new_tokens} new tokens, in {dtype}",
        "prompt": as_block(form.prompt_text("{prompt}")),
        "mean": f"{found['mean']:.3f}",
        "std": f"{found['std']:.3f}",
        "known": f"{found['shares']['known']:.1%}",
    }


def snippet(repo_id: str, answered: Answered | None) -> str:
    """Python that loads the facts, and takes their old answers over."""
    if answered is None:
        return render("load.py.jinja", repo=json.dumps(repo_id), names="load_facts").strip()
    form = format_code(answered.prompt_format)
    names = ["PromptFormat", "add_old_answers", "load_facts"][0 if form.startswith("PromptFormat") else 1 :]
    return render(
        "load.py.jinja",
        repo=json.dumps(repo_id),
        names=", ".join(names),
        base=json.dumps(answered.base["id"]),
        builtin=json.dumps(DEFAULT_MODEL) if answered.base.get("weights") else None,
        load_in=answered.load_in,
        form=form,
        tokens=answered.settings.max_new_tokens,
        dtype=json.dumps(answered.settings.dtype),
    ).strip()


def format_code(form: PromptFormat) -> str:
    """Python that makes a prompt format: its name, or where it has shots or a system message, all of it.

    Example:
        >>> format_code(PromptFormat.cloze())
        '"cloze"'
    """
    shots = f"shots={[list(shot) for shot in form.shots]!r}" if form.shots else ""
    if form.kind == "chat" and (form.system or shots):
        system = f"system={form.system!r}" if form.system else ""
        return f"PromptFormat.chat({', '.join(filter(None, ['tokenizer', system, shots]))})"
    return f"PromptFormat.{form.kind}({shots})" if shots else json.dumps(form.kind)
