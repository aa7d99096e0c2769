"""From distance to weight: Eqs. 5 and 6, and the controls that a weighting must beat."""

from collections.abc import Callable, Sequence

import numpy as np
from datasets import Dataset

from ..facts.answered import require_own_answers
from ..facts.cutting import strict
from ..facts.messages import show_rows, suggest
from ..facts.schema import replace_columns, require_columns, require_dataset

CONTROLS = ("constant", "shuffled", "inverse")  # of the paper's weights, with their mean
WEIGHTINGS = ("paper", *CONTROLS, "self_paced", "none", "column")
Weighting = str | Callable[[np.ndarray], np.ndarray]


def check_gamma(gamma: float) -> float:
    """`gamma` as a float; a `ValueError` where it is negative or not finite."""
    if not np.isfinite(gamma) or gamma < 0:
        raise ValueError(f"`gamma` must be a finite number of at least 0, but {gamma!r} was passed")
    return float(gamma)


def check_numbers(values: object, column: str) -> np.ndarray:
    """(N,) float64 of finite numbers of at least 0; a `ValueError` that names the column and the rows otherwise."""
    try:
        if any(isinstance(value, str) for value in np.ravel(np.asarray(values, dtype=object))):
            raise ValueError("texts were found")
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"column {column!r} must hold numbers: {error}") from error
    if numbers.ndim != 1:
        raise ValueError(f"column {column!r} must hold one number a row, but its shape is {numbers.shape}")
    wrong = np.flatnonzero(~np.isfinite(numbers) | (numbers < 0)).tolist()
    if wrong:
        raise ValueError(
            f"column {column!r} must hold finite numbers of at least 0, but {show_rows(wrong)} have others, "
            f"first {numbers[wrong[0]]}. Recompute it, or leave those rows out."
        )
    return numbers


def semantic_lambda(distance: Sequence[float] | np.ndarray, clip: bool = True) -> np.ndarray:
    """Eq. 6: `lambda(d) = 1 - cos(pi d - pi/2) = 1 - sin(pi d)`: 1 at d = 0, 0 at d = 0.5, 1 at d = 1.

    Args:
        distance: (N,) raw distances in [0, 2].
        clip: clip to [0, 1] first (default); `False` is the literal formula, which is 2 at d = 1.5.
    """
    d = check_numbers(distance, "distance")
    return 1.0 - np.sin(np.pi * (np.clip(d, 0.0, 1.0) if clip else d))


def semantic_weight(distance: Sequence[float] | np.ndarray, gamma: float = 1.0, clip: bool = True) -> np.ndarray:
    """Eq. 5's factor on a fact's loss, `1 + gamma * lambda(d)`, of "Semantic are Beacons" (Findings of ACL 2024).

    Args:
        distance: (N,) raw distances in [0, 2].
        gamma: weight of the semantic term, at least 0; default 1.
        clip: clip distances to [0, 1] inside lambda; default `True`.

    Returns:
        (N,) float64.

    Raises:
        ValueError: negative gamma, or a distance that is NaN, infinite or negative.

    Example:
        >>> semantic_weight([0.0, 0.5, 1.0], gamma=1.0)
        array([2., 1., 2.])
    """
    return 1.0 + check_gamma(gamma) * semantic_lambda(distance, clip)


def control_lambda(weighting: Weighting, paper: np.ndarray, distance: np.ndarray, seed: int) -> np.ndarray:
    """Lambda under a control with the paper's mean (`constant`, `shuffled`, `inverse`), or a callable's."""
    if callable(weighting):
        lam = check_numbers(weighting(distance), "weighting(distance)")
        if lam.shape != distance.shape:
            raise ValueError(f"`weighting` must give {len(distance)} lambdas, but its result has shape {lam.shape}")
        return lam
    if weighting == "constant":
        return np.full_like(paper, paper.mean())
    if weighting == "shuffled":
        return np.random.default_rng(seed).permutation(paper)
    if weighting == "inverse":
        flipped = np.clip(1.0 - paper, 0.0, None)  # unclipped distances give lambdas above 1
        mean = flipped.mean()
        return flipped * (paper.mean() / mean) if mean > 0 else np.full_like(paper, paper.mean())
    return paper


