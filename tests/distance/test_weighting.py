"""Eqs. 5 and 6 against scalar references, the controls, and what a wrong number is told."""

import math

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from semantic_trainer import add_weights, semantic_weight
from semantic_trainer.distance.weighting import compute_weights, semantic_lambda

DISTANCES = [0.0, 0.03, 0.2, 0.45, 0.5, 0.71, 0.9, 1.0, 1.2, 1.37]


def reference(d: float, gamma: float, clip: bool) -> float:
    d = min(max(d, 0.0), 1.0) if clip else d
    return 1.0 + gamma * (1.0 - math.cos(math.pi * d - math.pi / 2))


@pytest.fixture
def measured() -> Dataset:
    """Four facts; the first is known."""
    return Dataset.from_dict(
        {
            "prompt": ["A?", "B?", "C?", "D?"],
            "target": ["Rome", "Paris", "Lyon", "Metz"],
            "old_answer": ["“Rome”.", "paris", "", "Nice"],
            "distance": [0.0, 0.4, 1.0, 0.7],
        }
    )


def test_lambda_at_the_corners() -> None:
    assert semantic_lambda([0.0, 0.5, 1.0]).tolist() == pytest.approx([1.0, 0.0, 1.0], abs=1e-12)


def test_clip_is_the_default_and_the_literal_formula_rises_to_two() -> None:
    assert semantic_lambda([1.37, 1.5, 2.0]).tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert semantic_lambda([1.5], clip=False).tolist() == pytest.approx([2.0])
    assert semantic_lambda([2.0], clip=False).tolist() == pytest.approx([1.0])


@given(
    st.lists(st.floats(0.0, 2.0), min_size=1, max_size=20),
    st.floats(0.0, 10.0),
    st.booleans(),
)
def test_weights_are_the_scalar_formula(distances: list[float], gamma: float, clip: bool) -> None:
    weights = semantic_weight(distances, gamma=gamma, clip=clip)
    assert weights.dtype == np.float64
    assert weights.tolist() == pytest.approx([reference(d, gamma, clip) for d in distances], abs=1e-9)
    assert (weights >= 1.0 - 1e-12).all()


def test_gamma_zero_and_none_give_ones_exactly() -> None:
    assert semantic_weight(DISTANCES, gamma=0.0).tolist() == [1.0] * len(DISTANCES)
    assert compute_weights(DISTANCES, weighting="none", gamma=3.0).tolist() == [1.0] * len(DISTANCES)
    assert compute_weights([]).tolist() == []


@pytest.mark.parametrize("weighting", ["constant", "shuffled", "inverse"])
@pytest.mark.parametrize("gamma", [0.5, 1.0, 3.0])
def test_controls_have_the_papers_mean_weight(weighting: str, gamma: float) -> None:
    paper = compute_weights(DISTANCES, gamma)
    control = compute_weights(DISTANCES, gamma, weighting)
    assert control.mean() == pytest.approx(paper.mean(), abs=1e-12)
    assert not np.allclose(control, paper)
    assert (control >= 1.0).all()


def test_constant_is_constant_and_inverse_is_turned_round() -> None:
    assert np.ptp(compute_weights(DISTANCES, weighting="constant")) == 0.0
    paper, inverse = semantic_lambda(DISTANCES), compute_weights(DISTANCES, weighting="inverse") - 1.0
    expected = (1.0 - paper) * paper.mean() / (1.0 - paper).mean()
    assert inverse.tolist() == pytest.approx(expected.tolist(), abs=1e-12)


def test_inverse_of_lambda_one_everywhere_is_constant() -> None:
    assert compute_weights([0.0, 0.0], weighting="inverse").tolist() == [2.0, 2.0]


def test_inverse_of_the_literal_formula_has_no_negative_weight() -> None:
    assert (compute_weights([0.5, 0.45, 1.5], weighting="inverse", clip=False, gamma=2.0) >= 0.0).all()


def test_shuffled_is_a_seeded_permutation() -> None:
    paper = compute_weights(DISTANCES)
    shuffled = compute_weights(DISTANCES, weighting="shuffled", seed=1)
    assert sorted(shuffled) == sorted(paper)
    assert shuffled.tolist() == compute_weights(DISTANCES, weighting="shuffled", seed=1).tolist()
    assert shuffled.tolist() != compute_weights(DISTANCES, weighting="shuffled", seed=2).tolist()


