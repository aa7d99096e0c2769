"""The model card of a run, rendered from its summary alone."""

from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from ..files import write_atomically
from .card_parts import base_of, card_parts
from .scores import TITLES, render, source_names
from .summary import RUNS, RunSummary

ARMS = RUNS[1:]
MODEL_INDEX = ("knowledge_accuracy", "generality", "locality", "deviation")
DEFAULT_LICENSE = "apache-2.0"  # of the built-in model and facts
PICTURE = "figures/distances.png"


def create_model_card(
    summary: RunSummary,
    name: str,
    arm: str = "weighted",
    base_model: str | None = None,
    repo_id: str | None = None,
    license: str | None = None,
    picture: str | None = PICTURE,
) -> str:
    """Text of the README.md of an adapter, or of a tuned model: made of the run's summary and nothing else.

    Args:
        name: title of the card.
        arm: which of the run's two adapters it is about, `plain` or `weighted`.
        base_model: Hub id of the base; by default what the summary says, which of a local folder is none: the card
            then has no `base_model` in its metadata, which must never be a path.
        repo_id: where the adapter is loaded from in the example.
        license: by default that of the built-in model for its built-in facts, `unknown` for everything else.
        picture: of the distances, seen from the card; `None` where there is none.

    Raises:
        ValueError: the run has no such arm.

    Example:
        >>> card = create_model_card(RunSummary.load("runs/demo"), "demo")
        >>> card.splitlines()[1]
        'base_model: HuggingFaceTB/SmolLM2-135M-Instruct'
    """
    if arm not in ARMS:
        raise ValueError(f"`arm` must be {' or '.join(ARMS)}, but {arm!r} was passed")
    base = base_model or base_of(summary).get("id")
    data = card_metadata(summary, name, arm, base, license)
    parts = card_parts(summary, name, arm, base or base_of(summary)["name"], repo_id)
    return render("card.md.jinja", metadata=data.to_yaml(), picture=picture, arm=arm, **parts)


def card_metadata(
    summary: RunSummary, name: str, arm: str, base_model: str | None, license: str | None = None
) -> ModelCardData:
    """What the Hub reads of a card: base, library, datasets, license, tags, and the four metrics with intervals."""
    method = summary.config.get("method", "lora")
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type="facts",
            dataset_name=", ".join(source_names(summary)),
            metric_type=metric,
            metric_name=f"{TITLES[metric]} ({score['protocol']})",
            metric_value=score["value"],
            metric_args={"ci95": score["ci95"], "n": score["n"]},
        )
        for metric, score in summary.runs[arm].items()
        if score["value"] is not None and metric in MODEL_INDEX
    ]
    own = base_of(summary).get("weights") and all(source.startswith("builtin:") for source in summary.config["facts"])
    relation = {"base_model_relation": "finetune" if method == "full" else "adapter"} if base_model else {}
    return ModelCardData(
        base_model=base_model,
        **relation,
        library_name="transformers" if method == "full" else "peft",
        pipeline_tag="text-generation",
        license=license or (DEFAULT_LICENSE if own else "unknown"),
        datasets=summary.facts.get("datasets") or None,
        tags=["semantic-trainer", "knowledge-editing", method, arm],
        model_name=name,
        eval_results=results,
    )


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    write_atomically(path, text.encode())
