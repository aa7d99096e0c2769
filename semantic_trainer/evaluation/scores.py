"""Scores of single answers, as pure functions of cut texts and distances."""

import numpy as np

from ..facts.cutting import strict

__all__ = ["bad_cases", "deviates", "relative_deviation", "strict"]

TOLERANCE = 1e-6


def deviates(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """(N,) bool: the tuned answer is farther from the target than the old one, `new > old + 1e-6`."""
    return np.asarray(new) > np.asarray(old) + TOLERANCE


def bad_cases(correct: np.ndarray, new: np.ndarray) -> np.ndarray:
    """(N,) bool: not strictly equal, or new distance > 1e-6. Every deviating case is one."""
    return ~np.asarray(correct, dtype=bool) | (np.asarray(new) > TOLERANCE)


def relative_deviation(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Eq. 3, `RD = (new - old) / old`, (N,) float64; NaN where the old distance is 0 (up to 1e-6) and RD undefined.

    Example:
        >>> relative_deviation([0.6, 0.5], [0.4, 0.0])
        array([0.5, nan])
    """
    new, old = np.asarray(new, dtype=float), np.asarray(old, dtype=float)
    return np.divide(new - old, old, out=np.full_like(old, np.nan), where=old > TOLERANCE)


def normalized(answer: str, target: str, aliases=()) -> bool:
    import unicodedata

    def plain(text: str) -> str:
        text = "".join(" " if unicodedata.category(c).startswith("P") else c for c in text.lower())
        return " ".join(w for w in text.split() if w not in ("a", "an", "the"))

    return plain(answer) in {plain(t) for t in (target, *aliases)}


def contains(answer: str, target: str, aliases=()) -> bool:
    return any(t.lower() in answer.lower() for t in (target, *aliases))
