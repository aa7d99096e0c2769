"""Deviation: the share of facts whose answer moved away from the target under tuning, and how far (Eq. 3)."""

import math

import datasets
import evaluate

CITATION = "Renzhi Wang and Piji Li. 2024. Semantic are Beacons. Findings of the ACL: ACL 2024."
TOLERANCE = 1e-6


def as_distances(name: str, column: object) -> list[float]:
    """A column of numbers as floats; anything that is no distance is named with its row."""
    column = column.tolist() if hasattr(column, "tolist") else column
    if not hasattr(column, "__iter__") or isinstance(column, (str, dict)):
        raise ValueError(f"`{name}` must be a list with one distance a row, but found {column!r:.80}")
    distances = []
    for i, cell in enumerate(column):
        if not hasattr(cell, "__float__") or not 0 <= float(cell) < math.inf:
            raise ValueError(f"`{name}`, row {i}: expected a distance, a finite number >= 0, but found {cell!r:.80}")
        distances.append(float(cell))
    return distances


class Deviation(evaluate.Metric):
    """Args:
        predictions: list of new distances, of the tuned model's answers to their targets, one a row.
        references: list of old distances, of the base model's answers to the same targets.

    Returns:
        `deviation`: share of rows with new > old + 1e-6. `deviation_in_bad`: these as a share of the bad cases, the
        rows with new > 1e-6. `relative_deviation`: mean of (new - old) / old over the deviating rows with old > 1e-6.
        `undefined`: number of rows with old <= 1e-6. A share or mean of no rows is `None`.

    Examples:
        >>> metric = evaluate.load("metrics/deviation")
        >>> metric.compute(predictions=[0.75, 0.25, 0.0, 0.5], references=[0.5, 0.5, 0.5, 0.0])
        {'deviation': 0.5, 'deviation_in_bad': 0.6666666666666666, 'relative_deviation': 0.5, 'undefined': 1}
        >>> metric.compute(predictions=[0.0], references=[0.0])
        {'deviation': 0.0, 'deviation_in_bad': None, 'relative_deviation': None, 'undefined': 1}
    """

    def _info(self) -> evaluate.MetricInfo:
        number = datasets.Value("float64")
        features = datasets.Features(predictions=number, references=number)
        return evaluate.MetricInfo(__doc__, CITATION, features, self.__doc__)

    def add(self, **row: object) -> None:
        """Add one row, `prediction` and `reference`; `evaluate.combine` names them in the plural."""
        self.add_batch(**{name.removesuffix("s") + "s": [cell] for name, cell in row.items()})

    def add_batch(self, *, predictions: object = None, references: object = None) -> None:
        """Add rows of new and old distances."""
        new, old = as_distances("predictions", predictions), as_distances("references", references)
        if len(new) != len(old):
            raise ValueError(f"{len(new)} `predictions`, {len(old)} `references`: give one old distance each")
        super().add_batch(predictions=new, references=old)

    def _compute(self, predictions: list[float], references: list[float]) -> dict[str, float | int | None]:
        if not predictions:
            raise ValueError("0 rows: give at least one new and one old distance")
        rows = list(zip(predictions, references, strict=True))
        away = [(new, old) for new, old in rows if new > old + TOLERANCE]
        bad = sum(new > TOLERANCE for new in predictions)
        moved = [(new - old) / old for new, old in away if old > TOLERANCE]
        return {
            "deviation": len(away) / len(rows),
            "deviation_in_bad": len(away) / bad if bad else None,
            "relative_deviation": math.fsum(moved) / len(moved) if moved else None,
            "undefined": sum(old <= TOLERANCE for old in references),
        }
