"""The paper's figures, and one of sweeps: tidy data as CSV, pictures for print and for a dark page, notes."""

import csv
import io
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..facts.messages import suggest
from ..files import write_atomically
from ..report import study_figures
from ..report.feature_figure import feature_figure
from ..report.strength_figure import strength_figure
from ..report.themes import save_themes
from .curves import Row, accuracy_by_distance, accuracy_by_replacement, accuracy_by_run, deviation_by_distance
from .feature_rows import features_by_group, first_arm
from .features import joint_pca
from .notes import provenance
from .results import Study, read_settings, rounded
from .settings import Setting
from .strengths import has_sweep, scores_by_strength

logger = logging.getLogger(__name__)
BINS_NOTE = (
    "Bins are 0.1 wide; what lies beyond 1.2 counts in the last one; an empty bin is a gap. n counts facts. Bars are "
    "Wilson's 95 % intervals at the effective sample size: facts of one run are no independent draws."
)


@dataclass(frozen=True)
class PaperFigure:
    """A figure of the paper, or of a sweep.

    Attributes:
        title: what it shows.
        data: (study, folder) -> tidy rows by the ending of their file's name, the first one without.
        draw: these rows and a theme -> picture.
        notes: how to read it.
    """

    title: str
    data: Callable[[Study, Path], dict[str, list[Row]]]
    draw: Callable
    notes: tuple[str, ...]


def _only(rows: Callable[[Study], list[Row]]) -> Callable[[Study, Path], dict[str, list[Row]]]:
    return lambda study, folder: {"": rows(study)}


def _size(setting: str, arm: str, results: Sequence[Mapping]) -> str:
    count = results[0]["config"]["facts_per_run"]
    return f"{count} {'fact' if count == 1 else 'facts'} a run"


FIGURES: dict[str, PaperFigure] = {
    "figure3": PaperFigure(
        "Figure 3: accuracy against distance",
        _only(accuracy_by_distance),
        lambda rows, theme: study_figures.distance_figure(rows[""], theme),
        (BINS_NOTE,),
    ),
    "figure4": PaperFigure(
        "Figure 4: deviation against distance",
        _only(deviation_by_distance),
        lambda rows, theme: study_figures.distance_figure(rows[""], theme),
        (
            BINS_NOTE,
            "Above: the share of all facts whose new answer lies farther from the target than the old one. Below: how "
            "much farther, relative to the old distance (Eq. 3), the mean over those facts with its 95 % t interval; "
            "a fact at distance 0 has no relative deviation.",
        ),
    ),
    "figure5": PaperFigure(
        "Figure 5: features of the last prompt token, by distance",
        features_by_group,
        lambda rows, theme: feature_figure(rows["-points"], rows[""], theme),
        (
            "Final-layer features of each run's tuned model, behind the final norm, in the principal components of "
            "all of them together.",
            "An ellipse is two standard deviations around a group's mean. Spread is the root mean square distance of "
            "a group's facts from their mean in these components; directions are the participation ratio of its "
            "variances along its own axes there: 1 on a line.",
        ),
    ),
    "figure6": PaperFigure(
        "Figure 6: accuracy of a run against its distances",
        _only(accuracy_by_run),
        lambda rows, theme: study_figures.run_figure(rows[""], theme),
        (
            "One mark a run. Groups differ in mean and in variance at once: neither panel shows the effect of one "
            "alone. A correlation over chosen groups is not one over runs drawn at random.",
        ),
    ),
    "figure7": PaperFigure(
        "Figure 7: replacing facts by Eq. 4, and at random",
        _only(accuracy_by_replacement),
        lambda rows, theme: study_figures.replacement_figure(rows[""], theme),
        (
            "Mean over runs with its 95 % t interval. The share is the one that was reached: the bounds of the mean "
            "may end the filter before the one that was wanted, which is in the CSV.",
            "Of the original facts those replaced are not trained. That facts at distance 0 are known already, and "
            "that Eq. 4 adds such, shows in the last column.",
        ),
    ),
    "figure8": PaperFigure(
        "Figure 8: accuracy against distance, by facts a run",
        _only(partial(accuracy_by_distance, name=_size)),
        lambda rows, theme: study_figures.distance_figure(rows[""], theme),
        (BINS_NOTE,),
    ),
    "strengths": PaperFigure(
        "Scores against the strength in an arm's name",
        _only(scores_by_strength),
        lambda rows, theme: strength_figure(rows[""], theme),
        (
            "Paired differences from the setting's first arm, in percentage points: mean over runs with its 95 % t "
            "interval, not corrected for their number. Strengths stand at equal distances. Where arms differ in more "
            "than their strength, that is said below.",
        ),
    ),
}


