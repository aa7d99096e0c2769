"""What the metrics take, and what they say to what they do not take."""

import math
from collections.abc import Callable, Sequence

import evaluate
import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset

Load = Callable[..., evaluate.EvaluationModule]
NAMES = ("knowledge_accuracy", "generality", "locality")
MIXED = [
    (["a", "c"], ["a", ["b", "c"]], 1.0),
    (["a", "b"], [["a"], "b"], 1.0),
    (["c", "a", "x"], ["a", ("b", "a"), ["x", "y"]], 2 / 3),
    (["['b', 'c']", "a"], ["a", ["b", "c"]], 0.0),
    (["", "a"], ["", ["", "b"]], 0.5),
]
PAIR = {"predictions": ["a"], "references": ["a"]}

every_metric = pytest.mark.parametrize("name", NAMES)
mixtures = pytest.mark.parametrize(("predictions", "references", "expected"), MIXED)


@every_metric
@mixtures
def test_mixtures_through_compute(load: Load, name: str, predictions: list, references: list, expected: float) -> None:
    found = load(name).compute(predictions=predictions, references=references)
    assert found == {name: pytest.approx(expected)}


@mixtures
def test_mixtures_through_add_and_add_batch(load: Load, predictions: list, references: list, expected: float) -> None:
    metric = load("locality")
    for prediction, reference in zip(predictions, references, strict=True):
        metric.add(prediction=prediction, reference=reference)
    metric.add_batch(predictions=predictions, references=references)
    metric.add(predictions=predictions[0], references=references[0])
    assert len(metric) == 2 * len(predictions) + 1
    groups = [*range(len(predictions)), *range(len(predictions)), 0]
    assert metric.compute(groups=groups) == {"locality": pytest.approx(expected)}


@mixtures
def test_mixtures_through_combine(load: Load, predictions: list, references: list, expected: float) -> None:
    combined = evaluate.combine([load(name) for name in NAMES])
    wanted = {name: pytest.approx(expected) for name in NAMES}
    assert combined.compute(predictions=predictions, references=references) == wanted
    for prediction, reference in zip(predictions, references, strict=True):
        combined.add(prediction=prediction, reference=reference)
    assert combined.compute() == wanted
    combined.add_batch(predictions=predictions, references=references)
    assert combined.compute(match="strict", groups=list(range(len(predictions)))) == wanted


def test_combine_of_two_deviations(load: Load) -> None:
    combined = evaluate.combine({"plain": load("deviation"), "weighted": load("deviation")})
    combined.add(prediction=0.75, reference=0.5)
    combined.add_batch(predictions=[0.0], references=[0.0])
    found = combined.compute()
    assert found["plain_deviation"] == found["weighted_deviation"] == 0.5
    assert found["plain_undefined"] == 1


@pytest.mark.parametrize("column", [list, tuple, np.array, lambda texts: pd.Series(texts, index=[7, 5]), iter])
def test_containers_of_texts(load: Load, column: Callable[[list], Sequence]) -> None:
    found = load("generality").compute(predictions=column(["a", "b"]), references=column(["a", "c"]))
    assert found == {"generality": 0.5}


def test_columns_of_a_dataset_and_of_a_parquet_frame(load: Load) -> None:
    facts = Dataset.from_dict({"answer": ["a", "b"], "aliases": [["a", "c"], ["b"]]})
    frame = facts.to_pandas()
    metric = load("knowledge_accuracy")
    for table in (facts, frame):
        assert metric.compute(predictions=table["answer"], references=table["aliases"]) == {"knowledge_accuracy": 1.0}


@pytest.mark.parametrize("column", [list, np.array, torch.tensor, pd.Series])
def test_containers_of_distances(load: Load, column: Callable[[list], Sequence]) -> None:
    found = load("deviation").compute(predictions=column([0.75, 0.25]), references=column([0.5, 0.5]))
    assert found["deviation"] == found["relative_deviation"] == 0.5


