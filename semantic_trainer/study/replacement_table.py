"""The table of replacing facts by Eq. 4 beside replacing as many at random."""

from collections.abc import Mapping, Sequence

from ..evaluation.comparison import adjust, paired_runs
from ..evaluation.statistics import average
from .arms import FILTERS, wanted_share
from .averages import EMPTY, in_points, pair, without_words
from .curves import PARTS, accuracy_of_part
from .notes import PAIRED, provenance
from .results import Results, Study
from .table import Table


def replacement_table(study: Study) -> Table:
    """Knowledge accuracy of each share, by Eq. 4 and at random, on three sets of facts, and their difference."""
    columns = ("setting", "share wanted", "facts", "runs", "by Eq. 4", "at random", "by Eq. 4, less at random")
    rows = []
    for setting, arms in study.items():
        scored = {
            (share, part): [[accuracy_of_part(result, part) for result in side] for side in sides]
            for share, sides in shares(arms).items()
            for part in PARTS
        }
        found = {key: paired_runs(*reversed(sides)) for key, sides in scored.items() if len(sides[0]) > 1}
        told = dict(zip(found, map(without_words, adjust(list(found.values()))), strict=True)) if found else {}
        for (share, part), sides in scored.items():
            means = [in_points(average(side)) for side in sides]
            rows.append((setting, f"{share:g}", part, str(len(sides[0])), *means, told.get((share, part), EMPTY)))
    notes = (
        PAIRED,
        "Original: the facts that were to be taught, of which the replaced ones are not trained; kept: those of them "
        "that are; trained: kept and added ones. At random as many are replaced as Eq. 4 replaced in that run.",
        *provenance(study),
    )
    return Table("Replacing facts by Eq. 4, and at random", columns, tuple(rows), notes)


def shares(arms: Results) -> dict[float, tuple[list, list]]:
    """Share wanted -> results by Eq. 4 and at random, of the runs that both have."""
    kinds: dict[str, dict[float, Sequence[Mapping]]] = {kind: {} for kind in FILTERS}
    for results in arms.values():
        chosen = results[0]["config"]["filter"]
        if chosen:
            kinds[chosen["kind"]][wanted_share(chosen)] = results
    eq_4, random = kinds.values()
    return {share: pair(eq_4[share], random[share]) for share in sorted(eq_4.keys() & random.keys())}
