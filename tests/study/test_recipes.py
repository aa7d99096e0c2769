"""The recipes of the paper's tables and figures: each can be read at every scale, and runs at the smallest."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from semantic_trainer.cli import main
from semantic_trainer.commands.recipe import SCALES, read_recipe

from ..conftest import DATA_DIR

EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPES = sorted((EXAMPLES / "paper").glob("*.yaml"))
PACING = sorted((EXAMPLES / "pacing").glob("*.yaml"))
TRIES = EXAMPLES / "tries" / "dev.yaml"
NAMES = {*(f"table{i}" for i in range(1, 6)), *(f"figure{i}" for i in range(3, 9))}


def test_there_is_one_for_each_table_and_figure() -> None:
    assert {path.stem for path in RECIPES} == NAMES
    for path in RECIPES:
        assert path.stem in yaml.safe_load(path.read_text())["tables" if path.stem.startswith("table") else "figures"]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_is_read(path: Path, scale: str) -> None:
    settings, options, folder = read_recipe(["--config", str(path), "--scale", scale])
    assert settings
    assert options.scale == scale
    assert folder.parts[0] == ("runs" if scale == "smoke" else "results")
    assert all(setting.facts.split == "test" for setting in settings)
    if scale == "paper":
        assert all(setting.runs >= 20 for setting in settings)
        assert all("llama" in s.model.model.lower() or "/" in s.model.model for s in settings)


@pytest.mark.parametrize("scale", ["file", "smoke"])
@pytest.mark.parametrize("path", [*PACING, TRIES, TRIES.with_name("test.yaml")], ids=lambda path: path.stem)
def test_what_chooses_stays_on_the_dev_half(path: Path, scale: str) -> None:
    settings, _, folder = read_recipe(["--config", str(path), "--scale", scale])
    half = "test" if path.stem in ("expected", "study", "starved", "test") else "dev"
    assert {setting.facts.split for setting in settings} == {half}
    assert folder.parts[0] == ("runs" if scale == "smoke" else "results")


def test_recipes_that_share_a_folder_share_their_runs() -> None:
    """A setting of one name in one folder has one set of options, whichever recipe is run first."""
    for scale in ("file", "paper"):
        seen: dict[tuple, dict] = {}
        for path in RECIPES:
            settings, _, folder = read_recipe(["--config", str(path), "--scale", scale])
            for setting in settings:
                for arm in setting.arms:
                    config = setting.config(setting.draws[0], arm, "", 1)
                    key = (str(folder), setting.name, arm.name)
                    assert seen.setdefault(key, config) == config, (path.stem, key)


@pytest.mark.slow
@pytest.mark.parametrize("path", [*RECIPES, *PACING], ids=lambda path: path.stem)
def test_it_runs_at_the_smallest_scale(path: Path, tmp_path: Path) -> None:
    if not (DATA_DIR / "zsre_mend_1k.json").exists():
        pytest.skip(f"no data in {DATA_DIR}")
    argv = ["study", "--config", str(path), "--scale", "smoke", "--data_dir", str(DATA_DIR)]
    assert main([*argv, "--output_dir", str(tmp_path)]) == 0
    recipe = yaml.safe_load(path.read_text())
    told = {**recipe, **recipe["scales"]["smoke"]}
    for name in told.get("tables") or ():
        assert (tmp_path / "tables" / f"{name}.md").read_text().count("\n|") > 2
    for name in told.get("figures") or ():
        assert len((tmp_path / "figures" / f"{name}.csv").read_text().splitlines()) > 2
        assert all((tmp_path / "figures" / f"{name}{end}").exists() for end in (".png", "-dark.png", ".svg", ".md"))
    assert list(tmp_path.rglob("*.json"))


def run_tries(*options: str) -> subprocess.CompletedProcess:
    """`examples/tries/study.py` as a user runs it."""
    argv = [sys.executable, TRIES.with_name("study.py"), "--config", TRIES, "--data_dir", DATA_DIR, *options]
    return subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_every_try_trains(tmp_path: Path) -> None:
    if not (DATA_DIR / "zsre_mend_1k.json").exists():
        pytest.skip(f"no data in {DATA_DIR}")
    found = run_tries("--scale", "smoke", "--output_dir", str(tmp_path))
    assert found.returncode == 0, found.stderr
    found = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.rglob("[0-9]*.json")}
    assert {result["training"]["steps"] for result in found.values()} == {4}  # of 8 facts, and rehearsed ones beside
    assert {name: [result["try"][key] for key in ("kind", "strength")] for name, result in found.items()} == {
        name: [name.partition("-")[0], float(name.partition("-")[2] or 0)] for name in found
    }
    assert set(found) == {"plain", "soft-1", "refreshed-1", "rehearsal-0.5", "mixed-0.5", "filtered-0.2"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--arms", "sofd-1: plain"), "`arms` 'sofd-1' is no try. Use soft or"),
        (("--arms", "soft: plain"), "`arms` 'soft' is no try"),
        (("--workers", "2"), "study.py: error: `workers` is 2, but this is one"),
        (("--only_tables", "true"), "`only_tables` writes tables, which `semantic-trainer study` does"),
    ],
)
def test_a_try_that_cannot_be_run_is_refused(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    found = run_tries("--output_dir", str(tmp_path), *options)
    assert found.returncode
    assert message in found.stderr
    assert not list(tmp_path.iterdir())
