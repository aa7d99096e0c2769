"""The pictures of studies: what they say, where they have gaps, and that their colours can be told apart in grey."""

import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from semantic_trainer.report.feature_figure import feature_figure
from semantic_trainer.report.study_figures import distance_figure, replacement_figure, run_figure
from semantic_trainer.report.themes import DARK, LIGHT, LINES, MARKERS, THEMES, Theme, save_themes


def luminance(color: str) -> float:
    """Relative luminance (WCAG 2)."""
    c = np.array(to_rgb(color))
    return float(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


def lightness(color: str) -> float:
    """L* of CIELAB, from 0 to 100: what is left of a colour in grey."""
    return 116 * luminance(color) ** (1 / 3) - 16


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark"])
def test_series_can_be_told_apart_in_grey_and_from_the_page(theme: Theme) -> None:
    apart = [abs(lightness(a) - lightness(b)) for a, b in itertools.combinations(theme.series, 2)]
    assert min(apart) > 7
    assert abs(lightness(theme.series[0]) - lightness(theme.series[1])) > 35  # most figures have two or three
    assert min(contrast(color, theme.page) for color in theme.series) >= 3  # WCAG 2.2, 1.4.11
    assert min(contrast(color, theme.page) for color in (theme.ink, theme.soft)) >= 4.5
    assert len(set(MARKERS)) == len(set(LINES)) == len(theme.series) == 6


def test_more_series_than_colours_still_look_different() -> None:
    styles = [LIGHT.style(i) for i in range(36)]
    assert len({(style["color"], style["marker"]) for style in styles}) == 36
    many = rows(**{f"setting-{i}, arm": [0.1, 0.2, None] for i in range(14)})
    figure = distance_figure(many, LIGHT)
    figure.draw_without_rendering()
    box = figure.axes[0].get_legend().get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert box.y1 <= figure.bbox.height


def test_a_metric_without_values_says_so() -> None:
    figure = distance_figure(rows(lora=[None, None, None]), LIGHT)
    assert "none" in texts(figure)
    assert figure.axes[0].get_ylim()[1] == 100


def rows(**series: list[float | None]) -> list[dict]:
    """Three bins of each series; the values are shares of 10 facts."""
    found = []
    for name, values in series.items():
        for i, value in enumerate(values):
            n = 0 if value is None else 10
            bounds = (
                {"ci_low": None, "ci_high": None} if value is None else {"ci_low": value - 0.1, "ci_high": value + 0.1}
            )
            edges = {"low": i / 10, "high": (i + 1) / 10}
            found.append({"series": name, "metric": "knowledge_accuracy", **edges, "value": value, **bounds, "n": n})
    return found


def texts(figure: object) -> str:
    figure.draw_without_rendering()
    found = [t.get_text() for axes in figure.axes for t in axes.findobj(lambda a: hasattr(a, "get_text"))]
    return "\n".join([*found, *(t.get_text() for legend in figure.legends for t in legend.get_texts())])


def test_empty_bins_are_gaps_and_counts_stand_below() -> None:
    figure = distance_figure(rows(lora=[0.2, None, 0.4], full=[0.6, 0.5, 0.4]), LIGHT)
    top, counts = figure.axes
    lines = {c.get_label(): c.lines[0] for c in top.containers}
    assert np.isnan(lines["lora"].get_ydata()).tolist() == [False, True, False]
    assert lines["full"].get_ydata().tolist() == [60, 50, 40]
    assert [t.get_text() for t in counts.texts] == ["10", "0", "10", "10", "10", "10"]
    found = texts(figure)
    for said in ("knowledge accuracy, %", "target semantic distance before training", "0.2 and above", "lora", "full"):
        assert said in found


def test_one_panel_a_metric() -> None:
    both = [
        row | {"metric": metric} for metric in ("deviation", "relative_deviation") for row in rows(lora=[0.2, 1.5])
    ]
    figure = distance_figure(both, LIGHT)
    assert len(figure.axes) == 4
    assert "facts that moved away, %" in texts(figure)
    assert figure.axes[2].get_ylim()[1] > 150
    assert figure.axes[0].get_ylim()[1] <= 103


def test_names_may_hold_dollars() -> None:
    assert r"a \$x\$ b" in texts(distance_figure(rows(**{"a $x$ b": [0.1, 0.2, 0.3]}), LIGHT))


RUNS = [
    {"series": "zsre", "group": "near" if i < 5 else "far", "n": 100, "value": 0.5 - 0.02 * i}
    | {"mean_distance": 0.1 * i, "distance_variance": 0.01 * (i % 3)}
    for i in range(10)
]


def test_runs_say_their_correlation_and_how_many_they_are() -> None:
    figure = run_figure(RUNS, LIGHT)
    found = texts(figure)
    for said in ("near (5)", "far (5)", "ρ = −1.00, p < 0.001, n = 10 runs", "mean distance of a run's facts"):
        assert said in found
    assert "runs of 100 facts" in figure.legends[0].get_title().get_text()
    assert "n = 2 runs" in texts(run_figure(RUNS[:2], DARK))


REPLACED = [
    {"setting": "zsre", "series": kind, "part": part, "share": share, "runs": 5}
    | {"value": 0.2 + 0.1 * share, "ci_low": 0.1, "ci_high": 0.4}
    for kind in ("filter", "random_filter")
    for part in ("original", "kept", "trained")
    for share in (0.0, 0.6)
]


def test_replacement_has_a_panel_a_set_of_facts() -> None:
    figure = replacement_figure(REPLACED, LIGHT)
    assert len(figure.axes) == 3
    found = texts(figure)
    for said in (
        "replaced by Eq. 4",
        "replaced at random",
        "zsre: original facts\n(5 runs a point)",
        "facts replaced, %",
    ):
        assert said in found


POINTS = [{"group": g, "run": 0, "fact_id": f"{i}", "pc1": i, "pc2": -i} for g in ("short", "long") for i in range(4)]
ALONG = [
    {
        "group": g,
        "n": 4,
        "component": k + 1,
        "explained": 0.5 / (k + 1),
        "deviation": 2.0,
        "spread": 3.25,
        "dimensions": 1.5,
    }
    for g in ("short", "long")
    for k in range(3)
]


def test_features_say_spread_directions_and_explained_variance() -> None:
    figure = feature_figure(POINTS, ALONG, LIGHT)
    found = texts(figure)
    for said in ("short (n=4): spread 3.25, 1.5 directions", "component 1 (50 % of variance)", "3\n17"):
        assert said in found


def test_no_group_of_features_covers_another() -> None:
    """Points are drawn a few of each group in turn, and no group is the last of its turn more often."""
    names, rng = ("short", "medium", "long"), np.random.default_rng(0)
    points = [{"group": g, "pc1": x, "pc2": y} for g in names for x, y in rng.standard_normal((600, 2))]
    along = [{**row, "group": g} for g in names for row in ALONG[:3]]
    drawn = feature_figure(points, along, LIGHT).axes[0].collections
    order = [LIGHT.series.index(to_hex(c.get_facecolor()[0])) for c in drawn]
    turns = [order[i : i + 3] for i in range(0, len(order), 3)]
    assert all(sorted(turn) == [0, 1, 2] for turn in turns)
    last = [turn[-1] for turn in turns]
    assert max(map(last.count, range(3))) - min(map(last.count, range(3))) <= 1
    shown = np.concatenate([c.get_offsets() for c in drawn])
    wanted = np.array([(row["pc1"], row["pc2"]) for row in points])
    assert np.array_equal(np.sort(shown, axis=0), np.sort(wanted, axis=0))


def test_an_ellipse_is_two_deviations_around_the_mean() -> None:
    points = [{"group": "a", "pc1": 5 + x, "pc2": 1 + y} for x, y in ((-3, 0), (3, 0), (0, 1), (0, -1))]
    along = [{**row, "group": "a", "n": 4} for row in ALONG[:2]]
    (line,) = feature_figure(points, along, LIGHT).axes[0].lines
    x, y = line.get_data()
    assert (x.min(), x.max()) == pytest.approx((5 - 2 * 4.5**0.5, 5 + 2 * 4.5**0.5), abs=1e-3)
    assert (y.min(), y.max()) == pytest.approx((1 - 2 * 0.5**0.5, 1 + 2 * 0.5**0.5), abs=1e-3)


@pytest.mark.parametrize(
    "draw",
    [
        partial(distance_figure, rows(lora=[0.2, None, 0.4])),
        partial(run_figure, RUNS),
        partial(replacement_figure, REPLACED),
        partial(feature_figure, POINTS, ALONG),
    ],
    ids=["distance", "runs", "replacement", "features"],
)
def test_each_is_written_for_print_and_for_a_dark_page(draw: partial, tmp_path: Path) -> None:
    written = save_themes(draw, tmp_path / "a" / "figure.png")
    assert [path.name for path in written] == ["figure.png", "figure.svg", "figure-dark.png"]
    for path, theme in ((written[0], LIGHT), (written[2], DARK)):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        page = np.round(np.array(to_rgb(theme.page)) * 255).astype(np.uint8)
        corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert (corners == page).all()  # nothing is cut off there, and the page's colour is everywhere
        assert 0.005 < (pixels != page).any(-1).mean() < 0.5
    before = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in save_themes(draw, tmp_path / "a" / "figure.png")] == before