@pytest.mark.parametrize("groups", [["x", "x", "y"], (1, 1, 2), np.array([1, 1, 2]), torch.tensor([3, 3, 4])])
def test_groups_count_once_each(load: Load, groups: Sequence) -> None:
    found = load("generality").compute(predictions=["a", "b", "c"], references=["a", "x", "c"], groups=groups)
    assert found == {"generality": 0.75}


@every_metric
@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ({"predictions": [], "references": []}, "found 0 rows.* give at least 1 row"),
        ({}, "call `add` or `add_batch`"),
        ({"predictions": ["a", "b"], "references": ["a"]}, "2 `predictions`, 1 `references`: give one reference each"),
        ({"predictions": ["a", 3], "references": ["a", "b"]}, r"row 1: expected a text .* found \(3, \['b'\]\)"),
        ({"predictions": [["a"]], "references": ["a"]}, "row 0: expected a text"),
        ({"predictions": ["a"], "references": [None]}, r"row 0: .* found \('a', \[None\]\)"),
        ({"predictions": ["a"], "references": [[]]}, r"row 0: .* found \('a', \[\]\)"),
        ({"predictions": ["a"], "references": [["a", ["b"]]]}, "row 0"),
        ({"predictions": ["a"], "references": [{"text": ["a"]}]}, "row 0: .*'text'"),
        ({"predictions": ["\ud800"], "references": ["a"]}, "row 0"),
        ({"predictions": ["a"]}, "row 0: .* found .*None"),
        ({**PAIR, "match": "Strict"}, "match 'Strict': .* 'strict', 'normalized' or 'contains'"),
        ({**PAIR, "groups": [1, 2]}, "found 1 rows, 2 groups .* a group each"),
        ({"predictions": ["a", "b"], "references": ["a", "b"], "groups": "xy"}, "found 2 rows, 1 groups"),
        ({**PAIR, "groups": [[1]]}, r"found 1 rows, 1 groups \(\[1\] in `groups` is no id\) .* a group each"),
        ({**PAIR, "groups": [{"fact": 1}]}, r"\({'fact': 1} in `groups` is no id\)"),
        ({**PAIR, "groups": np.array([[1, 2]])}, r"\(\[1, 2\] in `groups` is no id\)"),
    ],
)
def test_errors_of_text_metrics(load: Load, name: str, inputs: dict, match: str) -> None:
    metric = load(name)
    with pytest.raises(ValueError, match=match):
        metric.compute(**inputs)
    assert metric.compute(**PAIR) == {name: 1.0}, "nothing may be left of the failed rows"


@pytest.mark.parametrize(
    ("new", "old", "match"),
    [
        ([], [], "0 rows: give at least one new and one old distance"),
        ([0.1, 0.2], [0.1], "2 `predictions`, 1 `references`"),
        ([0.1, math.nan], [0.1, 0.1], "`predictions`, row 1: expected a distance, .* found nan"),
        ([0.1], [-0.1], "`references`, row 0: .* found -0.1"),
        ([math.inf], [0.1], "`predictions`, row 0: .* found inf"),
        (["0.1"], [0.1], "`predictions`, row 0: .* found '0.1'"),
        ([None], [0.1], "`predictions`, row 0: .* found None"),
        ([[0.1]], [0.1], "`predictions`, row 0"),
        (0.1, [0.1], "`predictions` must be a list .* found 0.1"),
        ([0.1], None, "`references` must be a list .* found None"),
    ],
)
def test_errors_of_deviation(load: Load, new: object, old: object, match: str) -> None:
    metric = load("deviation")
    with pytest.raises(ValueError, match=match):
        metric.compute(predictions=new, references=old)
    assert metric.compute(predictions=[0.5], references=[0.4])["deviation"] == 1.0


@pytest.mark.parametrize("name", [*NAMES, "deviation"])
def test_unknown_option(load: Load, name: str) -> None:
    rows = {"predictions": [0.5], "references": [0.5]} if name == "deviation" else PAIR
    with pytest.raises(TypeError, match="ignore_case"):
        load(name).compute(**rows, ignore_case=True)
