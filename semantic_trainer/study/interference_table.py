"""The table of interference: the same facts, taught with fewer others and with more."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .averages import EMPTY, adjusted, in_points, pooled_gain, pooled_share, run_of
from .bands_table import FEWEST
from .curves import facts_of
from .notes import RUNS_OWN, provenance
from .results import Study
from .table import Table, heads

METRICS = ("knowledge_accuracy", "deviation")
OF_SIZE = (*RUNS_OWN, "facts_per_run", "protocol")


def interference_table(study: Study) -> Table:
    """Accuracy and deviation of the facts that two settings share, which differ in nothing but their facts a run.

    Settings are taken in the order of their facts a run, each with the next one; an arm with that of the same name.
    """
    columns = ("setting", "less", "arm", "share", "facts", "with fewer others", "with more", "more, less fewer")
    sized = sorted(study, key=lambda name: _size(next(iter(study[name].values()))))
    cells = {}
    for fewer, more in pairwise(sized):
        for arm in (arm for arm in study[fewer] if arm in study[more]):
            sides = study[fewer][arm], study[more][arm]
            if _size(sides[0]) < _size(sides[1]) and _regime(sides[0]) == _regime(sides[1]):
                found = {metric: _shared(*sides, metric) for metric in METRICS}
                cells |= {(more, fewer, arm, m): f for m, f in found.items() if len(f.ids) >= FEWEST}
    told = adjusted({key: pooled_gain(cell.before, cell.after) for key, cell in cells.items()})
    rows = []
    for key, cell in cells.items():
        *head, metric = key
        shares = [in_points(pooled_share([sum(r) for r in side], [len(r) for r in side])) for side in cell[:2]]
        rows.append((*head, *heads([metric]), str(len(cell.ids)), *shares, told.get(key, EMPTY)))
    notes = (
        "Per cent of the facts that runs of both settings were taught, with Wilson's 95 % interval at the effective "
        "sample size. Differences in points, with a t interval over the runs of the larger setting, no shorter than "
        "of independent facts; p-values are corrected for all differences of the table (Holm). Fewer than "
        f"{FEWEST} shared facts are left out.",
        *(f"{name}: {_steps(study[name])} steps a run, each of a batch of {_batch(study[name])}." for name in sized),
        *provenance(study),
    )
    return Table("The same facts, taught with fewer and with more others", columns, tuple(rows), notes)


class Shared(NamedTuple):
    """The facts that two settings share: their scores there and here, by run of the larger one, and who they are."""

    before: list[list[float]]
    after: list[list[float]]
    ids: set[str]


def _shared(fewer: Sequence[Mapping], more: Sequence[Mapping], metric: str) -> Shared:
    """Per run of `more`, the scores of its facts that a run of `fewer` was taught too: there, and here."""
    alone: dict[str, list[float]] = {}
    for result in fewer:
        rows = result["rows"]
        for i in facts_of(result):
            if rows[metric][i] is not None:
                alone.setdefault(rows["fact_id"][i], []).append(float(rows[metric][i]))
    found = Shared([], [], set())
    for result in sorted(more, key=run_of):
        rows = result["rows"]
        shared = [i for i in facts_of(result) if rows["fact_id"][i] in alone and rows[metric][i] is not None]
        found.before.append([float(np.mean(alone[rows["fact_id"][i]])) for i in shared])
        found.after.append([float(rows[metric][i]) for i in shared])
        found.ids.update(rows["fact_id"][i] for i in shared)
    return found


def _size(results: Sequence[Mapping]) -> int:
    return results[0]["config"]["facts_per_run"]


def _regime(results: Sequence[Mapping]) -> dict[str, object]:
    """Every option but how many facts a run has."""
    return {name: value for name, value in results[0]["config"].items() if name not in OF_SIZE}


def _steps(arms: Mapping[str, Sequence[Mapping]]) -> int:
    return next(iter(arms.values()))[0]["training"]["steps"]


def _batch(arms: Mapping[str, Sequence[Mapping]]) -> str:
    config = next(iter(arms.values()))[0]["config"]
    n = min(config["per_device_train_batch_size"], config["facts_per_run"])
    return "one fact" if n == 1 else f"{n} facts"
