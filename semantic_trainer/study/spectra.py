"""Table 2: how large a change of a projection is, and how much of the projection lies in the change's directions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import svds

Array = object  # a torch.Tensor on any device, or whatever numpy takes for an array
Factors = tuple[Array, Array, float]  # B (out, r), A (r, in), scale
Directions = tuple[np.ndarray, np.ndarray]  # U (out, rank), V (in, rank), both with orthonormal columns


@dataclass(frozen=True)
class Spectrum:
    """Frobenius norms of a projection W and of its change ΔW; of `U^T W V` for three pairs of directions U, V.

    Attributes:
        delta_norm: of ΔW.
        weight_norm: of W.
        proj_delta: of W on the top singular directions of ΔW.
        proj_weight: of W on its own: the largest that orthonormal U and V can give.
        proj_random: of W on random directions (Haar): on average about `rank / sqrt(out * in) * weight_norm`.
        amplification: `delta_norm / proj_delta`; infinite where W has nothing in the directions of ΔW.
    """

    delta_norm: float
    weight_norm: float
    proj_delta: float
    proj_weight: float
    proj_random: float
    amplification: float


def spectrum(delta: Factors | Array, weight: Array, rank: int, seed: int = 0) -> Spectrum:
    """Compare a change ΔW with the projection W that it is added to (section 2.3 of the paper, after Hu et al., 2022).

    `||U^T W V||_F` for the top `rank` left and right singular vectors U, V of ΔW, of W, and for random ones. All in
    float64. Of `delta = (B, A, scale)` the full product is never formed; singular vectors of W (and of ΔW, where it is
    a matrix) are found by ARPACK, so that memory for one copy of W in float64 is all that is needed. Only a `rank` of
    the full `min(out, in)` takes a dense SVD.

    Args:
        delta: `(B, A, scale)` with B (out, r) and A (r, in), meaning `scale * B A`; or the (out, in) matrix itself.
        weight: W, (out, in).
        rank: how many singular vectors; at most the rank of ΔW.
        seed: of the random directions.

    Raises:
        ValueError: shapes that do not fit, numbers that are complex or not finite, W or ΔW zero, or a `rank` that is
            no whole number from 1 to the rank of ΔW, whose further directions would be arbitrary.

    Example:
        >>> found = spectrum((np.eye(4)[:, :1], np.eye(4)[:1], 0.5), np.diag([1.0, 2.0, 3.0, 4.0]), rank=1)
        >>> found.delta_norm, found.proj_delta, found.amplification, round(found.proj_weight, 12)
        (0.5, 1.0, 0.5, 4.0)
    """
    w = _matrix(weight, "weight")
    if not w.any():
        raise ValueError("`weight` is zero: it has no directions to compare with")
    if isinstance(rank, bool) or not isinstance(rank, (int, np.integer)):
        raise ValueError(f"`rank` must be a whole number, but {rank!r} was passed")
    delta_norm, rank_of_delta, directions = _decompose(delta, w.shape, rank)
    if not 1 <= rank <= rank_of_delta:
        what = "0: nothing was changed" if rank_of_delta == 0 else f"{rank_of_delta}"
        raise ValueError(f"`rank` must be from 1 to the rank of ΔW, but {rank} was passed and ΔW has rank {what}")
    proj_delta = _projected(w, directions)
    return Spectrum(
        delta_norm=delta_norm,
        weight_norm=float(np.linalg.norm(w)),
        proj_delta=proj_delta,
        proj_weight=_projected(w, top_directions(w, rank)[1]),
        proj_random=_projected(w, random_directions(w.shape, rank, seed)),
        amplification=delta_norm / proj_delta if proj_delta else float("inf"),
    )


def delta_rank(delta: Factors | Array, at_most: int) -> int:
    """Numerical rank of ΔW, counted up to `at_most`: AdaLoRA prunes, and may leave a layer nothing.

    Example:
        >>> delta_rank((np.ones((4, 2)), np.ones((2, 3)), 1.0), at_most=2)
        1
    """
    shape = _matrix(delta, "delta").shape if not isinstance(delta, tuple) else (len(delta[0]), delta[1].shape[1])
    return _decompose(delta, shape, at_most)[1]


def _decompose(delta: Factors | Array, shape: tuple[int, int], rank: int) -> tuple[float, int, Directions]:
    """Norm of ΔW, its numerical rank as far as `rank`, and its top `rank` directions."""
    if isinstance(delta, tuple):
        values, directions = factored_directions(*_factors(delta, shape))
        norm = float(np.linalg.norm(values))
    else:
        matrix = _matrix(delta, "delta")
        _check_shape("delta", matrix.shape, shape)
        norm = float(np.linalg.norm(matrix))
        values, directions = top_directions(matrix, min(max(rank, 1), *shape)) if norm else (np.zeros(1), (None, None))
    tolerance = values.max() * max(shape) * np.finfo(float).eps  # as numpy.linalg.matrix_rank
    held = int((values > tolerance).sum())
    return norm, held, tuple(side if side is None else side[:, :rank] for side in directions)


def factored_directions(b: np.ndarray, a: np.ndarray, scale: float) -> tuple[np.ndarray, Directions]:
    """Singular values (r,) and vectors of `scale * B A`, by QR of both factors and the SVD of an (r, r) matrix."""
    (left, r_left), (right, r_right) = np.linalg.qr(b), np.linalg.qr(a.T)
    u, values, vt = np.linalg.svd(scale * r_left @ r_right.T)
    k = len(values)
    return values, (left @ u[:, :k], right @ vt[:k].T)


def top_directions(matrix: np.ndarray, rank: int) -> tuple[np.ndarray, Directions]:
    """The largest `rank` singular values, descending, and their vectors, of an (out, in) matrix that is not zero.

    By ARPACK (Lanczos with implicit restarts) to machine precision, from a fixed start. Singular values of attention
    weights lie close together: LOBPCG and randomized methods miss 1e-8 there, PROPACK fails (docs/analyses.md).
    """
    if rank >= min(matrix.shape):
        u, values, vt = np.linalg.svd(matrix, full_matrices=False)
        return values, (u, vt.T)
    start = np.random.default_rng(0).standard_normal(min(matrix.shape))
    u, values, vt = svds(matrix, k=rank, v0=start, solver="arpack")  # ascending
    return values[::-1], (u[:, ::-1], vt[::-1].T)


def random_directions(shape: tuple[int, int], rank: int, seed: int) -> Directions:
    """Orthonormal U (out, rank) and V (in, rank), uniform under rotations (Haar): Mezzadri, 2007."""
    rng = np.random.default_rng(seed)
    return tuple(_haar(rng.standard_normal((size, rank))) for size in shape)


def _haar(normal: np.ndarray) -> np.ndarray:
    q, r = np.linalg.qr(normal)
    return q * np.sign(np.diag(r))  # QR alone is not uniform: its signs depend on the algorithm


def _projected(weight: np.ndarray, directions: Directions) -> float:
    u, v = directions
    return float(np.linalg.norm(u.T @ weight @ v))


def _matrix(values: Array, argument: str) -> np.ndarray:
    """(out, in) as float64."""
    if hasattr(values, "detach"):
        values = values.detach().double().cpu().numpy()
    try:
        out = np.asarray(values)
    except ValueError as error:  # rows of different lengths, or (B, A, scale) in a list
        raise ValueError(f"`{argument}` must be a matrix, or as a tuple (B, A, scale), but is neither") from error
    if np.iscomplexobj(out):
        raise ValueError(f"`{argument}` holds complex numbers")
    out = out.astype(float, copy=False)
    if out.ndim != 2 or not out.size:
        raise ValueError(f"`{argument}` must be a matrix, but has shape {out.shape}")
    if not np.isfinite(out).all():
        raise ValueError(f"`{argument}` holds numbers that are not finite")
    return out


def _factors(delta: Factors, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, float]:
    if len(delta) != 3:
        raise ValueError(f"`delta` must be (B, A, scale) or a matrix, but a tuple of {len(delta)} was passed")
    b, a, scale = _matrix(delta[0], "delta[0]"), _matrix(delta[1], "delta[1]"), float(delta[2])
    if not np.isfinite(scale):
        raise ValueError(f"`delta`: the scale must be finite, but is {scale}")
    if b.shape[1] != len(a):
        raise ValueError(f"`delta`: B {b.shape} and A {a.shape} do not fit; they must be (out, r) and (r, in)")
    _check_shape("delta", (len(b), a.shape[1]), shape)
    return b, a, scale


def _check_shape(argument: str, found: Sequence[int], wanted: Sequence[int]) -> None:
    if tuple(found) != tuple(wanted):
        raise ValueError(f"`{argument}` is of shape {tuple(found)}, but `weight` of {tuple(wanted)}; both (out, in)")
