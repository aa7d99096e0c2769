"""Fig. 5 as tidy data, from the features beside a study's results."""

from pathlib import Path

import numpy as np

from .averages import by_distance
from .curves import Row
from .features import COMPONENTS, joint_pca
from .measures import read_features
from .protocol import Draw
from .results import Study


def first_arm(study: Study) -> Study:
    """The first arm of the first setting alone."""
    setting, arms = next(iter(study.items()))
    arm, results = next(iter(arms.items()))
    return {setting: {arm: results}}


def features_by_group(study: Study, folder: Path, components: int = COMPONENTS) -> dict[str, list[Row]]:
    """Fig. 5, of the first arm of the first setting: the joint principal components of all its runs' features.

    Returns:
        `""`: `{group, n, component, explained, deviation, spread, dimensions}` a group and component, the deviation
        being the standard deviation of the group's facts along it; `"-points"`: `{group, run, fact_id, pc1, pc2}` a
        fact. See `semantic_trainer.study.features.FeatureMap`. No rows as long as there are less than two facts.

    Raises:
        ValueError: features were not measured.
    """
    ((setting, arms),) = first_arm(study).items()
    ((arm, results),) = arms.items()
    groups: dict[str, list[np.ndarray]] = {}
    heads: dict[str, list[Row]] = {}
    for result in by_distance(results):
        if "features" not in (result["config"].get("measures") or ()):
            raise ValueError(f"`figures` figure5: {setting}, {arm} holds no features. Add measures: [features].")
        draw = Draw(**result["draw"])
        rows = read_features(folder / setting / arm / f"{draw.name}.json")
        groups.setdefault(draw.group, []).append(rows)
        ids = result["rows"]["fact_id"][: len(rows)]
        heads.setdefault(draw.group, []).extend({"group": draw.group, "run": draw.run, "fact_id": i} for i in ids)
    stacked = {name: np.concatenate(rows) for name, rows in groups.items()}
    if sum(map(len, stacked.values())) < 2:
        return {"": [], "-points": []}
    found = joint_pca(stacked, min(components, sum(map(len, stacked.values())), next(iter(stacked.values())).shape[1]))
    along = [
        {
            "group": name,
            "n": len(rows),
            "component": k + 1,
            "explained": found.explained[k],
            "deviation": rows[:, k].std(),
            "spread": found.spread[name],
            "dimensions": found.dimensions[name],
        }
        for name, rows in found.scores.items()
        for k in range(rows.shape[1])
    ]
    points = [
        head | {"pc1": row[0], "pc2": row[1] if len(row) > 1 else 0.0}
        for name, rows in found.scores.items()
        for head, row in zip(heads[name], rows, strict=True)
    ]
    return {"": along, "-points": points}
