"""Fig. 5: where facts of different distances lie among the principal components of the final layer's features."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

COMPONENTS = 15  # the paper's


@dataclass(frozen=True)
class FeatureMap:
    """Features of several groups in the principal components of all of them together.

    Attributes:
        scores: group -> (n, k) coordinates.
        explained: (k,) share of all features' variance along each component, descending.
        components: (k, d) orthonormal directions.
        spread: group -> root mean square distance of its facts from their own mean, in the k components.
        dimensions: group -> participation ratio of its variances along its own axes, `(sum v)^2 / sum v^2`: from 1
            where its facts lie on a line to k where they spread alike in all directions.
    """

    scores: dict[str, np.ndarray]
    explained: np.ndarray
    components: np.ndarray
    spread: dict[str, float]
    dimensions: dict[str, float]


def joint_pca(groups: Mapping[str, np.ndarray], components: int = COMPONENTS) -> FeatureMap:
    """Principal components of all groups' features together (scikit-learn's exact SVD), and each group within them.

    Every fact counts alike: a group of many facts draws the components to itself.

    Args:
        groups: name -> (n, d) features; `semantic_trainer.evaluation.forward.last_prompt_features` gives them.
        components: k, at most the number of all facts and d.

    Raises:
        ValueError: no group, one without facts, features that differ in width or are not finite, too few facts for so
            many components, or facts that are all the same.
        ModuleNotFoundError: scikit-learn, of the extra `study`, is not installed.

    Example:
        >>> found = joint_pca({"near": np.eye(4)[:2], "far": np.eye(4)[2:]}, components=2)
        >>> found.scores["far"].shape, found.explained.round(2).tolist()
        ((2, 2), [0.33, 0.33])
    """
    stacked = _stack(groups)
    if not 1 <= components <= min(stacked.shape):
        raise ValueError(
            f"`components` must be from 1 to {min(stacked.shape)}, the lesser of facts ({len(stacked)}) and width "
            f"({stacked.shape[1]}), but {components} was passed"
        )
    try:
        from sklearn.decomposition import PCA
    except ImportError as error:
        raise ModuleNotFoundError(
            "principal components need scikit-learn: pip install 'semantic-trainer[study]'"
        ) from error
    pca = PCA(components, svd_solver="full").fit(stacked)
    scores = {name: pca.transform(np.asarray(rows, dtype=float)) for name, rows in groups.items()}
    return FeatureMap(
        scores=scores,
        explained=pca.explained_variance_ratio_,
        components=pca.components_,
        spread={name: spread(rows) for name, rows in scores.items()},
        dimensions={name: participation_ratio(rows) for name, rows in scores.items()},
    )


def _stack(groups: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N, d) of all groups, checked."""
    if not groups:
        raise ValueError("`groups` is empty. Pass name -> (n, d) features.")
    rows = {name: np.asarray(found, dtype=float) for name, found in groups.items()}
    widths = {found.shape[1:] for found in rows.values()}
    for name, found in rows.items():
        if found.ndim != 2 or not found.size or len(widths) > 1:
            shapes = ", ".join(f"{n} {f.shape}" for n, f in rows.items())
            raise ValueError(f"`groups` must be (n, d) features of one width with n > 0, but are of shape {shapes}")
        if not np.isfinite(found).all():
            raise ValueError(f"`groups` {name!r} holds numbers that are not finite")
    stacked = np.concatenate(list(rows.values()))
    if not np.ptp(stacked, axis=0).any():
        raise ValueError("`groups`: all features are the same, so no direction has any variance")
    return stacked


def spread(rows: np.ndarray) -> float:
    """Root mean square distance of (n, k) rows from their mean.

    Example:
        >>> spread(np.array([[0.0, 0.0], [6.0, 8.0]]))
        5.0
    """
    return float(np.sqrt(rows.var(axis=0).sum()))


def participation_ratio(rows: np.ndarray) -> float:
    """How many directions (n, k) rows spread in: `(sum v)^2 / sum v^2` of their covariance's eigenvalues v; 0 if none.

    Example:
        >>> participation_ratio(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        2.0
    """
    centred = rows - rows.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False) ** 2
    return float(values.sum() ** 2 / (values**2).sum()) if values.any() else 0.0
