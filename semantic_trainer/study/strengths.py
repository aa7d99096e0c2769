"""What an arm does to the scores as its one strength grows: tidy data of arms that are named KIND-STRENGTH."""

import re
from collections.abc import Iterable, Mapping, Sequence

from ..evaluation.comparison import Difference, paired_runs
from .averages import pair
from .results import Study

METRICS = ("knowledge_accuracy", "generality", "locality")
NAMED = re.compile(r"(?P<kind>\w[\w-]*?)-(?P<strength>\d+(?:\.\d+)?(?:e[+-]?\d+)?)")

Row = dict[str, object]


def has_sweep(arms: Iterable[str]) -> bool:
    """Whether a setting's arms show a sweep: a first one without a strength, and two strengths of one kind."""
    first, *others = arms
    kinds = [named["kind"] for named in map(NAMED.fullmatch, others) if named]
    return not NAMED.fullmatch(first) and any(kinds.count(kind) > 1 for kind in kinds)


def scores_by_strength(study: Study) -> list[Row]:
    """Paired differences from the first arm, by the strength that an arm has in its name: `soft-0.5`, `soft-2`.

    Settings whose first arm has a strength itself are left out, and so are arms without one, kinds that come in one
    strength, and metrics that a run of theirs has not.

    Returns:
        `{setting, reference, kind, metric, strength, value, ci_low, ci_high, runs}`: the mean difference as a
        fraction with its paired t interval, the run being the unit; bounds are `None` where runs give none.

    Raises:
        ValueError: two arms have one kind and strength.

    Example:
        >>> scores_by_strength(read_settings(folder, {"tries": ["plain", "soft-0.5", "soft-2"]}))[1]["strength"]
        2.0
    """
    found: list[Row] = []
    for setting, arms in study.items():
        reference, *others = arms
        if NAMED.fullmatch(reference):
            continue
        kinds: dict[str, dict[float, str]] = {}
        for arm in others:
            if named := NAMED.fullmatch(arm):
                same = kinds.setdefault(named["kind"], {}).setdefault(float(named["strength"]), arm)
                if same != arm:
                    raise ValueError(f"`arms` {same!r} and {arm!r} of {setting!r} have one kind and strength")
        for kind, named_arms in kinds.items():
            head = {"setting": setting, "reference": reference, "kind": kind}
            for metric in METRICS if len(named_arms) > 1 else ():
                for strength, arm in sorted(named_arms.items()):
                    difference = _difference(*pair(arms[reference], arms[arm]), metric)
                    if difference is not None:
                        low, high = difference.ci95 or (None, None)
                        row = {"value": difference.value, "ci_low": low, "ci_high": high, "runs": difference.n}
                        found.append({**head, "metric": metric, "strength": strength, **row})
    return found


def _difference(before: Sequence[Mapping], after: Sequence[Mapping], metric: str) -> Difference | None:
    """Of a metric that all paired runs have; `None` of another, or of fewer than two runs."""
    sides = [[result["scores"].get(metric) for result in side] for side in (before, after)]
    if len(before) < 2 or any(score is None or score["value"] is None for side in sides for score in side):
        return None
    return paired_runs(*sides)
