"""The figure of generality by relation."""

from datasets import Dataset

from semantic_trainer.report.figures import generality_by_relation


def test_generality_by_relation_puts_the_least_learnt_at_the_top() -> None:
    table = Dataset.from_dict({"generality": [[True, True], [False, True], [False, False], []]})
    figure = generality_by_relation(["a", "b", "b", None], {"plain": table, "weighted": table})
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["a (n=1)", "b (n=2)"]
    x = [point[0] for point in figure.axes[0].collections[0].get_offsets().tolist()]
    assert x == [1.0, 0.25]
