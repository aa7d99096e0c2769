"""Scores of the metrics against slow obvious references and against the package, on made inputs."""

import importlib
import math
import sys
import unicodedata
from functools import cache
from pathlib import Path
from types import ModuleType

import evaluate
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from semantic_trainer.evaluation import scores
from semantic_trainer.facts.cutting import cut

ROOT = Path(__file__).parents[2]
NAMES = ("knowledge_accuracy", "generality", "locality")
PIECES = [
    *"\"“”«».'!¿…—",
    "\n",
    " ",
    "\t",
    "\u2028",
    "\x85",
    "Rome",
    "rome",
    "a",
    "The",
    "Washington D.C.",
    "É",
    "e\u0301",
]
messy = st.lists(st.sampled_from([*PIECES, "東京", "İ", "🗼", "€"]), max_size=8).map("".join)
texts = messy | st.text(max_size=12) | st.sampled_from(["", "Rome", '"Rome".', "Rome\nParis", "the Rome!", "in Rome"])
references = texts | st.lists(texts, min_size=1, max_size=3)
rows = st.lists(st.tuples(texts, references, st.integers(0, 3)), min_size=1, max_size=8)
distances = st.sampled_from([0.0, 5e-7, 1e-6, 2e-6, 0.5, 0.5000005, 2.0]) | st.floats(0, 2)
offline = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)


@cache
def load(name: str) -> evaluate.EvaluationModule:
    """One instance for all examples: nothing may be left of the one before."""
    return evaluate.load(str(ROOT / "metrics" / name), keep_in_memory=True)


@pytest.fixture(scope="module")
def module() -> ModuleType:
    return importlib.import_module(type(load("knowledge_accuracy")).__module__)


@given(messy | st.text())
@example('"' * 60)
@example("x" * 200_000 + '".\nnext')
@example('“"«Rome».". ."”')
@offline
def test_cut_is_that_of_the_package(module: ModuleType, text: str) -> None:
    assert module.cut(text) == cut(text)


def test_punctuation_is_that_of_unicode(module: ModuleType) -> None:
    wanted = {i for i in range(sys.maxunicode + 1) if unicodedata.category(chr(i)).startswith("P")}
    assert set(module.PUNCTUATION) == wanted | set(map(ord, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("match", ["strict", "normalized", "contains"])
@given(rows=rows, grouped=st.booleans())
@example(rows=[("Washington D.C.", ["DC", "Washington D.C"], 0)], grouped=False)
@example(rows=[("y " * 50_000 + "Rome", "Rome", 0), ("Rome", ["Oslo"], 0), ("", "", 1)], grouped=True)
@offline
def test_scores_are_means_of_the_package_scores(name: str, match: str, rows: list, grouped: bool) -> None:
    hits = {}
    for i, (answer, reference, fact) in enumerate(rows):
        first, *others = [reference] if isinstance(reference, str) else reference
        hits.setdefault(fact if grouped else i, []).append(getattr(scores, match)(answer, first, others))
    found = load(name).compute(
        predictions=[row[0] for row in rows],
        references=[row[1] for row in rows],
        groups=[row[2] for row in rows] if grouped else None,
        match=match,
    )
    assert found == {name: pytest.approx(mean([mean(fact) for fact in hits.values()]))}


@given(st.lists(st.tuples(distances, distances), min_size=1, max_size=12))
@offline
def test_deviation_is_that_of_the_package(rows: list[tuple[float, float]]) -> None:
    new, old = np.array(rows).T
    away, bad = scores.deviates(new, old), scores.bad_cases(np.ones(len(new)), new)
    relative = scores.relative_deviation(new, old)
    moved = relative[away & np.isfinite(relative)]
    expected = {
        "deviation": away.mean(),
        "deviation_in_bad": away.sum() / bad.sum() if bad.any() else None,
        "relative_deviation": moved.mean() if len(moved) else None,
        "undefined": int(np.isnan(relative).sum()),
    }
    found = load("deviation").compute(predictions=new, references=old)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] is None if value is None else math.isclose(found[key], value, rel_tol=1e-12), key


def test_deviation_by_hand() -> None:
    found = load("deviation").compute(predictions=[0.9, 0.3, 0.2, 0.0, 0.4], references=[0.6, 0.2, 0.4, 0.0, 0.0])
    assert found == {
        "deviation": pytest.approx(3 / 5),
        "deviation_in_bad": pytest.approx(3 / 4),
        "relative_deviation": pytest.approx(0.5),
        "undefined": 2,
    }
