"""The embedded fact sets.

Two JSON Lines files ship with the package. ``counterfactual`` pairs plain world facts with a false answer
to be taught; ``invented`` is about things that do not exist, so that no model can know them beforehand.
Both are written by ``python -m semantic_trainer.facts.builtin.build`` from hand-written templates.
"""

from pathlib import Path

BUILTIN = "builtin:"  # what stands before a built-in set's name
NAMES = ("counterfactual", "invented")


def path(name: str) -> Path:
    """Return the path of the JSON Lines file of the embedded set ``name``."""
    if name not in NAMES:
        raise ValueError(
            f"`source` names the unknown built-in fact set {name!r}; the known sets are {', '.join(NAMES)}"
        )
    return Path(__file__).parent / f"{name}.jsonl"
