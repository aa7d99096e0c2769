"""RunSummary and what describes distances."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from semantic_trainer.evaluation.evaluator import METRICS
from semantic_trainer.report.summary import (
    RunSummary,
    commit_of,
    describe_distances,
    describe_environment,
    distance_warnings,
)


def test_a_summary_survives_saving(summary: RunSummary, tmp_path: Path) -> None:
    path = summary.save(tmp_path)
    assert path.name == "semantic_summary.json"
    assert RunSummary.load(tmp_path) == summary
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_top_level_keys(summary: RunSummary) -> None:
    data = json.loads(summary.to_json())
    assert list(data) == ["schema_version", "config", "environment", "facts", "distances", "runs"]
    assert list(data["runs"]) == ["before", "plain", "weighted"]
    assert list(data["runs"]["before"])[: len(METRICS)] == list(METRICS)
    assert data["runs"]["before"]["deviation"]["value"] is None


def test_no_summary_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no semantic_summary.json: no run has ended there"):
        RunSummary.load(tmp_path)


def test_another_schema_version(summary: RunSummary, tmp_path: Path) -> None:
    path = summary.save(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    with pytest.raises(ValueError, match=r"schema_version 99; this version reads 1"):
        RunSummary.load(tmp_path)


def test_a_missing_metric(summary: RunSummary) -> None:
    runs = {**summary.runs, "plain": {k: v for k, v in summary.runs["plain"].items() if k != "locality"}}
    with pytest.raises(ValueError, match=r"runs\['plain'\].*lacks \['locality'\].*null if undefined"):
        RunSummary(summary.config, summary.environment, summary.facts, summary.distances, runs)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), np.float32("nan")])
def test_nan_is_never_written(bad: float, summary: RunSummary, tmp_path: Path) -> None:
    summary.distances["mean"], summary.distances["quantiles"] = bad, {"0.5": [bad, 1.0]}
    summary.save(tmp_path)
    written = RunSummary.load(tmp_path).distances
    assert written["mean"] is None
    assert written["quantiles"] == {"0.5": [None, 1.0]}


def test_numpy_numbers_stay_numbers(summary: RunSummary) -> None:
    summary.distances["mean"], summary.facts["taught"] = np.float32(0.5), np.int64(3)
    data = json.loads(summary.to_json())
    assert data["distances"]["mean"] == 0.5
    assert data["facts"]["taught"] == 3


def test_distances_are_described(facts: Dataset) -> None:
    found = describe_distances(facts)
    assert found["n"] == 3
    assert found["mean"] == pytest.approx(2.0 / 3)
    assert found["std"] == pytest.approx(np.std([0.0, 0.7, 1.3]))
    assert found["quantiles"]["0.5"] == pytest.approx(0.7)
    third = pytest.approx(1 / 3)
    shares = {"known": third, "empty": third, "truncated": third, "long": 0.0, "above_1": third, "permuted": 0.0}
    assert found["shares"] == shares


def test_permuted_and_long_answers_are_told_apart(facts: Dataset) -> None:
    rows = facts.to_list()
    rows[0]["old_answer"] = "emoR"
    rows[1]["old_answer"] = "one two three four five six seven"
    shares = describe_distances(Dataset.from_list(rows))["shares"]
    assert shares["permuted"] == shares["long"] == pytest.approx(1 / 3)
    assert shares["known"] == 0.0


def test_known_labels_are_described_where_they_are(facts: Dataset) -> None:
    assert "known_labels" not in describe_distances(facts)
    labelled = facts.add_column("known_label", ["unknown", "highly_known", "unknown"])
    found = describe_distances(labelled)["known_labels"]
    assert list(found) == ["unknown", "highly_known"]
    assert found["unknown"] == {"n": 2, "mean_distance": pytest.approx(0.65)}
    assert found["highly_known"] == {"n": 1, "mean_distance": pytest.approx(0.7)}


def test_warnings_name_the_fix() -> None:
    quiet = {"shares": {"long": 0.2, "truncated": 0.05}}
    assert distance_warnings(quiet) == []
    long, truncated = distance_warnings({"shares": {"long": 0.21, "truncated": 0.5}})
    assert "21%" in long
    assert "`shots`" in long
    assert "max_new_tokens" in truncated


def test_the_environment_names_versions_and_no_folders() -> None:
    found = describe_environment()
    assert {"torch", "transformers", "peft", "semantic-trainer"} <= set(found["versions"])
    assert found["machine"]["threads"] >= 1
    assert str(Path.home()) not in json.dumps(found)


def test_a_commit_is_marked_where_code_has_changed_since(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(["git", *who, *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert commit_of(tmp_path) is None
    git("init", "-q")
    assert commit_of(tmp_path) is None
    for folder in ("semantic_trainer", "examples", "results"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("a")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    (tmp_path / "results" / "a.txt").write_text("b")
    (tmp_path / "examples" / "new.txt").write_text("b")
    head = git("rev-parse", "HEAD").strip()
    assert commit_of(tmp_path) == head
    (tmp_path / "examples" / "a.txt").write_text("b")
    assert commit_of(tmp_path) == f"{head}-dirty"