def compute_weights(
    distance: Sequence[float] | np.ndarray,
    gamma: float = 1.0,
    weighting: Weighting = "paper",
    known: Sequence[bool] | np.ndarray | None = None,
    known_lambda: float = 1.0,
    clip: bool = True,
    seed: int = 42,
) -> np.ndarray:
    """(N,) float64 weights over a whole column of distances; arguments as in `add_weights`.

    Raises:
        ValueError: unknown weighting, negative gamma, a bad distance, or `known_lambda` without `known`.
    """
    gamma = check_gamma(gamma)
    distance = check_numbers(distance, "distance")
    if not callable(weighting) and weighting not in WEIGHTINGS:
        raise ValueError(
            f"`weighting` {weighting!r} is unknown.{suggest(str(weighting), WEIGHTINGS)} Use {', '.join(WEIGHTINGS)}, "
            "or in add_weights a callable from distances to lambda."
        )
    if weighting == "column":
        raise ValueError('`weighting="column"` reads a column `weight` that is there already; nothing to compute.')
    if weighting == "self_paced":
        raise ValueError('`weighting="self_paced"` follows from the losses while training: the trainer computes it.')
    if weighting == "none" or len(distance) == 0:
        return np.ones(len(distance))
    lam = semantic_lambda(distance, clip)
    if not np.isfinite(known_lambda) or known_lambda < 0:
        raise ValueError(f"`known_lambda` must be a finite number of at least 0, but {known_lambda!r} was passed")
    if known_lambda != 1.0 and known is None:
        raise ValueError("`known_lambda` needs the columns `old_answer` and `target` to tell which facts are known.")
    if callable(weighting):
        lam = control_lambda(weighting, lam, distance, seed)
    if known_lambda != 1.0:
        lam = np.where(np.asarray(known, dtype=bool), known_lambda, lam)
    return 1.0 + gamma * (lam if callable(weighting) else control_lambda(weighting, lam, distance, seed))


def known_facts(facts: Dataset) -> np.ndarray:
    """(N,) bool: the base model gives the target already, strictly (cut strings equal; aliases count)."""
    aliases = facts["aliases"][:] if "aliases" in facts.column_names else None
    return known_answers(facts["old_answer"][:], facts["target"][:], aliases)


def known_answers(
    old_answers: Sequence[str | None], targets: Sequence[str], aliases: Sequence[Sequence[str] | None] | None = None
) -> np.ndarray:
    """The same of (N,) columns; a missing answer is none."""
    aliases = [()] * len(targets) if aliases is None else aliases
    rows = zip(old_answers, targets, aliases, strict=True)
    return np.fromiter((strict(old or "", target, also or ()) for old, target, also in rows), bool, len(targets))


def add_weights(
    facts: Dataset,
    gamma: float = 1.0,
    weighting: Weighting = "paper",
    known_lambda: float = 1.0,
    clip: bool = True,
    seed: int = 42,
) -> Dataset:
    """Add `weight`, computed once from the whole column `distance`: `1 + gamma * lambda` (Eqs. 5-6) or a control.

    Args:
        facts: dataset with `distance`; with `known_lambda` also `old_answer` and `target`.
        gamma: at least 0; default 1.
        weighting: `paper`; `none` (all ones); a control with the same mean weight: `constant`, `shuffled` (lambda
            permuted over the facts by `seed`), `inverse` (1 - lambda, rescaled); or a callable from (N,) distances to
            (N,) lambdas.
        known_lambda: lambda of facts that the base model knows already: 1.0 (the formula) or, for example, 0.0.
        clip: clip distances to [0, 1] inside lambda.

    Raises:
        TypeError: `facts` is no `datasets.Dataset`.
        ValueError: missing column, unknown weighting, negative gamma, a bad distance (rows are named), or distances
            that came with the facts: `add_old_answers` looks whose they are.

    Example:
        >>> add_weights(facts, gamma=0.5)["weight"][:2]
        [1.2, 1.07]
    """
    require_dataset(facts)
    require_columns(facts, ("distance",), hint="Add it with add_distances(facts, table, processing_class).")
    require_own_answers(facts)
    known = None
    if known_lambda != 1.0:
        hint = "`known_lambda` needs it to tell which facts are known: add it with add_old_answers, or keep 1.0."
        require_columns(facts, ("old_answer", "target"), hint=hint)
        known = known_facts(facts)
    weights = compute_weights(facts["distance"][:], gamma, weighting, known, known_lambda, clip, seed)
    return replace_columns(facts, {"weight": weights})
