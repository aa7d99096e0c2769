"""What a card claims is read without trusting it."""

import pytest

from semantic_trainer.hub.card import card_values, contradictions, other_rows

CARD = """---
license: mit
model-index:
- name: x
  results:
  - metrics:
    - type: locality
      value: 0.5
  - metrics:
    - type: generality
      value: 1
---
# A card
"""
LAUGHS = "\n".join(["a: &a0 [x, x]", *(f"b{i}: &a{i + 1} [*a{i}, *a{i}]" for i in range(40))])


def test_values_by_metric() -> None:
    assert card_values(CARD) == {"locality": 0.5, "generality": 1.0}
    assert card_values(CARD.replace("\n", "\r\n")) == {"locality": 0.5, "generality": 1.0}
    assert card_values("# no metadata") == card_values("---\nlicense: mit\n---\n") == {}


@pytest.mark.parametrize(
    "front",
    [
        *(LAUGHS, "[" * 5000, "- " * 5000, "x: " + "y" * 60_000, "a: [", "- 1"),
        *("model-index: 5", "model-index: [5]", "model-index: [{}]"),
        "model-index: [{results: [{metrics: [{type: locality, value: x}]}]}]",
        "model-index: [{results: [{metrics: [{type: locality, value: .nan}]}]}]",
        "a: !!python/object/apply:os.system ['true']",
    ],
)
def test_what_cannot_be_read(front: str) -> None:
    with pytest.raises(ValueError, match="the card's metadata cannot be read") as caught:
        card_values(f"---\n{front}\n---\n# card")
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


def test_contradictions() -> None:
    scores = {"locality": {"value": 0.5}, "generality": {"value": None}, "deviation": {"value": 0.25}}
    claimed = {"locality": 0.5 + 1e-9, "generality": 1.0, "deviation": 0.26, "other": 3.0}
    assert contradictions(claimed, scores) == ["generality", "deviation"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("| Locality | 100.0 % | 97.5 % [90.2, 99.6] | – |", []),
        ("|Locality|100.0 %|97.5 %|–|", []),  # as another version might write it
        ("| Locality | 100.0 % | 98.5 % [90.2, 99.6] | – |", ["Locality"]),
        ("| Locality | 100.0 % | 97.5 % [90.2, 99.6] | 3.0 % |", ["Locality"]),
        ("| Locality | 100.0 % |", ["Locality"]),
        ("Locality is 3 %.", []),
    ],
)
def test_rows_of_a_table(line: str, found: list[str]) -> None:
    assert other_rows(f"# Card\n\n{line}\n", [["Locality", "100.0 %", "97.5 % [90.2, 99.6]", "–"]]) == found
