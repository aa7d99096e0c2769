"""Spectra against dense float64 SVDs, and what holds of them for every W and ΔW."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ortho_group

from semantic_trainer.study.spectra import delta_rank, factored_directions, random_directions, spectrum, top_directions

RNG = np.random.default_rng(0)
SIZES = st.integers(2, 12)


def factors(out: int, inner: int, r: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((out, r)), rng.standard_normal((r, inner))


def with_values(out: int, inner: int, values: np.ndarray) -> np.ndarray:
    """A matrix with these singular values."""
    u, v = (np.linalg.qr(RNG.standard_normal((size, len(values))))[0] for size in (out, inner))
    return (u * values) @ v.T


def dense(delta: np.ndarray, weight: np.ndarray, rank: int) -> dict[str, float]:
    """The definitions, word by word."""
    (u, _, vt), (uw, _, vtw) = np.linalg.svd(delta), np.linalg.svd(weight)
    projected = np.linalg.norm(u[:, :rank].T @ weight @ vt[:rank].T)
    return {
        "delta_norm": np.linalg.norm(delta),
        "weight_norm": np.linalg.norm(weight),
        "proj_delta": projected,
        "proj_weight": np.linalg.norm(uw[:, :rank].T @ weight @ vtw[:rank].T),
        "amplification": np.linalg.norm(delta) / projected,
    }


@pytest.mark.parametrize(("out", "inner", "rank"), [(30, 30, 4), (48, 16, 3), (16, 60, 8), (100, 90, 1)])
@pytest.mark.parametrize("kind", ["numpy", "float32 tensors", "matrix"])
def test_it_is_what_dense_svds_give(out: int, inner: int, rank: int, kind: str) -> None:
    (b, a), weight = factors(out, inner, 8), RNG.standard_normal((out, inner))
    b, a, weight = (m.astype(np.float32).astype(float) for m in (b, a, weight))
    delta = {
        "numpy": (b, a, 0.25),
        "float32 tensors": (torch.nn.Parameter(torch.tensor(b).float()), torch.tensor(a).float(), 0.25),
        "matrix": 0.25 * b @ a,
    }[kind]
    found = spectrum(delta, torch.tensor(weight).float() if "tensors" in kind else weight, rank)
    for name, value in dense(0.25 * b @ a, weight, rank).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-8), name


# Close, equal and vanishing values are what iterative solvers find hard.
HARD = {
    "random": np.linalg.svd(RNG.standard_normal((150, 150)), compute_uv=False),
    "close": 1 - 1e-4 * np.arange(150),
    "pairs": np.repeat(np.arange(75, 0, -1.0), 2),
    "all equal": np.ones(150),
    "rank 3": np.array([3.0, 2.0, 1.0]),
    "decaying": 10.0 ** -np.arange(150).clip(0, 200),
    "one large": np.concatenate([[1e6], np.ones(149)]),
}


@pytest.mark.parametrize("shape", [(150, 150), (400, 150), (150, 180)])
@pytest.mark.parametrize("name", HARD)
def test_the_solver_finds_hard_spectra(name: str, shape: tuple[int, int]) -> None:
    matrix = with_values(*shape, HARD[name])
    values, (u, v) = top_directions(matrix, 8)
    wanted = np.linalg.svd(matrix, compute_uv=False)[:8]
    assert np.abs(values - wanted).max() <= 1e-10 * wanted[0]
    assert np.linalg.norm(u.T @ matrix @ v) == pytest.approx(np.linalg.norm(wanted), rel=1e-10)
    for side in (u, v):
        np.testing.assert_allclose(side.T @ side, np.eye(8), atol=1e-9)


def test_the_solver_gives_the_same_bits_again() -> None:
    matrix = RNG.standard_normal((200, 150))
    assert top_directions(matrix, 8)[0].tobytes() == top_directions(matrix, 8)[0].tobytes()


@given(SIZES, SIZES, st.integers(0, 2**32 - 1), st.data())
def test_bounds_and_identities(out: int, inner: int, seed: int, data: st.DataObject) -> None:
    small = min(out, inner)
    r = data.draw(st.integers(1, small))
    rank = data.draw(st.integers(1, r))
    b, a = factors(out, inner, r, seed)
    weight = np.random.default_rng(seed + 1).standard_normal((out, inner))
    s = spectrum((b, a, 0.5), weight, rank, seed)
    slack = 1 + 1e-9
    assert max(s.proj_delta, s.proj_random) <= s.proj_weight * slack  # Ky Fan: no directions hold more than W's own
    assert np.sqrt(rank / small) * s.weight_norm <= s.proj_weight * slack <= s.weight_norm * slack**2
    assert s.amplification * s.proj_delta == pytest.approx(s.delta_norm)
    assert s.proj_weight == pytest.approx(np.linalg.norm(np.linalg.svd(weight, compute_uv=False)[:rank]))
    itself = spectrum(weight, weight, rank)
    assert itself.proj_delta == pytest.approx(itself.proj_weight)
    assert itself.amplification >= 1 - 1e-9
    turned = spectrum((a.T, b.T, 0.5), weight.T, rank)
    assert (turned.proj_delta, turned.proj_weight) == pytest.approx((s.proj_delta, s.proj_weight))
    if out == inner == rank:
        assert (s.proj_delta, s.proj_weight, s.proj_random) == pytest.approx((s.weight_norm,) * 3)


@given(st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
def test_it_does_not_matter_how_factors_share_a_scale(c: float, seed: int) -> None:
    (b, a), weight = factors(9, 7, 3, seed), np.random.default_rng(seed + 1).standard_normal((9, 7))
    mixed = np.random.default_rng(seed + 2).standard_normal((3, 3)) + 4 * np.eye(3)
    wanted = spectrum((b, a, 2.0), weight, 2)
    for other in (
        (c * b, a / c, 2.0),
        (c * b, a, 2.0 / c),
        (-b, a, -2.0),
        (b @ mixed, np.linalg.solve(mixed, a), 2.0),
    ):
        assert vars(spectrum(other, weight, 2)) == pytest.approx(vars(wanted), rel=1e-8)
    scaled = spectrum((b, a, 2.0 * c), weight, 2)
    assert scaled.delta_norm == pytest.approx(c * wanted.delta_norm)
    assert scaled.proj_delta == pytest.approx(wanted.proj_delta)


@settings(max_examples=30)
@given(arrays(float, (6, 5), elements=st.floats(-10, 10, width=16)))
def test_factors_and_their_product_agree(delta: np.ndarray) -> None:
    rank = int(np.linalg.matrix_rank(delta))
    as_factors = (delta, np.eye(5), 1.0)
    assert delta_rank(as_factors, 5) == delta_rank(delta, 5) == rank
    weight = np.random.default_rng(0).standard_normal((6, 5))
    values, (u, v) = factored_directions(*as_factors)
    np.testing.assert_allclose((u * values) @ v.T, delta, atol=1e-9)
    if rank:
        ours, theirs = spectrum(as_factors, weight, rank), spectrum(delta, weight, rank)
        assert ours.delta_norm == pytest.approx(theirs.delta_norm)
        assert ours.proj_delta == pytest.approx(theirs.proj_delta, rel=1e-6)


def test_random_directions_are_haar() -> None:
    draws = [random_directions((5, 4), 2, seed) for seed in range(2000)]
    for u, v in draws[:20]:
        np.testing.assert_allclose(u.T @ u, np.eye(2), atol=1e-12)
        np.testing.assert_allclose(v.T @ v, np.eye(2), atol=1e-12)
    entries = np.array([u for u, _ in draws])
    assert np.abs(entries.mean(0)).max() < 5 / np.sqrt(5 * 2000)  # QR without its signs is off by far more
    turn = ortho_group.rvs(5, random_state=0)
    for moment in (entries, turn @ entries):
        assert (moment**2).mean(0) == pytest.approx(np.full((5, 2), 0.2), abs=0.025)
    assert not np.allclose(*(random_directions((5, 4), 2, seed)[0] for seed in (0, 1)))


def test_random_projections_are_as_large_as_they_must_be_on_average() -> None:
    weight = RNG.standard_normal((20, 30))
    squares = [
        np.linalg.norm(u.T @ weight @ v) ** 2 for u, v in (random_directions((20, 30), 3, s) for s in range(999))
    ]
    assert np.mean(squares) == pytest.approx(9 / 600 * np.linalg.norm(weight) ** 2, rel=0.1)


def test_nothing_in_the_directions_of_the_change() -> None:
    weight = np.diag([0.0, 2.0, 3.0])
    found = spectrum((np.eye(3)[:, :1], np.eye(3)[:1], 1.0), weight, 1)
    assert (found.proj_delta, found.amplification) == (0.0, float("inf"))


B, A, W = np.ones((4, 2)), np.ones((2, 3)), np.ones((4, 3))


@pytest.mark.parametrize(
    ("delta", "weight", "rank", "message"),
    [
        ((np.eye(4)[:, :2], np.eye(3)[:2], 1.0), W, 3, "ΔW has rank 2"),
        ((B, A, 1.0), W, 2, "ΔW has rank 1"),
        ((B, A, 0.0), W, 1, "nothing was changed"),
        (np.zeros((4, 3)), W, 1, "nothing was changed"),
        ((B, A, 1.0), W, 0, "`rank` must be from 1"),
        (W, W, -1, "`rank` must be from 1"),
        ((B, A.T, 1.0), W, 1, "do not fit"),
        ((B, A, 1.0), W.T, 1, r"is of shape \(4, 3\), but `weight` of \(3, 4\)"),
        (W.T, W, 1, "is of shape"),
        ((B, A), W, 1, "a tuple of 2"),
        ((B, A, 1.0), np.zeros((4, 3)), 1, "`weight` is zero"),
        ((B, A, 1.0), np.full((4, 3), np.nan), 1, "`weight` holds numbers that are not finite"),
        ((B * np.inf, A, 1.0), W, 1, "not finite"),
        ((B, A, 1.0), np.ones(3), 1, "must be a matrix"),
        ([B, A, 1.0], W, 1, "`delta` must be a matrix, or as a tuple"),
        ((B, A, np.nan), W, 1, "the scale must be finite"),
        ((B, A, 1.0), W, 1.0, "`rank` must be a whole number, but 1.0"),
        ((B, A, 1.0), W, True, "`rank` must be a whole number"),
        ((B, A, 1.0), W + 1j, 1, "`weight` holds complex numbers"),
    ],
)
def test_what_has_no_spectrum_is_refused(delta: object, weight: np.ndarray, rank: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spectrum(delta, weight, rank)


@pytest.mark.slow
def test_a_large_projection_takes_less_than_ten_seconds() -> None:
    """Random weights are the worst case: their largest singular values lie closest together."""
    (b, a), weight = factors(4096, 4096, 8), np.random.default_rng(1).standard_normal((4096, 4096)).astype(np.float32)
    start = time.process_time()
    found = spectrum((b, a, 2.0), torch.from_numpy(weight), rank=8)
    seconds = time.process_time() - start
    assert found.weight_norm == pytest.approx(4096, rel=0.01)
    assert np.sqrt(8 / 4096) * found.weight_norm <= found.proj_weight <= 8**0.5 * 2 * 4096**0.5
    print(f"{seconds:.1f} s")
    assert seconds < 10
