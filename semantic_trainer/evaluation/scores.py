"""Scores of single answers, as pure functions of cut texts and distances."""

import string
import sys
import unicodedata
from collections.abc import Iterable
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from ..facts.cutting import cut, strict

__all__ = [
    "bad_cases",
    "contains",
    "deviates",
    "leak_gap",
    "normal_form",
    "normalized",
    "relative_deviation",
    "strict",
]

TOLERANCE = 1e-6
ARTICLES = frozenset({"a", "an", "the"})


@cache
def _punctuation() -> dict[int, None]:
    """Table for `str.translate`: ASCII punctuation, as SQuAD removes it, and Unicode's categories P*."""
    unicode = (i for i in range(sys.maxunicode + 1) if unicodedata.category(chr(i)).startswith("P"))
    return dict.fromkeys([*map(ord, string.punctuation), *unicode])


def normal_form(text: str) -> str:
    """SQuAD's normal form: lower case, no punctuation, no articles (a, an, the), single blanks between words.

    Punctuation goes without a trace, so "D.C." becomes "dc" and "New-York" "newyork". Accents stay.

    Example:
        >>> normal_form(" The  «Washington, D.C.» ")
        'washington dc'
    """
    words = text.lower().translate(_punctuation()).split()
    return " ".join(word for word in words if word not in ARTICLES)


def normalized(answer: str, target: str, aliases: Iterable[str] = ()) -> bool:
    """Whether the cut answer and the cut target, or an alias, have one normal form; `strict` implies it.

    Texts with nothing left in their normal form ("The", "?!") match only where they are strictly equal.

    Args:
        answer, target: texts as generated and as given; both are cut here.
        aliases: other texts that count as the target.

    Example:
        >>> normalized("the eternal city!", "Eternal City"), normalized("It is Rome", "Rome")
        (True, False)
    """
    aliases = list(_texts(aliases))
    found = normal_form(cut(answer))
    return strict(answer, target, aliases) or found in {normal_form(cut(t)) for t in (target, *aliases)} - {""}


def contains(answer: str, target: str, aliases: Iterable[str] = ()) -> bool:
    """Whether the target, or an alias, stands as whole words in the *raw* answer, both in normal form.

    The answer is not cut: a target in its second line counts. A target whose normal form is blank never does. Words
    are what blanks divide, so in a script without blanks only the whole line can match.

    Args:
        answer: the text as generated.
        target, aliases: texts as given; they are cut here.

    Example:
        >>> contains("It is Rome, I think.", "Rome"), contains("It is Romeo", "Rome")
        (True, False)
    """
    found = f" {normal_form(answer)} "
    return any(f" {wanted} " in found for wanted in {normal_form(cut(t)) for t in (target, *_texts(aliases))} - {""})


def _texts(aliases: Iterable[str]) -> Iterable[str]:
    if isinstance(aliases, str):
        raise TypeError(f"`aliases` must be a list of texts, but the text {aliases!r} was passed: [{aliases!r}]")
    return aliases


def leak_gap(token: ArrayLike, strict: ArrayLike) -> np.ndarray:
    """How far the teacher-forced score stands above the strict one, fact by fact: `token - strict`.

    Teacher forcing gives the model the gold prefix and the gold length, so part of its score was never answered.

    Args:
        token: (N,) shares in [0, 1] of a target's tokens that are right under teacher forcing.
        strict: (N,) bool or 0/1, whether the free answer is strictly right.

    Returns:
        (N,) float64 in [-1, 1]; numpy's float for two single numbers.

    Raises:
        ValueError: other shapes, or scores outside [0, 1].

    Example:
        >>> leak_gap([1.0, 0.75], [True, False])
        array([0.  , 0.75])
    """
    token, strict = np.asarray(token, dtype=float), np.asarray(strict, dtype=float)
    if token.shape != strict.shape:
        raise ValueError(f"`token` and `strict` must have one score a fact, but have {token.shape} and {strict.shape}")
    for name, scores in (("token", token), ("strict", strict)):
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError(f"`{name}` must lie in [0, 1], but goes from {scores.min()} to {scores.max()}")
    return token - strict


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
