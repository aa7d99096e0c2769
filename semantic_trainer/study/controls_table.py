"""The table of the paper's weights beside their controls, which have the same mean."""

from ..distance.weighting import CONTROLS
from .averages import EMPTY, differences, first_weighings
from .notes import PAIRED, provenance
from .results import Study
from .table import Table, heads

SHOWN = ("knowledge_accuracy", "generality", "locality", "deviation")


def controls_table(study: Study) -> Table:
    """Each control less the paper's weights, paired by run."""
    columns = ("setting", "control", "runs", *(f"{head}, less the paper's" for head in heads(SHOWN)))
    rows = []
    for setting, arms in study.items():
        weighed = first_weighings(arms)
        compared = {name: arms[weighed[name]] for name in ("paper", *CONTROLS) if name in weighed}
        found = differences(compared, "paper", SHOWN) if "paper" in compared else {}
        for name in [name for name in compared if name != "paper"] if found else ():
            told = (found.get((name, metric), EMPTY) for metric in SHOWN)
            rows.append((setting, name, str(len(compared[name])), *told))
    notes = (PAIRED, *([] if rows else ["No setting has two runs of both the paper's weights and a control yet."]))
    return Table("Controls beside the paper's weights", columns, tuple(rows), (*notes, *provenance(study)))
