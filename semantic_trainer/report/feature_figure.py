"""The picture of Fig. 5: facts of several groups along principal components."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from .themes import Theme

Row = Mapping[str, object]
LAYERS = 20  # of points in a scatter


def feature_figure(points: Sequence[Row], components: Sequence[Row], theme: Theme) -> Figure:
    """Fig. 5: facts along the first two joint components, and each group's standard deviation along all of them.

    An ellipse is where a group's facts lie: two standard deviations around its mean.

    Args:
        points: `{group, pc1, pc2}` a fact.
        components: `{group, n, component, explained, deviation, spread, dimensions}` a group and component.
    """
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
    groups = list(dict.fromkeys(row["group"] for row in components))
    _clouds(left, [[(row["pc1"], row["pc2"]) for row in points if row["group"] == g] for g in groups], theme)
    for i, group in enumerate(groups):
        style = theme.style(i)
        along = [row for row in components if row["group"] == group]
        label = (
            f"{group} (n={along[0]['n']}): spread {along[0]['spread']:.3g}, {along[0]['dimensions']:.1f} directions"
        )
        x = [row["component"] for row in along]
        right.plot(x, [row["deviation"] for row in along], label=label, markersize=5, linewidth=1.5, **style)
    shares = [100 * row["explained"] for row in along]
    of_axis = [f"component {k + 1} ({share:.0f} % of variance)" for k, share in enumerate(shares[:2])]
    left.set(xlabel=of_axis[0], ylabel=of_axis[-1] if len(shares) > 1 else "")
    right.set_xticks(x, [f"{k}\n{share:.0f}" for k, share in zip(x, shares, strict=True)], fontsize=7.5)
    right.set(xlabel="joint component, and its share of the variance in %", ylabel="standard deviation of a group")
    right.set_ylim(bottom=0)
    for panel in (left, right):
        panel.grid(True)
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper center", ncols=min(2, len(groups)))
    return figure


def _clouds(axes: object, groups: Sequence[Sequence[tuple[float, float]]], theme: Theme) -> None:
    """Points of several groups, none of which covers the others, and an ellipse around each group."""
    clouds = [np.array(points, dtype=float) for points in groups]
    many = sum(map(len, clouds))
    size = float(np.clip(24 * (150 / many) ** 0.5, 3, 24))
    for k in range(LAYERS):  # a few points of each group in turn, each group at the bottom as often as on top
        for i in np.roll(range(len(clouds)), k):
            style = theme.style(i)
            look = {"color": style["color"], "marker": style["marker"], "edgecolors": theme.page}
            axes.scatter(*clouds[i][k::LAYERS].T, s=size, linewidths=size / 48, rasterized=many > 3000, **look)
    for i, cloud in enumerate(clouds):
        if len(cloud) > 2:
            _ellipse(axes, cloud, theme.style(i), theme, above=many > 150)


def _ellipse(axes: object, cloud: np.ndarray, style: Mapping, theme: Theme, above: bool) -> None:
    """The outline at two standard deviations of (n, 2) points around their mean, above them or below."""
    variances, directions = np.linalg.eigh(np.cov(cloud.T, ddof=0))
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)  # (200, 2)
    x, y = (cloud.mean(axis=0) + 2 * circle * np.sqrt(variances.clip(0)) @ directions.T).T
    halo = [withStroke(linewidth=4, foreground=theme.page)]
    look = {"color": style["color"], "linestyle": style["linestyle"], "zorder": 2 if above else 0.9}
    axes.plot(x, y, linewidth=2, path_effects=halo if above else None, **look)
