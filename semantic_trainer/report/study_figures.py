"""Pictures of a study's tidy data: one function a figure of the paper, from rows to a matplotlib figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from ..facts.messages import counted
from .comparison_figure import plain_text
from .themes import Theme

Row = Mapping[str, object]
LABELS = {
    "knowledge_accuracy": "knowledge accuracy, %",
    "deviation": "facts that moved away, %",
    "relative_deviation": "how far, relative to before, %",
}
DISTANCE = "target semantic distance before training"


def distance_figure(rows: Sequence[Row], theme: Theme) -> Figure:
    """Figs. 3, 4 and 8: a panel a metric against distance, a line a series with 95 % intervals; n stands below.

    Args:
        rows: `{series, metric, low, high, value, ci_low, ci_high, n}`; where value is `None`, the line has a gap.
    """
    metrics, series = (list(dict.fromkeys(row[key] for row in rows)) for key in ("metric", "series"))
    strip = 0.15 * len(series)  # inches of the counts
    heights = [2.9 if len(metrics) == 1 else 2.2] * len(metrics)
    figure = _figure(
        7.2, sum(heights) + (strip + 0.25) * len(metrics) + 0.5 + 0.2 * -(-len(series) // _columns(series))
    )
    ratios = [part for height in heights for part in (height, strip)]
    axes = figure.subplots(2 * len(metrics), 1, gridspec_kw={"height_ratios": ratios})
    for k, metric in enumerate(metrics):
        top, counts = axes[2 * k], axes[2 * k + 1]
        for i, name in enumerate(series):
            points = [row for row in rows if (row["metric"], row["series"]) == (metric, name)]
            _line(top, points, i, len(series), name, theme)
            _counts(counts, points, i, theme)
        edges = [points[0]["low"], *(row["high"] for row in points)]
        for panel in (top, counts):
            panel.set_xlim(edges[0], edges[-1])
            panel.set_xticks(edges)
        _scale(top, LABELS.get(metric, metric), theme)
        top.tick_params(labelbottom=False)
        _strip(counts, len(series), last=k == len(metrics) - 1)
        if k == len(metrics) - 1:
            counts.set_xlabel(f"{DISTANCE} (last bin: {edges[-2]:g} and above; n: facts)")
    _legend(axes[0], series)
    return figure


def run_figure(rows: Sequence[Row], theme: Theme) -> Figure:
    """Fig. 6: accuracy of each run against mean and variance of its distances, with Spearman's rank correlation.

    Args:
        rows: `{series, group, mean_distance, distance_variance, n, value}` a run; a mark for each group, and where
            there are several series, for each of theirs.
    """
    figure = _figure(7.2, 3.9)
    axes = figure.subplots(1, 2, sharey=True)
    several = len({row["series"] for row in rows}) > 1
    names = [f"{row['series']}, {row['group']}" if several else str(row["group"]) for row in rows]
    labels = {"mean_distance": "mean distance of a run's facts", "distance_variance": "variance of its distances"}
    y = _percent([row["value"] for row in rows])
    for panel, (column, label) in zip(axes, labels.items(), strict=True):
        x = np.array([row[column] for row in rows], dtype=float)
        for i, name in enumerate(dict.fromkeys(names)):
            mine = np.array([other == name for other in names])
            style = {k: v for k, v in theme.style(i).items() if k != "linestyle"}
            panel.scatter(
                x[mine], y[mine], s=38, label=f"{name} ({mine.sum()})", linewidths=0.7, edgecolors=theme.page, **style
            )
        panel.set_xlabel(label)
        panel.set_title(_correlation(x, y), fontsize=9, color=theme.soft)
        panel.grid(True, axis="y")
    sizes = sorted({int(row["n"]) for row in rows})
    facts = f"{sizes[0]} facts" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} facts"
    _scale(axes[0], LABELS["knowledge_accuracy"], theme)
    handles, found = axes[0].get_legend_handles_labels()
    title = f"runs of {facts}"
    figure.legend(handles, found, loc="outside upper center", ncols=_columns(found), title=title, handletextpad=0.2)
    return figure


def replacement_figure(rows: Sequence[Row], theme: Theme) -> Figure:
    """Fig. 7: accuracy against the share of facts replaced: a row a setting, a column a set of facts that is scored.

    Args:
        rows: `{setting, series, part, share, value, ci_low, ci_high, runs}`.
    """
    names = {"filter": "replaced by Eq. 4", "random_filter": "replaced at random"}
    titles = {
        "original": "original facts",
        "kept": "original facts that were kept",
        "trained": "facts that were trained",
    }
    settings, parts, series = (list(dict.fromkeys(row[key] for row in rows)) for key in ("setting", "part", "series"))
    figure = _figure(3.0 * len(parts), 2.7 * len(settings) + 0.7)
    axes = figure.subplots(len(settings), len(parts), sharex=True, sharey=True, squeeze=False)
    for down, setting in enumerate(settings):
        for across, part in enumerate(parts):
            panel = axes[down, across]
            for i, name in enumerate(series):
                keys = setting, part, name
                points = [row for row in rows if (row["setting"], row["part"], row["series"]) == keys]
                x = np.array([100 * row["share"] for row in points]) + 2 * (i - (len(series) - 1) / 2)
                _errorbar(panel, x, points, names.get(name, name), theme.style(i))
            runs = sorted({row["runs"] for row in rows if row["setting"] == setting})
            count = counted(runs[0], "run") if len(runs) == 1 else f"{runs[0]} to {runs[-1]} runs"
            panel.set_title(f"{setting}: {titles.get(part, part)}\n({count} a point)", fontsize=8, parse_math=False)
            panel.grid(True, axis="y")
            panel.set_xlim(-4, 104)
            if down == len(settings) - 1:
                panel.set_xlabel("facts replaced, %")
        _scale(axes[down, 0], LABELS["knowledge_accuracy"], theme)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(series))
    return figure


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _percent(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else 100 * value for value in values], dtype=float)


def _line(axes: object, points: Sequence[Row], i: int, of: int, name: str, theme: Theme) -> None:
    """One series against the middle of its bins, beside the others of the bin."""
    width = points[0]["high"] - points[0]["low"]
    x = np.array([(row["low"] + row["high"]) / 2 for row in points]) + (i - (of - 1) / 2) * min(0.12, 0.6 / of) * width
    _errorbar(axes, x, points, name, theme.style(i))


def _errorbar(axes: object, x: np.ndarray, points: Sequence[Row], name: str, style: Mapping) -> None:
    """Values with intervals, in per cent; the line breaks where there is no value."""
    y, low, high = (_percent([row[key] for row in points]) for key in ("value", "ci_low", "ci_high"))
    errors = np.nan_to_num(np.clip([y - low, high - y], 0, None))  # no bars where there is no interval
    label = plain_text(name)
    parts = axes.errorbar(x, y, errors, label=label, capsize=2.5, markersize=5, linewidth=1.5, elinewidth=1, **style)
    for bar in parts[2]:
        bar.set_alpha(0.7)


def _counts(axes: object, points: Sequence[Row], i: int, theme: Theme) -> None:
    """A line of counts under the bins, behind the series' mark; an empty bin says 0."""
    style = theme.style(i) | {"linestyle": "", "markersize": 4, "clip_on": False}
    axes.plot([-0.015], [i], transform=axes.get_yaxis_transform(), **style)
    for row in points:
        x = (row["low"] + row["high"]) / 2
        color = theme.ink if row["n"] else theme.soft
        axes.text(x, i, str(row["n"]), ha="center", va="center", fontsize=7, color=color)


