"""Figures of a run, from its per-fact tables: distances before training, accuracy and deviation against distance."""

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset
from matplotlib.figure import Figure

from ..evaluation.breakdown import BINS, binned
from ..evaluation.statistics import score
from ..files import write_atomically
from .summary import describe_distances

DISTANCES_FILE = "distances.png"
SHOWN_RELATIONS, SHOWN_LETTERS = 40, 40
COLORS = {"before": "#7f7f7f", "plain": "#4477aa", "weighted": "#ee6677"}


def _figure() -> tuple[Figure, object]:
    figure = Figure(figsize=(6.4, 4.0), dpi=150, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("target semantic distance before training")
    return figure, axes


def share_against_distance(tables: Mapping[str, Dataset], column: str, label: str) -> Figure:
    """Share of facts by distance bin with 95 % Wilson intervals and counts, one line a run; empty bins are gaps."""
    figure, axes = _figure()
    shift = (BINS[1] - BINS[0]) * 0.1
    for i, (run, table) in enumerate(tables.items()):
        points = binned(table["distance"][:], table[column][:])
        x = np.array([(p["low"] + p["high"]) / 2 for p in points]) + (i - (len(tables) - 1) / 2) * shift
        y = np.array([np.nan if p["value"] is None else p["value"] for p in points])
        low = np.array([np.nan if p["ci95"] is None else p["ci95"][0] for p in points])
        high = np.array([np.nan if p["ci95"] is None else p["ci95"][1] for p in points])
        errors = np.clip([y - low, high - y], 0, None)
        axes.errorbar(x, y, errors, marker="o", capsize=3, label=run, color=COLORS.get(run), linewidth=1.5)
    for p in points:
        axes.annotate(f"n={p['n']}", ((p["low"] + p["high"]) / 2, 1.04), ha="center", fontsize=8, color="#555555")
    axes.set(ylim=(-0.04, 1.1), xlim=(BINS[0], BINS[-1]), ylabel=label)
    axes.set_xticks(BINS)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(tables))
    return figure


def generality_by_relation(relations: Sequence[str | None], tables: Mapping[str, Dataset]) -> Figure:
    """Mean generality of each relation, one mark a run, the least learnt at the top; few facts, no intervals.

    Where there are more than 40 relations, the 40 with most facts.

    Facts of one relation with exchanged answers interfere with each other (section 2.3 of the paper): here is where.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for i, relation in enumerate(relations):
        groups[relation or "none"].append(i)
    means = {
        run: {name: score([rows[i] for i in group], "")["value"] for name, group in groups.items()}
        for run, rows in ((run, table["generality"][:]) for run, table in tables.items())
    }
    first = next(iter(means.values()))
    scored = [name for name in groups if first[name] is not None]
    largest = sorted(scored, key=lambda name: -len(groups[name]))[:SHOWN_RELATIONS]  # a picture has to end somewhere
    order = sorted(largest, key=first.get, reverse=True)
    figure = Figure(figsize=(6.4, 1.2 + 0.22 * len(order)), dpi=150, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    for i, (run, found) in enumerate(means.items()):
        y = np.arange(len(order)) + (i - (len(means) - 1) / 2) * 0.3
        axes.scatter([found[name] for name in order], y, label=run, color=COLORS.get(run), s=25)
    short = [name if len(name) <= SHOWN_LETTERS else name[: SHOWN_LETTERS - 1] + "…" for name in order]
    names = [f"{label} (n={len(groups[name])})" for label, name in zip(short, order, strict=True)]
    axes.set_yticks(range(len(order)), names, parse_math=False)  # a "$" in a relation is a dollar
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set(xlim=(-0.04, 1.04), xlabel="generality")
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(means))
    return figure


def distance_histogram(histogram: Mapping[str, Sequence]) -> Figure:
    """Histogram of raw distances, known facts apart.

    Args:
        histogram: `edges`, and between them the counts `known` and `unknown`, as `describe_distances` gives them.
    """
    figure, axes = _figure()
    edges, known, unknown = (np.asarray(histogram[name]) for name in ("edges", "known", "unknown"))
    axes.bar(edges[:-1], unknown, np.diff(edges), align="edge", color="#4477aa")
    axes.bar(edges[:-1], known, np.diff(edges), unknown, align="edge", color="#b07a1e")
    labels = [f"not known yet ({unknown.sum()})", f"known already ({known.sum()})"]
    axes.legend(labels, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    axes.axvline(1.0, color="#999999", linewidth=1, linestyle="--")
    axes.set_ylabel("facts")
    axes.yaxis.get_major_locator().set_params(integer=True)
    return figure


def learnt_by_epoch(tables: Mapping[str, Dataset]) -> Figure:
    """Share of facts whose target had become the certain answer by each epoch's training step, one line a run."""
    figure, axes = _figure()
    epochs = 1
    for run, table in tables.items():
        first = np.array([np.inf if epoch is None else epoch for epoch in table["first_learnt"][:]])
        epochs = max(epochs, *map(len, table["losses"][:]))
        x = np.arange(1, epochs + 1)
        axes.plot(x, [(first <= epoch).mean() for epoch in x], marker="o", label=run, color=COLORS.get(run))
    axes.set(ylim=(-0.04, 1.04), xlim=(0.7, epochs + 0.3), xlabel="epoch", ylabel="share of facts learnt by then")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(tables))
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_atomically(path, buffer.getvalue())
    return path


def draw_run(folder: Path, facts: Dataset, tables: Mapping[str, Dataset]) -> list[Path]:
    """The figures of one run, in `folder/figures`."""
    tuned = {run: table for run, table in tables.items() if run != "before"}
    figures = {
        DISTANCES_FILE: distance_histogram(describe_distances(facts)["histogram"]),
        "accuracy_against_distance.png": share_against_distance(tables, "knowledge_accuracy", "knowledge accuracy"),
        "deviation_against_distance.png": share_against_distance(tuned, "deviation", "share that moved away"),
    }
    if all("first_learnt" in table.column_names for table in tuned.values()):
        figures["learnt_by_epoch.png"] = learnt_by_epoch(tuned)
    if "relation" in facts.column_names and any(facts["relation"][:]):
        figures["generality_by_relation.png"] = generality_by_relation(facts["relation"][:], tuned)
    return [save_figure(figure, folder / "figures" / name) for name, figure in figures.items()]
