"""The picture of a filter's plan: distances before and after, and Eq. 4's mean and spread along the way."""

import numpy as np
from matplotlib.figure import Figure

from ..distance.filter_plan import FilterPlan

BEFORE, AFTER = "#7f7f7f", "#4477aa"
MEAN, SPREAD, BOUND = "#4477aa", "#b8502e", "#999999"
BINS = 24


def filter_figure(plan: FilterPlan, before: np.ndarray, after: np.ndarray) -> Figure:
    """Histograms of both sets, and mean and spread against the share replaced, with the mean's bounds.

    Args:
        before, after: (n,) distances of the training set without and with the plan.
    """
    figure = Figure(figsize=(9.6, 4.0), dpi=150, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    _histograms(left, before, after)
    _trace(right, plan)
    return figure


def _histograms(axes: object, before: np.ndarray, after: np.ndarray) -> None:
    edges = np.linspace(0.0, max(1.2, float(max(before.max(), after.max())) + 1e-9), BINS + 1)
    axes.hist(after, edges, color=AFTER, alpha=0.75, label=f"after (mean {after.mean():.2f})")
    axes.hist(before, edges, histtype="step", color="black", linewidth=1.3, label=f"before (mean {before.mean():.2f})")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlabel="target semantic distance", ylabel="facts")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def _trace(axes: object, plan: FilterPlan) -> None:
    share = 100 * np.arange(len(plan) + 1) / plan.sizes["train"]
    spread = plan.settings["spread"].replace("std", "standard deviation")
    other = axes.twinx()
    (line,) = axes.plot(share, plan.mean, color=MEAN, linewidth=1.8)
    (second,) = other.plot(share, plan.spread, color=SPREAD, linewidth=1.8, linestyle="--")
    bounds = [bound for bound in plan.settings["mean_range"] if bound is not None]
    for bound in bounds:
        axes.axhline(bound, color=BOUND, linewidth=1, linestyle=":")
    lines, labels = [line, second], ["mean", spread]
    if bounds:
        lines.append(axes.lines[-1])
        labels.append("bounds of the mean")
    axes.set(xlabel="facts replaced, %", ylabel="mean distance", xlim=(0, max(100 * plan.wanted_share, 1)))
    axes.yaxis.label.set_color(MEAN)
    other.set_ylabel(spread, color=SPREAD)
    other.set_ylim(bottom=0)
    for side in (axes, other):
        side.spines["top"].set_visible(False)
    if plan.reached_share < plan.wanted_share and len(plan):
        axes.axvline(share[-1], color=BOUND, linewidth=1)
        axes.annotate(
            f"ended: {plan.stopped}",
            (share[-1], 0.5),
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=8,
            color="#555555",
        )
    axes.legend(lines, labels, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(lines))
