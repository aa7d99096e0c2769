"""What says before training whether a fact will stick: the distance, the base model's loss on the target, or both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

FEATURES = ("distance", "target_loss")
FOLDS = 5


@dataclass(frozen=True)
class Outlook:
    """A logistic regression of "was learnt" on what is known of a fact before training; made by `fit_outlook`.

    Attributes:
        names: of the features.
        center, scale, coefficients: (F,) of the features; `intercept` beside them.
        auc: of facts held out: the odds that a fact that was learnt is ranked above one that was not; `None` where
            all or none were learnt.
        n, learnt: facts that it was fitted on, and how many of them were learnt.
    """

    names: tuple[str, ...]
    center: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    intercept: float
    auc: float | None
    n: int
    learnt: int

    def probabilities(self, features: Mapping[str, Sequence[float]]) -> np.ndarray:
        """(N,) chances that facts with these features will stick."""
        x = (_matrix(features, self.names) - self.center) / self.scale
        return 1 / (1 + np.exp(-(x @ self.coefficients + self.intercept)))


def fit_outlook(
    features: Mapping[str, Sequence[float]],
    learnt: Sequence[bool],
    names: Sequence[str] = FEATURES,
    facts: Sequence[str] | None = None,
    seed: int = 0,
) -> Outlook:
    """Fit it on facts that were taught (scikit-learn's `LogisticRegression`, features standardised).

    Args:
        features: name -> (N,) values.
        learnt: (N,) whether each fact was answered as taught.
        names: which features, in their order.
        facts: (N,) which fact each is, where runs share some: a fact is held out of all of them. By default no two
            are the same.
        seed: of the folds in which `auc` holds facts out.

    Raises:
        ModuleNotFoundError: scikit-learn, of the extra `study`, is not installed.

    Example:
        >>> fit_outlook({"target_loss": [1.0, 5.0] * 10}, [True, False] * 10, ["target_loss"]).auc
        1.0
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ModuleNotFoundError(
            "what will stick is fitted with scikit-learn: pip install 'semantic-trainer[study]'"
        ) from error
    x, y = _matrix(features, names), np.asarray(learnt, dtype=bool)
    center, scale = x.mean(0), np.where(x.std(0) > 0, x.std(0), 1.0)
    x, few = (x - center) / scale, int(min(y.sum(), (~y).sum()))
    if few == 0:  # nothing to tell apart: the share, as well as it is known (Laplace)
        share = (y.sum() + 1) / (len(y) + 2)
        even = np.zeros(x.shape[1]), float(np.log(share / (1 - share)))
        return Outlook(tuple(names), center, scale, *even, None, len(y), int(y.sum()))
    model = LogisticRegression().fit(x, y)
    auc = _held_out_auc(x, y, np.arange(len(y)) if facts is None else np.asarray(facts), seed)
    return Outlook(tuple(names), center, scale, model.coef_[0], float(model.intercept_[0]), auc, len(y), int(y.sum()))


def _held_out_auc(x: np.ndarray, y: np.ndarray, facts: np.ndarray, seed: int) -> float | None:
    """`rank_auc` of facts that had no part in the fit; `None` where too few are left to fit on."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    few = min(len(set(facts[y])), len(set(facts[~y])))
    if few < 2:
        return None
    scores = np.zeros(len(y))
    for seen, held in StratifiedGroupKFold(min(FOLDS, few), shuffle=True, random_state=seed).split(x, y, facts):
        if not 0 < y[seen].sum() < len(seen):
            return None
        scores[held] = LogisticRegression().fit(x[seen], y[seen]).predict_proba(x[held])[:, 1]
    return rank_auc(scores, y)


def rank_auc(scores: Sequence[float], learnt: Sequence[bool]) -> float:
    """The odds that a fact that was learnt has a higher score than one that was not, ties counting half.

    Example:
        >>> rank_auc([0.9, 0.1, 0.5], [True, False, False])
        1.0
    """
    y = np.asarray(learnt, dtype=bool)
    ranks = stats.rankdata(scores)
    return float((ranks[y].sum() - y.sum() * (y.sum() + 1) / 2) / (y.sum() * (~y).sum()))


def rank_correlations(
    features: Mapping[str, Sequence[float]], learnt: Sequence[float], names: Sequence[str] = FEATURES
) -> dict[str, dict[str, float | None]]:
    """Spearman's rank correlation of each feature with whether, or how often, a fact was learnt, and its p-value."""
    found = {}
    for name in names:
        x, y = np.asarray(features[name], dtype=float), np.asarray(learnt, dtype=float)
        if np.ptp(x) == 0 or np.ptp(y) == 0:
            found[name] = {"rho": None, "p_value": None, "n": len(x)}
        else:
            result = stats.spearmanr(x, y)
            found[name] = {"rho": float(result.statistic), "p_value": float(result.pvalue), "n": len(x)}
    return found


def _matrix(features: Mapping[str, Sequence[float]], names: Sequence[str]) -> np.ndarray:
    return np.column_stack([np.asarray(features[name], dtype=float) for name in names])
