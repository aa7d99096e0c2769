"""The table of arms that differ in anything, each with its learning rate: what sticks, what is disturbed."""

from .averages import EMPTY, differences, in_points, over_runs
from .notes import PAIRED, floors, provenance
from .results import Study
from .table import Table, heads

SHOWN = ("knowledge_accuracy", "generality", "locality", "never_learnt")


def comparison_table(study: Study) -> Table:
    """Every arm with its epochs and learning rate, and its differences from the first one."""
    columns = ("setting", "arm", "epochs", "learning rate", "runs", *heads(SHOWN))
    columns += tuple(f"{head}, less the first arm" for head in heads(SHOWN))
    rows = []
    for setting, arms in study.items():
        compared = differences(arms, next(iter(arms)), SHOWN)
        for arm, results in arms.items():
            config = results[0]["config"]
            how = (f"{config['num_train_epochs']:g}", f"{config['learning_rate']:g}", str(len(results)))
            known = [m for m in SHOWN if all(m in result["scores"] for result in results)]
            own = [in_points(over_runs(results, m)) if m in known else EMPTY for m in SHOWN]
            rows.append((setting, arm, *how, *own, *(compared.get((arm, m), EMPTY) for m in SHOWN)))
    notes = (
        PAIRED,
        "Never learnt: facts of which no epoch's steps saw every target token with a probability above one half, and "
        "which are not answered as taught afterwards either.",
        *provenance(study),
        *floors(study),
    )
    return Table("Arms beside the first one", columns, tuple(rows), notes)
