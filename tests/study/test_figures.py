"""Figures of a study: written beside the tables, from nothing but its results, and the same in any order."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rc_context

from semantic_trainer.cli import main
from semantic_trainer.report.themes import LIGHT
from semantic_trainer.study.features import joint_pca
from semantic_trainer.study.figures import FIGURES, to_csv, write_figures
from semantic_trainer.study.measures import read_features
from semantic_trainer.study.results import write_result

from .conftest import results
from .synthetic import the_studies

ENDS = (".csv", ".md", ".png", ".svg", "-dark.png")
DRAWN = ["figure3", "figure5", "figure7"]
EVERY = {
    "figures": DRAWN,
    "groups": ["near=0:1", "far=1:2"],
    "facts_per_run": 2,
    "measures": ["features"],
    "tables": None,
    "arms": ["plain", "filter replace_share=0.5 exclude_flagged=false"],
    "runs": 2,
}


def read(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "figures" / f"{name}.csv").open()))


def test_figures_are_drawn_and_the_same_in_any_order(recipe: Callable, study: Callable) -> None:
    written = recipe(**EVERY)
    whole = study(written, "whole")
    study(written, "shards", "--shard", "1/2", "--figures", "figure3")
    shards = study(written, "shards", "--shard", "0/2")
    names = {f"{name}{end}" for name in DRAWN for end in ENDS} | {"figure5-points.csv"}
    for folder in (whole, shards):
        assert {path.name for path in (folder / "figures").iterdir()} == names
    for name in names:
        assert (whole / "figures" / name).read_bytes() == (shards / "figures" / name).read_bytes(), name
    page = (whole / "figures" / "figure3.md").read_text()
    for said in (
        "figure3-dark.png",
        "prefers-color-scheme: dark",
        "effective sample size",
        "Command: `semantic",
        "2 fac",
    ):
        assert said in page
    assert "main, other than plain: filter" in page
    assert "other than plain" not in (whole / "figures" / "figure5.md").read_text()  # of the first arm alone
    _check_counts(whole)
    _check_features(whole)


def _check_counts(folder: Path) -> None:
    """Every fact of every run is in one bin."""
    found = results(folder)
    for arm in ("plain", "filter-replace_share-0.5-exclude_flagged-false"):
        rows = [row for row in read(folder, "figure3") if row["series"] == f"main, {arm}"]
        mine = [r for name, r in found.items() if name.startswith(f"main/{arm}/")]
        assert sum(int(row["n"]) for row in rows) == 2 * len(mine) == 8
        values = [value for result in mine for value in result["rows"]["knowledge_accuracy"][:2]]
        right = sum(int(row["n"]) * float(row["value"] or 0) for row in rows)
        assert right == pytest.approx(sum(values))


def _check_features(folder: Path) -> None:
    """The CSV is the joint PCA of the files beside the results."""
    stacked = {
        group: np.concatenate([read_features(folder / f"main/plain/{group}-000{run}.json") for run in range(2)])
        for group in ("near", "far")
    }
    wanted, rows = joint_pca(stacked, 8), read(folder, "figure5")
    assert [row["group"] for row in rows] == ["near"] * 8 + ["far"] * 8
    assert [float(row["explained"]) for row in rows[:8]] == pytest.approx(wanted.explained, abs=1e-7)
    assert float(rows[-1]["spread"]) == pytest.approx(wanted.spread["far"])
    points = read(folder, "figure5-points")
    assert len(points) == 8
    assert [float(row["pc1"]) for row in points[:4]] == pytest.approx(wanted.scores["near"][:, 0], abs=1e-6)


def test_only_tables_draws_without_running(recipe: Callable, study: Callable, capsys: pytest.CaptureFixture) -> None:
    folder = study(recipe(runs=1, arms=["plain"]))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    capsys.readouterr()
    study(recipe(runs=1, arms=["plain"], figures=["figure8"]), "out", "--only_tables", "true")
    assert capsys.readouterr().out.splitlines()[-1] == str(folder / "figures" / "figure8.md")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")} == before
    assert {row["series"] for row in read(folder, "figure8")} == {"4 facts a run"}


@pytest.mark.parametrize("name", ["figure3", "figure4", "figure6", "figure7", "figure8"])
def test_at_the_recipes_size_nothing_leaves_the_picture(name: str, tmp_path: Path) -> None:
    rows = FIGURES[name].data(the_studies()[name], tmp_path)
    with rc_context(LIGHT.settings):
        figure = FIGURES[name].draw(rows, LIGHT)
        figure.draw_without_rendering()
        drawn, page = figure.get_tightbbox(), figure.bbox_inches
    assert min(drawn.x0, drawn.y0) >= -0.01
    assert drawn.x1 <= page.x1 + 0.01
    assert drawn.y1 <= page.y1 + 0.01


def test_what_has_no_runs_yet_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arms = the_studies()["figure7"]["zsre-lora"]
    write_result(tmp_path / "zsre" / "plain" / "0000.json", arms["plain"][0])
    assert write_figures(tmp_path, {"zsre": list(arms)}, ["figure7"], "command") == []
    assert "figure7 is not drawn" in caplog.text
    with pytest.raises(FileNotFoundError, match="run the study first"):
        write_figures(tmp_path, {"elsewhere": ["plain"]}, ["figure3"], "command")


def test_missing_values_are_empty_cells() -> None:
    assert to_csv([{"a": None, "b": 0.123456789}, {"a": np.float64(2), "b": 1}]) == "a,b\n,0.12345679\n2.0,1\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"figures": ["figure9"]}, "`figures` 'figure9' is unknown"),
        ({"figures": ["figure5"]}, "Add measures: [features]"),
        ({"figures": ["figure7"]}, "needs arms that replace facts"),
    ],
)
def test_what_cannot_be_drawn_is_said_before_anything_is_run(
    changes: dict, message: str, recipe: Callable, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = ["study", "--config", str(recipe(**changes)), "--data_dir", str(inputs)]
    assert main([*argv, "--output_dir", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
