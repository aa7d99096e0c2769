"""Two looks of a figure: on white, for print, and on a dark page. Their colours can be told apart in grey, too."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from ..files import write_atomically

MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))


@dataclass(frozen=True)
class Theme:
    """Colours of a figure.

    Attributes:
        suffix: of its file's name.
        page, ink, soft, line: background, text, less important text, grid.
        series: one colour a series, the lightness of each apart from all others'.
    """

    suffix: str
    page: str
    ink: str
    soft: str
    line: str
    series: tuple[str, ...]

    @property
    def settings(self) -> dict[str, object]:
        """Of matplotlib."""
        texts = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color", "legend.labelcolor")
        pages = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
        return {
            **dict.fromkeys(texts, self.ink),
            **dict.fromkeys(pages, self.page),
            "axes.edgecolor": self.soft,
            "grid.color": self.line,
            "grid.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "legend.frameon": False,
            "font.size": 9,
            "svg.hashsalt": "semantic-trainer",  # else the names within an SVG are random
            "svg.fonttype": "path",
        }

    def style(self, i: int) -> dict[str, object]:
        """Colour, marker and line of the i-th series: two of the first six differ in all three, two of 36 in some."""
        again = i + i // len(self.series)
        return {
            "color": self.series[i % len(self.series)],
            "marker": MARKERS[again % len(MARKERS)],
            "linestyle": LINES[again % len(LINES)],
        }


LIGHT = Theme(
    suffix="",
    page="#ffffff",
    ink="#1d2328",
    soft="#5b6670",
    line="#dfe3e6",
    series=("#132040", "#d97c1f", "#762d88", "#2f8d7d", "#bd2f3d", "#103f27"),
)
DARK = Theme(
    suffix="-dark",
    page="#14171a",
    ink="#e3e6e8",
    soft="#9aa5ae",
    line="#333a41",
    series=("#f3ebce", "#327ee2", "#f2b25a", "#b17be8", "#a3e0d4", "#e59386"),
)
THEMES = (LIGHT, DARK)


def save_themes(draw: Callable[[Theme], Figure], path: Path) -> list[Path]:
    """Write `NAME.png` and `NAME.svg` on white and `NAME-dark.png` for a dark page, each whole or not at all.

    The same data give the same bytes: no file has a date.

    Args:
        draw: theme -> figure.
        path: of the PNG on white.
    """
    written = []
    for theme in THEMES:
        for kind in ("png",) if theme.suffix else ("png", "svg"):
            buffer = io.BytesIO()
            with rc_context(theme.settings):
                metadata = {"Date": None} if kind == "svg" else None
                draw(theme).savefig(buffer, format=kind, dpi=150, metadata=metadata)
            written.append(path.with_name(f"{path.stem}{theme.suffix}.{kind}"))
            write_atomically(written[-1], buffer.getvalue())
    return written