def _strip(axes: object, lines: int, last: bool) -> None:
    """The look of the panel that holds counts."""
    axes.set_ylim(lines - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(axis="x", length=0, labelbottom=last, labelsize=8)
    axes.set_ylabel("n", rotation=0, va="center", labelpad=20)


def _scale(axes: object, label: str, theme: Theme) -> None:
    """A y axis in per cent from 0, to no more than 100 where that is the most there can be."""
    axes.set_ylabel(label)
    axes.grid(True, axis="y")
    found = [row[~np.isnan(row)] for row in (np.asarray(line.get_ydata(), float) for line in axes.lines)]
    if axes.containers and not any(map(len, found)):
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center", color=theme.soft)
        axes.set_ylim(0, 100)
    top = axes.get_ylim()[1]
    if "relative" not in label:
        top = min(top, 103)
    axes.set_ylim(-0.03 * top, top)


def _columns(names: Sequence[str]) -> int:
    """How many names of this length stand beside each other in a legend, with rows of about one length."""
    fit = max(1, min(len(names), 75 // (max(map(len, names)) + 8)))
    return -(-len(names) // -(-len(names) // fit))


def _legend(axes: object, names: Sequence[str]) -> None:
    if len(names) > 1:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=_columns(names), handlelength=3)
    else:
        axes.set_title(axes.get_legend_handles_labels()[1][0], fontsize=9)


def _correlation(x: np.ndarray, y: np.ndarray) -> str:
    """Spearman's rank correlation in words, where there is one."""
    known = ~np.isnan(y)
    if known.sum() < 3 or np.ptp(x[known]) == 0 or np.ptp(y[known]) == 0:
        return f"n = {known.sum()} runs"
    found = stats.spearmanr(x[known], y[known])
    p = "p < 0.001" if found.pvalue < 0.001 else f"p = {found.pvalue:.3f}"
    return f"Spearman's ρ = {found.statistic:+.2f}, {p}, n = {known.sum()} runs".replace("-", "−")
