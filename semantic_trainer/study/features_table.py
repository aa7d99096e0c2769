"""The table of Fig. 5's features: how far and in how many directions each group of distances spreads, run by run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..evaluation.statistics import average, undefined
from .averages import groups_of, number
from .features import participation_ratio, spread
from .measures import read_features
from .notes import provenance
from .protocol import Draw
from .results import Study
from .table import Table

MEASURES: dict[str, Callable[[np.ndarray], float]] = {"spread": spread, "directions": participation_ratio}


def features_table(study: Study, folder: Path) -> Table:
    """Spread and directions of each arm's features, by group of distances.

    Args:
        folder: of the results; features lie beside them.

    Raises:
        ValueError: features were not measured.
    """
    groups, rows = groups_of(study), []
    for setting, arms in study.items():
        for arm, results in arms.items():
            found: dict[str, list[np.ndarray]] = {group: [] for group in groups}
            for result in results:
                if "features" not in (result["config"].get("measures") or ()):
                    raise ValueError(f"`tables` features: {setting}, {arm} holds none. Add measures: [features].")
                draw = Draw(**result["draw"])
                found[draw.group].append(read_features(folder / setting / arm / f"{draw.name}.json"))
            for name, measure in MEASURES.items():
                values = ([{"value": measure(rows), "protocol": ""} for rows in found[group]] for group in groups)
                means = [average(each) if each else undefined("") for each in values]
                rows.append((setting, arm, name, *map(number, means), str(max(map(len, found.values())))))
    notes = (
        "Features of the last prompt token behind the final norm, mean over runs with its 95 % t interval. Spread is "
        "the root mean square distance of a run's facts from their mean; directions are the participation ratio of "
        "their variances: 1 on a line. In all dimensions of a run's own features, where Figure 5 has the joint "
        "principal components of all runs.",
        *provenance(study),
    )
    return Table("Features by distance", ("setting", "arm", "measure", *groups, "runs a group"), tuple(rows), notes)