def test_a_callable_gets_raw_distances_and_gives_lambda() -> None:
    seen = []

    def squared(distance: np.ndarray) -> np.ndarray:
        seen.append(distance)
        return distance**2

    assert compute_weights([0.5, 1.3], gamma=2.0, weighting=squared).tolist() == pytest.approx([1.5, 4.38])
    assert seen[0].tolist() == [0.5, 1.3]
    with pytest.raises(ValueError, match=r"weighting\(distance\).*row 1 have others, first nan"):
        compute_weights([0.5, 1.3], weighting=lambda d: np.array([0.0, np.nan]))


@pytest.mark.parametrize("answer", [0.5, [0.5], [0.1, 0.2, 0.3]])
def test_a_callable_must_give_one_lambda_a_fact(answer: object) -> None:
    with pytest.raises(ValueError, match="weighting"):
        compute_weights([0.5, 1.3], weighting=lambda d: np.array(answer))


def test_known_facts_can_be_left_unweighted(measured: Dataset) -> None:
    assert add_weights(measured)["weight"][0] == pytest.approx(2.0)
    weights = add_weights(measured, gamma=2.0, known_lambda=0.0)["weight"][:]
    assert weights[0] == 1.0
    assert weights[1:] == pytest.approx(semantic_weight([0.4, 1.0, 0.7], gamma=2.0).tolist())
    controls = [add_weights(measured, known_lambda=0.0, weighting=w)["weight"][:] for w in ("paper", "constant")]
    assert np.mean(controls[0]) == pytest.approx(np.mean(controls[1]))
    with pytest.raises(ValueError, match="has no column 'old_answer'"):
        add_weights(measured.remove_columns("old_answer"), known_lambda=0.0)
    with pytest.raises(ValueError, match="`known_lambda` needs the columns `old_answer` and `target`"):
        compute_weights([0.1], known_lambda=0.0)


def test_known_lambda_holds_under_a_callable_too(measured: Dataset) -> None:
    weights = add_weights(measured, weighting=lambda d: d + 1.0, known_lambda=0.0)["weight"][:]
    assert weights == pytest.approx([1.0, 2.4, 3.0, 2.7])


@pytest.mark.parametrize("wrong", [-1.0, math.nan])
def test_a_wrong_known_lambda_is_named(wrong: float, measured: Dataset) -> None:
    with pytest.raises(ValueError, match="`known_lambda` must be"):
        add_weights(measured, known_lambda=wrong)


def test_add_weights_adds_or_replaces_one_column(measured: Dataset) -> None:
    once = add_weights(measured, gamma=0.5)
    assert once.column_names == [*measured.column_names, "weight"]
    assert once["weight"][:] == pytest.approx(semantic_weight(measured["distance"][:], gamma=0.5).tolist())
    assert add_weights(once, gamma=0.5).to_list() == once.to_list()
    assert add_weights(once, gamma=2.0)["weight"][2] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("bad", "shown"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf"), (-0.2, "-0.2"), (None, "nan")]
)
def test_bad_distances_are_named_by_row(bad: float | None, shown: str, measured: Dataset) -> None:
    rows = measured.remove_columns("distance").add_column("distance", [0.1, bad, 0.2, bad])
    with pytest.raises(ValueError, match=rf"column 'distance' must hold finite.*rows 1, 3 have others, first {shown}"):
        add_weights(rows)
    if bad is not None:
        with pytest.raises(ValueError, match="column 'distance'.*row 1 have others"):
            semantic_weight([0.1, bad])


def test_distances_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="column 'distance' must hold numbers"):
        semantic_weight(["far"])


@pytest.mark.parametrize("gamma", [-0.1, math.nan, math.inf])
def test_a_wrong_gamma_is_refused(gamma: float, measured: Dataset) -> None:
    with pytest.raises(ValueError, match=f"`gamma` must be a finite number of at least 0, but {gamma} was passed"):
        semantic_weight([0.1], gamma=gamma)
    with pytest.raises(ValueError, match="`gamma` must be"):
        add_weights(measured, gamma=gamma)


def test_a_wrong_weighting_is_refused(measured: Dataset) -> None:
    with pytest.raises(ValueError, match=r"`weighting` 'shufled' is unknown\. Did you mean 'shuffled'\? Use paper"):
        add_weights(measured, weighting="shufled")
    with pytest.raises(ValueError, match='"column".*column `weight` that is there already'):
        add_weights(measured, weighting="column")
    with pytest.raises(ValueError, match=r"no column 'distance'.*Add it with add_distances"):
        add_weights(measured.remove_columns("distance"))
    with pytest.raises(TypeError, match="`facts` must be a datasets.Dataset, but dict"):
        add_weights(measured.to_dict())
