"""How scores, methods and sources are written in any table, page or card."""

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape

from ..evaluation.evaluator import METRICS
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
WEIGHTS = {
    "self_paced": "self-paced weights",
    "constant": "one weight for all facts, the mean of the semantic-distance weights",
    "shuffled": "semantic-distance weights dealt out at random",
    "inverse": "inverse semantic-distance weights",
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


def describe_weighting(config: Mapping[str, object]) -> str:
    """`paper, gamma 1.0`; of self-paced weights, which have no gamma, what they have instead."""
    if config.get("weighting") == "self_paced":
        temperature, annealing = config.get("pacing_temperature", 1.0), config.get("pacing_annealing", "linear")
        return f"self_paced, temperature {temperature}, annealing {annealing}"
    return f"{config.get('weighting', '–')}, gamma {config.get('gamma', '–')}"


def name_weights(config: Mapping[str, object]) -> str:
    """What the weights of the weighted arm are."""
    return WEIGHTS.get(str(config.get("weighting")), "semantic-distance weights")


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
    """The fact sets by name: datasets on the Hub as they are, files without the folders they were read from."""
    online = tuple(summary.facts.get("datasets") or ())
    return [source if source.startswith(online) else Path(source).name for source in summary.config["facts"]]
