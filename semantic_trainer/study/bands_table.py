"""The table of short, medium and long distances: what is learnt of each, and what moves away."""

from collections.abc import Mapping, Sequence

import numpy as np

from .averages import EMPTY, adjusted, in_points, pooled_difference, pooled_share
from .curves import cells_of
from .notes import provenance
from .results import Study
from .table import Table, heads

EDGES = np.array([0.0, 0.2, 0.4, 0.7, np.inf])
BANDS = ("nearest", "short", "medium", "long")
METRICS = ("knowledge_accuracy", "deviation")
COMPARED = ("nearest", "short", "long")  # with medium
FEWEST = 20  # facts of a band that are compared: of fewer, one answer more or less decides


def bands_table(study: Study) -> Table:
    """Accuracy and deviation of each arm by the distance before training, and short and long against medium."""
    columns = ("setting", "arm", "runs", "share", *BANDS, *(f"{name}, less medium" for name in COMPARED))
    rows = []
    for setting, arms in study.items():
        for arm, results in arms.items():
            head = (setting, arm, str(len(results)))
            cells = {metric: bands_of(results, metric) for metric in METRICS}
            found = {
                (metric, name): pooled_difference(bands["medium"], bands[name])
                for metric, bands in cells.items()
                for name in COMPARED
                if min(sum(map(len, bands[band])) for band in ("medium", name)) >= FEWEST
            }
            told = adjusted(found)
            for metric, bands in cells.items():
                shares = [pooled_share([sum(r) for r in band], [len(r) for r in band]) for band in bands.values()]
                compared = (told.get((metric, name), EMPTY) for name in COMPARED)
                rows.append((*head, *heads([metric]), *map(_counted, shares), *compared))
    notes = (
        "Per cent of all facts of a band, with Wilson's 95 % interval at the effective sample size, and how many "
        "facts that is. Distances before training: nearest below 0.2, short below 0.4 (the nearest among them), long "
        "from 0.7 on.",
        "Differences from medium in points, with a t interval over runs (the bands of one run go together), no "
        "shorter than of independent facts; p-values are corrected for the differences of an arm (Holm). Bands of "
        f"fewer than {FEWEST} facts are not compared.",
        *provenance(study),
    )
    return Table("What is learnt, and what moves away, by distance", columns, tuple(rows), notes)


def bands_of(results: Sequence[Mapping], metric: str) -> dict[str, list[list[float]]]:
    """Band -> run -> values of its facts; the nearest ones are short, too."""
    nearest, others, medium, long = cells_of(results, metric, EDGES)
    short = [[*a, *b] for a, b in zip(nearest, others, strict=True)]
    return {"nearest": nearest, "short": short, "medium": medium, "long": long}


def _counted(share: dict[str, object]) -> str:
    return f"{in_points(share)} of {share['n']}" if share["n"] else EMPTY
