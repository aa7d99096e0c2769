"""The picture of a sweep: what an arm gains and loses as its one strength grows."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from ..facts.messages import counted
from .themes import Theme

Row = Mapping[str, object]
ACROSS = 3  # panels in a row


def strength_figure(rows: Sequence[Row], theme: Theme) -> Figure:
    """A panel a setting and kind: differences from the first arm against the strength, a line a metric.

    Args:
        rows: `{setting, reference, kind, metric, strength, value, ci_low, ci_high, runs}`, values as fractions; bounds
            are `None` where there is no interval.
    """
    panels = list(dict.fromkeys((row["setting"], row["kind"]) for row in rows))
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(2.4 * across + 0.6, 2.3 * down + 0.6), layout="constrained")
    axes = figure.subplots(down, across, sharey=True, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, panel in zip(axes.flat, panels, strict=False):
        _panel(axis, [row for row in rows if (row["setting"], row["kind"]) == panel], metrics, theme)
    for line in axes:
        line[0].set_ylabel("less the first arm, points")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(metrics))
    return figure


def _panel(axis: object, rows: Sequence[Row], metrics: Sequence[str], theme: Theme) -> None:
    """One kind: strengths at equal distances, since they may be of several magnitudes."""
    strengths = sorted({row["strength"] for row in rows})
    axis.axhline(0, color=theme.soft, linewidth=1)
    for i, metric in enumerate(metrics):
        points = [row for row in rows if row["metric"] == metric]
        x = [strengths.index(row["strength"]) + 0.08 * (i - (len(metrics) - 1) / 2) for row in points]
        y = [100 * row["value"] for row in points]
        bounds = [(row["ci_low"], row["ci_high"]) for row in points]
        errors = [
            (float("nan"),) * 2 if low is None else (v - 100 * low, 100 * high - v)
            for v, (low, high) in zip(y, bounds, strict=True)
        ]
        label, style = str(metric).replace("_", " "), theme.style(i)
        axis.errorbar(
            x, y, list(zip(*errors, strict=True)), label=label, capsize=2.5, markersize=5, linewidth=1.5, **style
        )
    axis.set_xticks(range(len(strengths)), [f"{strength:g}" for strength in strengths])
    axis.set_xlim(-0.3, len(strengths) - 0.7)
    runs = sorted({row["runs"] for row in rows})
    count = counted(runs[0], "pair") if len(runs) == 1 else f"{runs[0]} to {runs[-1]} pairs"
    title = f"{rows[0]['setting']}: {rows[0]['kind']}\nless {rows[0]['reference']} ({count})"
    axis.set_title(title, fontsize=8, parse_math=False)
    axis.set_xlabel("strength")
    axis.grid(True, axis="y")
