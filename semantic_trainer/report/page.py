"""The HTML page of a run: one file, with nothing to fetch; every number in its tables is the summary's."""

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import numpy as np
from datasets import Dataset
from markupsafe import Markup

from ..answers.known import LABELS
from ..evaluation.evaluator import METRICS
from ..evaluation.statistics import score
from ..evaluation.table import BESIDE
from .explanations import CAPTIONS, MEANINGS, SELF_PACED_CAPTIONS
from .page_data import page_data, to_island
from .scores import (
    FORMATS,
    TITLES,
    describe_adapter,
    describe_weighting,
    format_score,
    name_weights,
    render,
    source_names,
)
from .summary import RUNS, RunSummary
from .verdict import create_verdict, paired_differences

SCRIPTS, STYLE = ("table.js", "report.js"), "report.css"
SHOWN = 200  # facts that were not learnt


def create_report(summary: RunSummary, table: Dataset, figures: list[Path], warnings: list[str]) -> str:
    """One self-contained HTML page: the verdict, the tables, the figures, and every fact with its answers.

    Args:
        table: one row a fact, as in `facts.parquet`.
        figures: PNG files.
        warnings: what to say above the results, as `distance_warnings` gives it.
    """
    script = "\n".join(_template(name) for name in SCRIPTS)
    style = _template(STYLE)
    differences = paired_differences(table)
    captions = CAPTIONS | (SELF_PACED_CAPTIONS if summary.config.get("weighting") == "self_paced" else {})
    return render(
        "report.html.jinja",
        summary=summary,
        policy=content_policy(script, style),
        script=Markup(script),
        style=Markup(style),
        data=to_island(page_data(table)),
        title=f"{summary.facts['taught']} facts taught to {model_name(summary)}",
        verdict=create_verdict(summary, differences),
        about=about(summary),
        weights=name_weights(summary.config),
        results=[result_row(summary, metric, differences.get(metric)) for metric in METRICS],
        beside=[result_row(summary, metric, None) for metric in BESIDE],
        pictures=[_picture(path, captions) for path in figures],
        labels=known_labels(table),
        missed=not_learnt(table),
        warnings=warnings,
        sources=source_names(summary),
    )


def _template(name: str) -> str:
    return resources.files("semantic_trainer.report").joinpath("templates", name).read_text(encoding="utf-8")


def content_policy(script: str, style: str) -> str:
    """Content-Security-Policy: nothing is fetched, and nothing runs but this script."""
    script_hash, style_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)
    )
    return (
        f"default-src 'none'; img-src data:; script-src 'sha256-{script_hash}'; style-src 'sha256-{style_hash}'; "
        "base-uri 'none'; form-action 'none'"
    )


def model_name(summary: RunSummary) -> str:
    """The base model, without the folders it was read from."""
    model = str(summary.config["model"])
    return Path(model).name if Path(model).is_absolute() else model


def about(summary: RunSummary) -> list[tuple[str, str]]:
    """What was run, as pairs of name and value; what the config does not say is a dash."""
    config = summary.config
    shots = len(config.get("shots") or ())
    return [
        ("Model", model_name(summary)),
        ("Adapter", describe_adapter(config)),
        ("Facts", f"{summary.facts['taught']} from {', '.join(source_names(summary))}"),
        ("Prompt format", f"{config.get('prompt_format', '–')} with {shots} shots"),
        ("Base weights", str(config.get("dtype", "–"))),
        ("Weighting", describe_weighting(config)),
        ("Seed", str(config.get("seed", "–"))),
    ]


def result_row(summary: RunSummary, metric: str, difference: Mapping[str, object] | None) -> dict[str, object]:
    """A row of a table: one cell a run, the difference of the arms, and each run's protocol."""
    none = {"value": None, "ci95": None, "n": 0, "protocol": "not measured by the version that ran this"}
    scores = {run: summary.runs[run].get(metric, none) for run in RUNS}
    protocols: dict[str, list[str]] = {}
    for run, found in scores.items():
        protocols.setdefault(found["protocol"], []).append(f"{run} n = {found['n']}")
    return {
        "name": metric,
        "title": TITLES[metric],
        "meaning": MEANINGS[metric],
        "cells": {run: _cell(found, metric) for run, found in scores.items()},
        "difference": _difference(difference),
        "protocols": {protocol: ", ".join(runs) for protocol, runs in protocols.items()},
        "more": _more(scores["weighted"]),
    }


