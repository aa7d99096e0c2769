"""The figure of generality by relation."""

from pathlib import Path

from datasets import Dataset

from semantic_trainer.report.figures import generality_by_relation, save_figure


def test_generality_by_relation_puts_the_least_learnt_at_the_top() -> None:
    table = Dataset.from_dict({"generality": [[True, True], [False, True], [False, False], []]})
    figure = generality_by_relation(["a", "b", "b", None], {"plain": table, "weighted": table})
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["a (n=1)", "b (n=2)"]
    x = [point[0] for point in figure.axes[0].collections[0].get_offsets().tolist()]
    assert x == [1.0, 0.25]


def test_relations_may_be_long_many_and_hold_dollars(tmp_path: Path) -> None:
    names = ["costs $\\x$", "long " * 50, *(f"relation {i}" for i in range(100))]
    table = Dataset.from_dict({"generality": [[True]] * len(names)})
    figure = generality_by_relation(names, {"plain": table, "weighted": table})
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == 40
    assert max(map(len, labels)) <= 46
    assert "costs $\\x$ (n=1)" in labels
    assert save_figure(figure, tmp_path / "a.png").stat().st_size > 5000