def check_figures(names: Iterable[str], settings: Sequence[Setting] = ()) -> None:
    """Raise a `ValueError` where a figure is unknown, or needs what the settings do not measure."""
    for name in names:
        if name not in FIGURES:
            raise ValueError(f"`figures` {name!r} is unknown.{suggest(name, FIGURES)} Use {', '.join(FIGURES)}.")
    if "figure5" in names and settings:
        if "features" not in settings[0].measures:
            raise ValueError("`figures` figure5 needs features. Add measures: [features].")
        joint_pca({"": np.eye(2)}, 1)  # says now whether scikit-learn is there
    if "figure7" in names and settings and not any(arm.filters for s in settings for arm in s.arms):
        raise ValueError("`figures` figure7 needs arms that replace facts. Add filter and random_filter to `arms`.")
    if "strengths" in names and settings and not any(has_sweep(arm.name for arm in s.arms) for s in settings):
        raise ValueError(
            "`figures` strengths needs a setting whose first arm has no strength in its name, and others named "
            'KIND-STRENGTH, as in: plain, "rate-0.002: plain learning_rate=0.002", "rate-0.004: ..."'
        )


def write_figures(
    folder: Path, settings: Mapping[str, Sequence[str]], names: Sequence[str], command: str
) -> list[Path]:
    """Write figures, from nothing but the results in `folder`: `NAME.csv`, `.png`, `-dark.png`, `.svg` and `.md`.

    Args:
        settings: name -> its arms, in their order; see `read_settings`.
        command: what made the results, for the notes.

    Returns:
        The paths of the Markdown files, in `folder/figures`; each shows its picture, dark on a dark page. A figure
        whose runs are not there yet is left out, with a warning.

    Raises:
        FileNotFoundError: there are no results.
    """
    if not names:
        return []
    study, paths = read_settings(folder, settings), []
    for name in names:
        figure, path = FIGURES[name], folder / "figures" / f"{name}.png"
        rows = figure.data(study, folder)
        if not rows[""]:
            logger.warning("%s is not drawn: the runs that it needs are not there", name)
            continue
        for end, found in rows.items():
            write_atomically(path.with_name(f"{name}{end}.csv"), to_csv(found).encode())
        save_themes(partial(figure.draw, rows), path)
        paths.append(path.with_suffix(".md"))
        shown = first_arm(study) if figure.data is features_by_group else study
        if name == "strengths":
            shown = {setting: study[setting] for setting in dict.fromkeys(row["setting"] for row in rows[""])}
        notes = [*figure.notes, *provenance(shown), f"Command: `{command}`"]
        write_atomically(paths[-1], _page(name, figure.title, notes).encode())
    return paths


def to_csv(rows: Sequence[Row]) -> str:
    """Rows with the names of their columns above; a missing value is an empty cell."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rounded(rows))
    return buffer.getvalue()


def _page(name: str, title: str, notes: Sequence[str]) -> str:
    picture = (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{name}-dark.png">'
        f'<img src="{name}.png" alt="{title}"></picture>'
    )
    return f"# {title}\n\n{picture}\n\n" + "".join(f"- {note}\n" for note in notes)