def _cell(found: Mapping[str, object], metric: str) -> dict[str, object]:
    """A score's text, value and interval apart, and where to draw them on a line from 0 to 100."""
    value, bracket, interval = format_score(found, metric).partition(" [")
    drawn = metric not in FORMATS and found["value"] is not None
    ends = found["ci95"] or (found["value"], found["value"])
    strip = [round(100 * x, 1) for x in (ends[0], found["value"], ends[1])] if drawn else None
    return {"value": value, "interval": bracket.strip() + interval, "strip": strip}


def _difference(found: Mapping[str, object] | None) -> dict[str, object]:
    """A difference of the arms in points, with its sign."""
    if found is None or found["value"] is None:
        return {"value": "–", "interval": "", "strip": None}
    cell = _cell(found, "leak_gap")
    return cell | {"value": f"+{cell['value']}" if found["value"] > 0 else cell["value"]}


def _more(found: Mapping[str, object]) -> list[str]:
    """What the weighted run's score says beside its value."""
    out = []
    if found.get("truncated") is not None:
        out.append(f"{100 * found['truncated']:.1f} % of the new answers were cut off by max_new_tokens")
    if found.get("undefined") is not None:
        out.append(f"{found['undefined']} facts have no relative deviation (distance 0 before)")
    for name in ("signed_mean", "median"):
        if found.get(name) is not None:
            out.append(f"{name.replace('_', ' ')} over all facts that have one {found[name]:.2f}")
    return out


def _picture(path: Path, captions: Mapping[str, str]) -> dict[str, str]:
    title = path.stem.replace("_", " ").capitalize()
    data = base64.b64encode(path.read_bytes()).decode()
    return {"title": title, "caption": captions.get(path.stem, ""), "data": data}


def known_labels(table: Dataset) -> list[dict[str, object]]:
    """How much each known label's facts differ: number, mean distance, accuracy of each run with its interval."""
    if "known_label" not in table.column_names:
        return []
    labels, distance, rows = np.asarray(table["known_label"][:]), np.asarray(table["distance"][:]), []
    for label in (name for name in LABELS if (labels == name).any()):
        chosen = labels == label
        cells = {}
        for run in RUNS:
            values = np.asarray(table[f"{run}_knowledge_accuracy"][:])[chosen]
            cells[run] = _cell(score([[value] for value in values], ""), "knowledge_accuracy")
        distances = f"{distance[chosen].mean():.3f}"
        rows.append({"title": label.replace("_", " "), "n": int(chosen.sum()), "distance": distances, "cells": cells})
    return rows


def not_learnt(table: Dataset) -> list[dict[str, object]]:
    """Facts that an arm does not answer as taught, those of both arms first, with what may be why; at most 200."""
    names = [f"{arm}_{name}" for arm in RUNS[1:] for name in ("answer", "knowledge_accuracy", "why_not")]
    if not {*names, "prompt", "target"} <= set(table.column_names):
        return []
    rows = []
    for row in table.select_columns(["prompt", "target", *names]).to_list():
        wrong = {arm: not row[f"{arm}_knowledge_accuracy"] for arm in RUNS[1:]}
        if any(wrong.values()):
            cells = {arm: _missed(row, arm) if wrong[arm] else None for arm in wrong}
            rows.append({"prompt": row["prompt"], "target": row["target"], "arms": cells, "n": sum(wrong.values())})
    return sorted(rows, key=lambda row: -row["n"])[:SHOWN]


def _missed(row: Mapping[str, object], arm: str) -> dict[str, object]:
    return {"answer": row[f"{arm}_answer"], "why": row[f"{arm}_why_not"] or ["no reason found"]}
