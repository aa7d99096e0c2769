"""The model card of a run, rendered from its summary; and how scores are written in any table."""

from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, select_autoescape

from ..evaluation.evaluator import METRICS
from ..files import write_atomically
from .summary import RunSummary

TITLES = {
    "knowledge_accuracy": "Knowledge accuracy",
    "generality": "Generality",
    "locality": "Locality",
    "deviation": "Deviation, all facts",
    "deviation_in_bad": "Deviation, bad cases",
    "relative_deviation": "Relative deviation",
    "normalized": "Normalized",
    "contains": "Contains",
    "token": "Token, teacher-forced",
    "leak_gap": "Leak gap",
    "portability": "Portability",
    "locality_noise_floor": "Locality, noise floor",
    "next_token_kl": "Next-token KL",
}
BITS = {"4bit": "4 bits (NF4)", "8bit": "8 bits (int8)"}
ADAPTERS = {"lora": "LoRA", "adalora": "AdaLoRA", "dora": "DoRA", "ia3": "(IA)³", "houlsby": "Houlsby"}
# Metric -> (scale, unit, decimals of the value, of its interval); None: as the caller says.
FORMATS = {
    "relative_deviation": (1, "", 2, 2),
    "next_token_kl": (1, " nats", 3, 3),
    "leak_gap": (100, " points", 1, None),
}


def format_score(score: Mapping[str, object], metric: str = "", digits: int = 1) -> str:
    """`97.5 % [90.2, 99.6]`, with `digits` decimals in the interval; `FORMATS` names the metrics that are no shares.

    A value by definition has no interval, one fact alone gives none, and a dash stands for null.

    Example:
        >>> format_score({"value": 0.5, "ci95": [0.25, 0.75]})
        '50.0 % [25.0, 75.0]'
    """
    if score["value"] is None:
        return "–"
    scale, unit, first, second = FORMATS.get(metric, (100, " %", 1, None))
    second = digits if second is None else second
    low, high = (scale * bound for bound in score["ci95"] or (0, 0))
    interval = f" [{low:.{second}f}, {high:.{second}f}]" if low < high else ""
    return f"{scale * score['value']:.{first}f}{unit}{interval}"


def describe_adapter(config: Mapping[str, object]) -> str:
    """`LoRA, rank 8, alpha 16 on all-linear`; a dash where the config does not say."""
    method = config.get("method", "lora" if "lora_r" in config else None)
    if method == "full":
        return "none: every weight is tuned"
    parts = [ADAPTERS.get(str(method), "–")]
    if method in ("lora", "adalora", "dora"):
        parts += [f"rank {config['lora_r']}", f"alpha {config.get('lora_alpha')}"]
    options = config.get("method_options") or []
    parts += [f"{name}={value}" for name, value in options.items()] if isinstance(options, dict) else options
    modules = config.get("target_modules") or config.get("lora_target_modules") or ["–"]
    on = f"{', '.join(parts)} on {modules if isinstance(modules, str) else ', '.join(modules)}"
    return f"{on}, base in {BITS[config['load_in']]}" if config.get("load_in") else on


def result_rows(summary: RunSummary, digits: int = 1) -> list[list[str]]:
    """The one table of a run: a row a metric, a column a run; `digits` as in `format_score`."""
    return [
        [TITLES[metric], *(format_score(metrics[metric], metric, digits) for metrics in summary.runs.values())]
        for metric in METRICS
    ]


def render(template: str, **values: object) -> str:
    """Text of a template of this folder; values are escaped where it is HTML."""
    environment = Environment(
        loader=PackageLoader("semantic_trainer.report"), autoescape=select_autoescape(["html.jinja"]), trim_blocks=True
    )
    return environment.get_template(template).render(**values)


def source_names(summary: RunSummary) -> list[str]:
    """The fact sets by name, without the folders they were read from."""
    return [Path(source).name for source in summary.config["facts"]]


def create_model_card(summary: RunSummary, base_model: str | None, name: str, note: str = "") -> str:
    """Text of the README.md of an adapter, or of a tuned model: metadata for the Hub, results with intervals, its use.

    Args:
        base_model: Hub id of the base, or `None` for a local one, which the Hub's metadata cannot name.
        name: title of the card.
        note: a sentence about the base model, if it needs one.
    """
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type="facts",
            dataset_name=", ".join(source_names(summary)),
            metric_type=metric,
            metric_name=f"{TITLES[metric]} ({score['protocol']})",
            metric_value=score["value"],
        )
        for metric, score in summary.runs["weighted"].items()
        if score["value"] is not None and metric in METRICS
    ]
    method = summary.config.get("method", "lora")
    data = ModelCardData(
        base_model=base_model,
        library_name="transformers" if method == "full" else "peft",
        pipeline_tag="text-generation",
        tags=["semantic-trainer", "knowledge-editing", method],
        model_name=name,
        eval_results=results,
    )
    protocol = summary.runs["weighted"]["knowledge_accuracy"]["protocol"]
    return render(
        "card.md.jinja",
        metadata=data.to_yaml(),
        name=name,
        sources=source_names(summary),
        shares=[f"{k.replace('_', ' ')} {100 * v:.1f} %" for k, v in summary.distances["shares"].items()],
        base_model=base_model or Path(summary.config["model"]).name,
        note=note,
        method=method,
        adapter=ADAPTERS.get(method, method),
        load_in=summary.config.get("load_in"),
        bits=BITS.get(summary.config.get("load_in") or ""),
        summary=summary,
        rows=result_rows(summary),
        protocol=protocol,
    )


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    write_atomically(path, text.encode())
