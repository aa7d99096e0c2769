"""The figure of a budget search: what each setting and each budget buys."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from .themes import Theme

LABELS = {"knowledge_accuracy": "knowledge accuracy, %", "generality": "generality, %"}


def budget_figure(trials: Sequence[Mapping], curve: Sequence[Mapping], theme: Theme) -> Figure:
    """A row a metric: at the left each setting against its learning rate, at the right the best ones against epochs.

    Args:
        trials, curve: rows of a `study.budget.Budget`.
    """
    figure = Figure(figsize=(7.6, 5.6), layout="constrained")
    axes = figure.subplots(len(LABELS), 2, sharey="row", width_ratios=[1.35, 1])
    arms = list(dict.fromkeys(row["arm"] for row in (*curve, *trials)))
    for (left, right), (metric, label) in zip(axes, LABELS.items(), strict=True):
        _against_rate(left, trials, arms, metric, theme)
        _against_epochs(right, curve, arms, metric, theme)
        left.set_ylabel(label)
        left.set_ylim(-3, 103)
        for panel in (left, right):
            panel.grid(True)
    axes[0, 0].set_title("every setting that was tried (the larger, the more runs)", fontsize=9)
    axes[0, 1].set_title("the best one with other budgets", fontsize=9)
    axes[-1, 0].set_xlabel("learning rate")
    axes[-1, 1].set_xlabel("epochs (seconds of training a run)")
    figure.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside upper center", ncols=len(arms))
    return figure


def _against_rate(axes: object, trials: Sequence[Mapping], arms: Sequence[str], metric: str, theme: Theme) -> None:
    rates = sorted({row["learning_rate"] for row in trials})
    for i, arm in enumerate(arms):
        mine = [row for row in trials if row["arm"] == arm]
        style = theme.style(i)
        axes.scatter(
            [row["learning_rate"] for row in mine],
            [100 * (row[metric]["value"] or 0) for row in mine],
            s=[14 + 14 * row["runs"] for row in mine],
            color=style["color"],
            marker=style["marker"],
            edgecolors=theme.page,
            linewidths=0.6,
            alpha=0.9,
        )
    axes.set_xscale("log")
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates], fontsize=7.5)
    axes.minorticks_off()


def _against_epochs(axes: object, curve: Sequence[Mapping], arms: Sequence[str], metric: str, theme: Theme) -> None:
    ticks = {}
    for i, arm in enumerate(arms):
        mine = sorted((row for row in curve if row["arm"] == arm), key=lambda row: row["epochs"])
        for row in mine:
            ticks.setdefault(row["epochs"], row["seconds"])
        values = [100 * (row[metric]["value"] or 0) for row in mine]
        axes.plot([row["epochs"] for row in mine], values, label=arm, markersize=5, linewidth=1.5, **theme.style(i))
    axes.set_xscale("log")
    axes.set_xticks(list(ticks), [f"{epochs:g}\n({seconds:.0f} s)" for epochs, seconds in ticks.items()], fontsize=7.5)
    axes.minorticks_off()
