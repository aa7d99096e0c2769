"""The table of interference: the same facts, taught with fewer others and with more."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from ..evaluation.comparison import adjust
from .averages import EMPTY, in_points, pooled_difference, pooled_share, run_of, without_words
from .bands_table import FEWEST
from .curves import facts_of
from .notes import provenance
from .results import Study
from .table import Table, heads

METRICS = ("knowledge_accuracy", "deviation")


def interference_table(study: Study) -> Table:
    """Accuracy and deviation of the facts that two settings share, whose runs differ in how many they are taught.

    Settings are taken in the order of their facts a run, each with the next one; an arm with that of the same name.
    """
    columns = ("setting", "less", "arm", "share", "facts", "with fewer others", "with more", "more, less fewer")
    sized = sorted(study, key=lambda name: next(iter(study[name].values()))[0]["config"]["facts_per_run"])
    found = []
    for fewer, more in pairwise(sized):
        for arm in (arm for arm in study[fewer] if arm in study[more]):
            for metric in METRICS:
                before, after = _shared(study[fewer][arm], study[more][arm], metric)
                if sum(map(len, after)) >= FEWEST:
                    found.append(((more, fewer, arm, *heads([metric])), before, after))
    differences = [pooled_difference(before, after) for _, before, after in found]
    known = [difference for difference in differences if difference is not None]
    told = iter(map(without_words, adjust(known)) if known else ())
    rows = []
    for (head, before, after), difference in zip(found, differences, strict=True):
        shares = [in_points(pooled_share([sum(r) for r in side], [len(r) for r in side])) for side in (before, after)]
        rows.append((*head, str(sum(map(len, after))), *shares, EMPTY if difference is None else next(told)))
    notes = (
        "Per cent of the facts that runs of both settings were taught, with Wilson's 95 % interval at the effective "
        "sample size. Differences in points, with a t interval over the runs of the larger setting; p-values are "
        f"corrected for all differences of the table (Holm). Fewer than {FEWEST} shared facts are left out.",
        *(f"{name}: {_steps(study[name])} steps a run, each of a batch of {_batch(study[name])}." for name in sized),
        *provenance(study),
    )
    return Table("The same facts, taught with fewer and with more others", columns, tuple(rows), notes)


def _shared(fewer: Sequence[Mapping], more: Sequence[Mapping], metric: str) -> tuple[list, list]:
    """Per run of `more`, the scores of its facts that a run of `fewer` was taught too: there, and here."""
    alone: dict[str, list[float]] = {}
    for result in fewer:
        rows = result["rows"]
        for i in facts_of(result):
            if rows[metric][i] is not None:
                alone.setdefault(rows["fact_id"][i], []).append(float(rows[metric][i]))
    before, after = [], []
    for result in sorted(more, key=run_of):
        rows = result["rows"]
        shared = [i for i in facts_of(result) if rows["fact_id"][i] in alone and rows[metric][i] is not None]
        before.append([float(np.mean(alone[rows["fact_id"][i]])) for i in shared])
        after.append([float(rows[metric][i]) for i in shared])
    return before, after


def _steps(arms: Mapping[str, Sequence[Mapping]]) -> int:
    return next(iter(arms.values()))[0]["training"]["steps"]


def _batch(arms: Mapping[str, Sequence[Mapping]]) -> str:
    config = next(iter(arms.values()))[0]["config"]
    n = min(config["per_device_train_batch_size"], config["facts_per_run"])
    return "one fact" if n == 1 else f"{n} facts"
