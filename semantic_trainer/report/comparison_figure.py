"""The figure of a comparison: one difference a metric, with its interval, about a line at zero."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from ..evaluation.comparison import Difference

EVIDENT, NOT_EVIDENT = "#4477aa", "#777777"


def differences_figure(differences: Mapping[str, Difference], a: str, b: str) -> Figure:
    """Forest plot of `b - a` in percentage points, the first metric at the top; filled where there is evidence.

    Args:
        differences: title of a metric -> its difference.
        a, b: what to call the two sides.
    """
    figure = Figure(figsize=(7.2, 1.3 + 0.55 * len(differences)), dpi=150, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.axvline(0, color="black", linewidth=1)
    for place, difference in enumerate(differences.values()):
        draw_difference(axes, place, difference)
    axes.set_yticks(range(len(differences)), [title.replace(" (", "\n(") for title in differences])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(differences) - 0.5, -0.6)
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(plain_text(f"{b} − {a}, percentage points (95 % intervals)"), wrap=True)
    return figure


def draw_difference(axes: object, place: int, difference: Difference) -> None:
    """One mark with its interval, and its numbers at the right; print without colour tells by the filling."""
    color = EVIDENT if difference.evident else NOT_EVIDENT
    value = 100 * difference.value
    low, high = (100 * bound for bound in difference.ci95 or (difference.value, difference.value))
    # the interval is not centred on the value, and rounding may leave it a hair outside
    errors = [[max(value - low, 0.0)], [max(high - value, 0.0)]]
    face = color if difference.evident else "white"
    axes.errorbar(value, place, xerr=errors, fmt="o", color=color, markerfacecolor=face, capsize=4, linewidth=1.8)
    words = difference.describe().removeprefix("no evidence of a difference (").removesuffix(")")
    axes.annotate(
        words,
        (1.02, place),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=8,
        color=color if difference.evident else "#555555",
    )


def plain_text(text: str) -> str:
    """Without matplotlib's mathematics: a folder may be called `$x$`."""
    return text.replace("$", r"\$")
