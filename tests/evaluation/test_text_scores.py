"""Scores of texts beside the strict one, and the gap of the teacher-forced one."""

import math
import re
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_trainer.evaluation.scores import contains, leak_gap, normal_form, normalized, strict


@pytest.mark.parametrize(
    ("answer", "target", "aliases", "by_normal_form", "by_words"),
    [
        ("Rome", "Rome", (), True, True),
        ("the rome!", "Rome", (), True, True),
        ("It is Rome", "Rome", (), False, True),
        ("It is Romeo", "Rome", (), False, False),
        ("Paris\nor rather Rome", "Rome", (), False, True),
        ("Paris\nRome", "Paris", (), True, True),
        ("“WASHINGTON, d.c.”", "Washington D.C.", (), True, True),
        ("New York", "NYC", ("Big Apple", "new york."), True, True),
        ("in New York City", "York City", (), False, True),
        ("¿Mérida…", "Mérida", (), True, True),
        ("Merida", "Mérida", (), False, False),
        ("東京です", "東京", (), False, False),
        ("", "Rome", (), False, False),
        ("Rome", "", (), False, False),
        ("", "", (), True, False),
        ("?!", "The", (), False, False),
        ("The", "The", (), True, False),
        ("a\u0301", "", (), False, False),
    ],
)
def test_normalized_and_contains(
    answer: str, target: str, aliases: tuple[str, ...], by_normal_form: bool, by_words: bool
) -> None:
    assert normalized(answer, target, aliases) is by_normal_form
    assert contains(answer, target, aliases) is by_words


def squad(text: str) -> str:
    """The normal form as the SQuAD script computes it."""
    text = "".join(char for char in text.lower() if char not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


@given(st.text(st.sampled_from(string.printable)) | st.lists(st.sampled_from("a an the Rome D.C. x-the".split())))
def test_normal_form_is_that_of_squad(text: str | list[str]) -> None:
    text = text if isinstance(text, str) else " ".join(text)
    assert normal_form(text) == squad(text)


def test_normal_form_knows_the_punctuation_of_other_scripts() -> None:
    assert normal_form("「東京」、【Œuvre】 · ¡€5!") == "東京œuvre €5"


@given(st.text(), st.text(), st.lists(st.text(), max_size=2))
def test_strict_implies_normalized_and_contains(answer: str, target: str, aliases: list[str]) -> None:
    for wanted in (target, answer, f' "{answer}".'):
        if strict(answer, wanted, aliases):
            assert normalized(answer, wanted, aliases)
            if all(normal_form(text) for text in (wanted, *aliases)):
                assert contains(answer, wanted, aliases)


@pytest.mark.parametrize("score", [strict, normalized, contains])
def test_aliases_are_a_list(score: object) -> None:
    with pytest.raises(TypeError, match="`aliases` must be a list of texts, but the text 'NYC'"):
        score("NYC", "New York", "NYC")


def test_leak_gap() -> None:
    np.testing.assert_allclose(leak_gap([1.0, 0.75, 0.0], np.array([True, False, False])), [0.0, 0.75, 0.0])
    assert float(leak_gap(0.9, 0.25)) == pytest.approx(0.65)


@pytest.mark.parametrize(
    ("token", "strict", "match"),
    [([1.0], [1, 0], r"\(1,\) and \(2,\)"), ([75.0], [1], r"`token` .* 75"), ([math.nan], [1], "`token`")],
)
def test_leak_gap_refuses(token: list[float], strict: list[int], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        leak_gap(token, strict)
