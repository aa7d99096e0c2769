"""`run --known_labels`: facts are labelled before training, and the labels reach everything the run writes."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest

from semantic_trainer.answers.known import LABELS


def test_labels_reach_the_table_the_summary_and_the_page(call: Callable, tmp_path: Path) -> None:
    assert call("run", "--known_labels") == 0
    table = pyarrow.parquet.read_table(tmp_path / "out" / "facts.parquet")
    labels = table["known_label"].to_pylist()
    assert set(labels) <= set(LABELS)
    described = json.loads((tmp_path / "out" / "semantic_summary.json").read_text())["distances"]["known_labels"]
    assert {label: found["n"] for label, found in described.items()} == {x: labels.count(x) for x in set(labels)}
    assert '<section id="labels">' in (tmp_path / "out" / "report.html").read_text()


def test_one_fact_has_no_examples(
    call: Callable, write_rows: Callable, rows: list[dict], capsys: pytest.CaptureFixture
) -> None:
    assert call("run", "--known_labels", facts=[str(write_rows(rows[:1]))]) != 0
    assert "`known_labels` asks each fact after examples made of others" in capsys.readouterr().err
