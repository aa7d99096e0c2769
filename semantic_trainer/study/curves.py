"""Figs. 3, 4, 6, 7 and 8 as tidy data, from the per-fact tables of a study: rows, one a mark of the figure."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..evaluation.statistics import average
from .arms import wanted_share
from .averages import by_distance, pooled_mean, pooled_share, run_of
from .results import Study

Row = dict[str, object]
BINS = np.linspace(0.0, 1.2, 13)
PARTS = ("original", "kept", "trained")


def accuracy_by_distance(study: Study, bins: np.ndarray = BINS, name: Callable | None = None) -> list[Row]:
    """Figs. 3 and 8: strict accuracy by bins of the distance before training, one series a setting and arm.

    Args:
        bins: (k + 1,) edges; what lies beyond the last one counts in the last bin.
        name: (setting, arm, results) -> name of a series; by default the setting, with the arm where it has several.

    Returns:
        `{series, metric, low, high, value, ci_low, ci_high, n, runs}` a bin and series; in an empty bin n is 0 and the
        others `None`: a gap. Intervals are those of `pooled_share`.

    Example:
        >>> accuracy_by_distance(read_settings(folder, {"zsre-lora": ["plain"]}))[0]["n"]
        96
    """
    return _over(study, name, lambda runs: _shares(runs, "knowledge_accuracy", bins))


def deviation_by_distance(study: Study, bins: np.ndarray = BINS, name: Callable | None = None) -> list[Row]:
    """Fig. 4: the share of facts that ended farther from their target than before, and by how much those did.

    Returns:
        Rows as of `accuracy_by_distance`, first of the metric `deviation`, of all facts; then of `relative_deviation`
        (Eq. 3), its mean over deviating facts, with the intervals of `pooled_mean`.
    """
    return _over(study, name, lambda runs: [*_shares(runs, "deviation", bins), *_extents(runs, bins)])


def accuracy_by_run(study: Study, name: Callable | None = None) -> list[Row]:
    """Fig. 6: a run's accuracy with mean and population variance of its distances.

    Returns:
        `{series, group, run, n, mean_distance, distance_variance, value}` a run.
    """

    def rows(results: Sequence[Mapping]) -> list[Row]:
        found = []
        for result in by_distance(results):
            group, run = run_of(result)
            value = result["scores"]["knowledge_accuracy"]["value"]
            found.append({"group": group, "run": run, **result["facts"], "value": value})
        return found

    return _over(study, name, rows)


def accuracy_by_replacement(study: Study) -> list[Row]:
    """Fig. 7: accuracy against the share of facts replaced, by Eq. 4 and at random, on three sets of facts.

    `original` are those of the draw, of which the replaced ones are not trained; `kept` those of them that are; and
    `trained` all that are. Without replacement all three are the first arm without a filter.

    Returns:
        `{setting, series, part, wanted, share, value, ci_low, ci_high, runs}`, series being `filter` or
        `random_filter`; `share` is the mean of what was reached, which the bounds of the mean may keep below `wanted`;
        the run is the unit.
    """
    found = []
    for setting, arms in study.items():
        filtered = {arm: results for arm, results in arms.items() if results[0]["config"]["filter"]}
        plain = [results for arm, results in arms.items() if arm not in filtered]
        for kind in dict.fromkeys(results[0]["config"]["filter"]["kind"] for results in filtered.values()):
            same = [results for results in filtered.values() if results[0]["config"]["filter"]["kind"] == kind]
            for part in PARTS:
                head = {"setting": setting, "series": kind, "part": part}
                rows = [_replacement(results, part) for results in [*plain[:1], *same]]
                found += [head | row for row in sorted(rows, key=lambda row: (row["share"], row["wanted"]))]
    return found


def _replacement(results: Sequence[Mapping], part: str) -> Row:
    """One point of Fig. 7: the mean over runs with its t interval."""
    filtered = [result["filter"] for result in results if "filter" in result]
    mean = average([accuracy_of_part(result, part) for result in results])
    low, high = mean["ci95"] or (None, None)
    return {
        "wanted": wanted_share(results[0]["config"]["filter"]) if filtered else 0.0,
        "share": float(np.mean([f["reached_share"] for f in filtered])) if filtered else 0.0,
        "value": mean["value"],
        "ci_low": None if low is None else max(low, 0.0),
        "ci_high": None if high is None else min(high, 1.0),
        "runs": mean["n"],
    }


def accuracy_of_part(result: Mapping, part: str) -> Mapping:
    """Knowledge accuracy on the `original`, `kept` or `trained` facts: all alike where a run replaced none."""
    return result.get("knowledge_accuracy_of", {}).get(part) or result["scores"]["knowledge_accuracy"]


def _over(study: Study, name: Callable | None, rows: Callable[[Sequence[Mapping]], list[Row]]) -> list[Row]:
    """Rows of every setting and arm, with the name of their series, which no two of them share."""
    several = any(len(arms) > 1 for arms in study.values())
    named = {}
    for setting, arms in study.items():
        for arm, results in arms.items():
            own = f"{setting}, {arm}" if several else setting
            named[setting, arm] = (name(setting, arm, results) if name else own), own
    labels = [label for label, _ in named.values()]
    found = []
    for (setting, arm), (label, own) in named.items():
        series = label if labels.count(label) == 1 else f"{label}: {own}"
        found += [{"series": series, **row} for row in rows(study[setting][arm])]
    return found


def facts_of(result: Mapping) -> list[int]:
    """Rows of a result's per-fact table that are facts of its draw: not those that a filter has added."""
    parts = result["rows"].get("part")
    return [i for i in range(len(result["rows"]["distance"])) if parts is None or parts[i] != "added"]


def cells_of(
    results: Sequence[Mapping], metric: str, bins: np.ndarray, only: str | None = None
) -> list[list[list[float]]]:
    """bin -> run -> values; facts without a value do not count, nor those for which the column `only` is not true."""
    cells = [[[] for _ in results] for _ in bins[1:]]
    for run, result in enumerate(results):
        rows = result["rows"]
        for i in facts_of(result):
            if rows[metric][i] is not None and (only is None or rows[only][i]):
                where = int(np.clip(np.digitize(rows["distance"][i], bins) - 1, 0, len(bins) - 2))
                cells[where][run].append(float(rows[metric][i]))
    return cells


def _binned(metric: str, bins: np.ndarray, found: Sequence[Mapping[str, object]]) -> list[Row]:
    rows = []
    for low, high, score in zip(bins[:-1], bins[1:], found, strict=True):
        edges = {"low": round(float(low), 6), "high": round(float(high), 6)}
        ci_low, ci_high = score["ci95"] or (None, None)
        bounds = {"ci_low": ci_low, "ci_high": ci_high}
        rows.append(
            {"metric": metric, **edges, "value": score["value"], **bounds, "n": score["n"], "runs": score["runs"]}
        )
    return rows


def _shares(results: Sequence[Mapping], metric: str, bins: np.ndarray) -> list[Row]:
    cells = cells_of(results, metric, bins)
    return _binned(metric, bins, [pooled_share([sum(r) for r in c], [len(r) for r in c]) for c in cells])


def _extents(results: Sequence[Mapping], bins: np.ndarray) -> list[Row]:
    metric = "relative_deviation"
    found = [pooled_mean(cell) for cell in cells_of(results, metric, bins, only="deviation")]
    for score in found:
        if score["ci95"]:
            score["ci95"] = [max(bound, 0.0) for bound in score["ci95"]]  # who deviates does so by more than 0
    return _binned(metric, bins, found)
