"""What a study measures of its tuned models: spectra in each result, features beside it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from semantic_trainer.study.features_table import features_table
from semantic_trainer.study.measures import measure_spectrum, read_features, write_features

from .conftest import results, tables
from .synthetic import a_result
from .test_deltas import adapted

ARMS = [
    "plain",
    "pruned: plain method=adalora",
    "dora: plain method=dora",
    "everything: plain method=full",
]


def test_every_method_with_a_change_of_weights_is_measured(recipe: Callable, study: Callable) -> None:
    written = recipe(arms=ARMS, runs=1, measures=["spectra", "features"], tables=["table2"], examples=1)
    folder = study(written)
    found = {name.split("/")[1]: result["spectrum"] for name, result in results(folder).items()}
    assert found.keys() == {"plain", "pruned", "dora", "everything"}
    for arm, s in found.items():
        assert (s["layer"], s["projection"]) == (1, "self_attn.q_proj")
        assert s["rank"] == {"everything": 8}.get(arm, 2) or arm == "pruned"
        assert s["amplification"] == pytest.approx(s["delta_norm"] / s["proj_delta"], rel=1e-4)
        assert 0 < s["proj_delta"] <= s["proj_weight"] <= s["weight_norm"]
    assert len({round(s["weight_norm"], 6) for s in found.values()}) == 1
    text = (folder / "tables" / "table2.md").read_text()
    assert "main, plain: self_attn.q_proj of layer 1 (the first layer is 0), r = 2." in text
    assert text.count("| norm of ΔW |") == 4
    assert "| setting | arm | norm | all |\n" in text  # the paper has no such group
    for arm in found:
        assert read_features(folder / "main" / arm / "0000.json").shape == (4, 32)


def test_they_are_the_same_in_any_order(recipe: Callable, study: Callable) -> None:
    written = recipe(runs=2, measures=["spectra", "features"], tables=["table2"])
    whole = study(written, "whole")
    study(written, "shards", "--shard", "1/2")
    shards = study(written, "shards", "--shard", "0/2")
    assert tables(shards) == tables(whole)
    paths = sorted(path.relative_to(whole) for path in whole.rglob("*.npy"))
    assert len(paths) == 4
    assert all((whole / path).read_bytes() == (shards / path).read_bytes() for path in paths)


def test_results_without_spectra_make_no_table(
    recipe: Callable, study: Callable, capsys: pytest.CaptureFixture
) -> None:
    written = recipe(runs=1, arms=["plain"], projection="v_proj", layer=0, measures=["spectra"], tables=["table2"])
    found = results(study(written))["main/plain/0000.json"]
    assert (found["spectrum"]["layer"], found["spectrum"]["projection"]) == (0, "self_attn.v_proj")
    assert (found["config"]["projection"], found["config"]["layer"]) == ("v_proj", 0)
    with pytest.raises(AssertionError):
        study(recipe(runs=1, arms=["plain"], tables=["table2"]), "without")
    assert "Add measures: [spectra]" in capsys.readouterr().err


def test_what_was_pruned_away_has_a_norm_of_0() -> None:
    model = adapted("Llama", "adalora", r=2)
    layer = model.get_submodule("base_model.model.model.layers.0.self_attn.q_proj")
    layer.lora_E["default"].data.zero_()
    found = measure_spectrum(model, {}, "q_proj", 0, rank=2, seed=0)
    assert (found["rank"], found["delta_norm"], found["proj_delta"], found["amplification"]) == (0, 0.0, None, None)
    assert found["weight_norm"] == pytest.approx(float(layer.get_base_layer().weight.norm()), rel=1e-5)


def test_missing_and_unreadable_features_are_said(tmp_path: Path) -> None:
    write_features(tmp_path / "0000.json", np.array([[0.5, 1.25]]))
    assert read_features(tmp_path / "0000.json").tolist() == [[0.5, 1.25]]
    with pytest.raises(FileNotFoundError, match="Run the study again"):
        read_features(tmp_path / "0001.json")
    whole = (tmp_path / "0000.features.npy").read_bytes()
    for broken in (b"", b"hello", whole[:-3]):
        (tmp_path / "0002.features.npy").write_bytes(broken)
        with pytest.raises(ValueError, match="0002.features.npy' holds no features"):
            read_features(tmp_path / "0002.json")


def test_a_run_whose_features_are_missing_is_made_again(recipe: Callable, study: Callable) -> None:
    written = recipe(runs=2, arms=["plain"], measures=["features"], figures=["figure5"], tables=None)
    folder = study(written)
    lost = folder / "main" / "plain" / "0001.features.npy"
    wanted = {path: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".npy", ".csv", ".png")}
    kept = (folder / "main" / "plain" / "0000.json").stat().st_mtime_ns
    lost.unlink()
    study(written)
    assert {path: path.read_bytes() for path in wanted} == wanted
    assert (folder / "main" / "plain" / "0000.json").stat().st_mtime_ns == kept


def test_the_table_of_features_is_made_run_by_run(tmp_path: Path) -> None:
    draw, results = np.random.default_rng(0), []
    for group, width in (("near", 1.0), ("far", 3.0)):
        for run in range(2):
            result = a_result(run, np.full(20, 0.5), np.ones(20), group=group, bounds=[0, 1], measures=["features"])
            write_features(tmp_path / f"zsre/plain/{group}-{run:04d}.json", draw.normal(0, width, (20, 4)))
            results.append(result)
    spreads, directions = features_table({"zsre": {"plain": results}}, tmp_path).rows
    assert (spreads[:3], spreads[-1]) == (("zsre", "plain", "spread"), "2")
    rows = [read_features(tmp_path / f"zsre/plain/far-000{run}.json") for run in range(2)]
    expected = np.mean([np.sqrt(((r - r.mean(0)) ** 2).sum(1).mean()) for r in rows])
    assert float(spreads[4].split()[0]) == pytest.approx(expected, rel=1e-3)
    values = [np.linalg.eigvalsh(np.cov(r.T)) for r in rows]
    expected = np.mean([v.sum() ** 2 / (v**2).sum() for v in values])
    assert float(directions[4].split()[0]) == pytest.approx(expected, rel=1e-3)
    results[0]["config"]["measures"] = []
    with pytest.raises(ValueError, match="zsre, plain holds none. Add measures"):
        features_table({"zsre": {"plain": results}}, tmp_path)
