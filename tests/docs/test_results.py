"""What the pages show of studies is what their raw results give."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats

from semantic_trainer import semantic_weight
from semantic_trainer.cli import main

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "results" / "pacing" / "study" / "epochs-4"
SPEC = importlib.util.spec_from_file_location("render", ROOT / "docs" / "render.py")
render = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(render)


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda path: path.stem)
def test_a_page_has_its_tables_as_they_are(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("<!-- table ") == text.count("<!-- /table -->")
    assert render.with_tables(text) == text, "run `make results`"


def test_a_table_is_put_between_its_marks_without_its_title(tmp_path: Path) -> None:
    (tmp_path / "t.md").write_text("# Title\n\n| a |\n|---|\n| 1 |\n")
    page = "before\n<!-- table t.md -->\nold\n<!-- /table -->\nafter\n"
    assert render.with_tables(page, tmp_path) == (
        "before\n<!-- table t.md -->\n| a |\n|---|\n| 1 |\n<!-- /table -->\nafter\n"
    )


def test_a_figure_is_found_from_the_page(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "f.md").write_text('# Title\n\n<img srcset="f-dark.png" src="f.png">\n\n- Note.\n')
    page = "<!-- table f/f.md -->\n<!-- /table -->"
    assert '<img srcset="../f/f-dark.png" src="../f/f.png">' in render.with_tables(page, tmp_path)


def test_a_search_of_a_method_without_rank_is_a_table_too() -> None:
    score = {"value": 0.5, "ci95": None}
    row = {
        "arm": "plain",
        "learning_rate": 0.01,
        "batch_size": 5,
        "rank": None,
        "epochs": 4,
        "runs": 1,
        "seconds": 2.0,
    }
    row |= {"knowledge_accuracy": score, "generality": {"value": None, "ci95": None}}
    table = render.search_table({"trials": [row], "curve": [], "expected": {"plain": row}, "difference": {}})
    assert "| plain | 0.01 | 5 | – | 4 | 1 | 2 | 50.0 | – |" in table


@pytest.mark.parametrize("recipe", render.recipes(), ids=lambda path: path.stem)
def test_tables_of_studies_follow_from_their_raw_results(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, of a copy."""
    told = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    folder = Path(told["output_dir"])
    for part in (folder, recipe.relative_to(ROOT).parent):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("tables", "figures"))
    monkeypatch.chdir(tmp_path)
    assert main(["study", "--config", str(recipe.relative_to(ROOT)), "--only_tables", "true"]) == 0
    written = [folder / "tables" / f"{name}.{end}" for name in told.get("tables") or () for end in ("md", "csv")]
    written += [folder / "figures" / f"{name}.{end}" for name in told.get("figures") or () for end in ("md", "csv")]
    assert written
    for path in written:
        assert (tmp_path / path).read_bytes() == (ROOT / path).read_bytes(), "run `make results`"


def test_numbers_of_the_weightings_come_out_another_way() -> None:
    """From the raw answers, with numpy and scipy alone."""
    line = next(x for x in (ROOT / "docs" / "pacing.md").read_text().splitlines() if "| epochs-4 | annealed |" in x)
    names = [path.name for path in sorted((FOLDER / "annealed").glob("*.json"))]
    rows = {
        arm: [json.loads((FOLDER / arm / name).read_text())["rows"] for name in names] for arm in ("plain", "annealed")
    }
    right, rephrased = (
        {
            arm: 100 * np.array([np.mean([np.mean(x) for x in run[name] if np.size(x)]) for run in runs])
            for arm, runs in rows.items()
        }
        for name in ("knowledge_accuracy", "generality")
    )
    interval = stats.ttest_rel(right["annealed"], right["plain"]).confidence_interval()
    difference = (right["annealed"] - right["plain"]).mean()
    assert f"| {right['annealed'].mean():.1f} [" in line
    assert f"| {rephrased['annealed'].mean():.1f} [" in line
    assert f"| {difference:+.1f} [{interval.low:.1f}, {interval.high:.1f}]" in line


def test_the_gain_of_re_weighting_comes_out_another_way() -> None:
    """Table 3's first difference, from the raw answers."""
    line = next(x for x in (ROOT / "docs" / "findings.md").read_text().splitlines() if "| zsre-lora | paper |" in x)
    right = [
        [
            np.mean(json.loads(path.read_text())["rows"]["knowledge_accuracy"]) * 100
            for path in sorted(arm.glob("*.json"))
        ]
        for arm in (ROOT / "results" / "table3" / "zsre-lora" / name for name in ("paper", "plain"))
    ]
    interval = stats.ttest_rel(*right).confidence_interval()
    assert f"| {np.mean(right[0]):.1f} [" in line
    assert f"| {np.subtract(*right).mean():+.1f} [{interval.low:.1f}, {interval.high:.1f}]" in line


@pytest.mark.parametrize("study", ["tries", "rehearsal"])
def test_what_rehearsal_keeps_is_a_part_of_the_difference_in_locality(study: str) -> None:
    """Every prompt is in one of two parts, which together give the difference of the raw answers."""
    folder = ROOT / "results" / study
    rows = json.loads((folder / "kept.json").read_text())
    for whole, *parts in (rows[i : i + 3] for i in range(0, len(rows), 3)):
        assert [row["part"] for row in (whole, *parts)] == ["all", "rehearsed", "other"]
        kept = [
            [
                np.mean(json.loads(path.read_text())["rows"]["locality"])
                for path in sorted((folder / whole["setting"] / whole[arm]).glob("*.json"))
            ]
            for arm in ("arm", "less")
        ]
        interval = stats.ttest_rel(*kept).confidence_interval()
        assert whole["gain"] == pytest.approx(np.subtract(*kept).mean())
        assert whole["ci95"] == pytest.approx([interval.low, interval.high])
        assert sum(part["prompts"] for part in parts) == whole["prompts"] == 100 * whole["runs"]


def test_what_findings_says_of_counterfact_and_of_the_cost_of_tuning_is_in_the_runs() -> None:
    """Numbers of the prose that no table holds, from the raw results."""
    page = " ".join((ROOT / "docs" / "findings.md").read_text().split())
    table3 = ROOT / "results" / "table3"

    def runs(setting: str, arm: str = "plain") -> list[dict]:
        return [json.loads(path.read_text()) for path in sorted((table3 / setting / arm).glob("*.json"))]

    far, near = (
        np.concatenate([run["rows"]["distance"] for run in runs(setting)])
        for setting in ("counterfact-lora", "zsre-lora")
    )
    assert f"{100 * np.mean(far >= 0.7):.0f} % of its facts are at 0.7 or beyond" in page
    assert f"{100 * np.mean(far >= 1):.0f} % at 1 or beyond" in page
    heavy = [np.mean(semantic_weight(d) > 1.9) for d in (far, near)]
    assert [round(10 * share) for share in heavy] == [7, 1]
    assert "seven in ten weigh more than 1.9" in page
    assert "On zsRE one in ten weighs more than 1.9" in page
    best, starved = (
        np.array([run["environment"]["seconds"]["training"] for run in runs("zsre-lora", arm)])
        for arm in ("best_plain", "plain")
    )
    assert round(float(np.median(best / starved)), 1) == 1.5
    assert "half again the time of training" in page


def test_what_findings_says_of_the_loss_on_counterfact_is_in_the_runs() -> None:
    page = " ".join((ROOT / "docs" / "findings.md").read_text().split())
    clipped: dict[tuple[str, str], float] = {}
    for path in sorted((ROOT / "results" / "table3").glob("counterfact-*/*/*.json")):
        run, key = json.loads(path.read_text()), (path.parts[-3], path.parts[-2])
        clipped[key] = clipped.get(key, 0.0) + run["training"]["clipped_share"] / 10
        if key == ("counterfact-adalora", "plain"):
            clipped["weight"] = clipped.get("weight", 0.0) + np.mean(semantic_weight(run["rows"]["distance"])) / 10
    assert f"a loss {clipped['weight']:.2f} times as large" in page
    shares = {arm: 100 * clipped["counterfact-adalora", arm] for arm in ("plain", "paper", "shuffled", "constant")}
    assert (
        f"clipped in {shares['paper']:.0f} % of the steps, those of plain training in {shares['plain']:.0f} %" in page
    )
    assert all(abs(shares[arm] - shares["paper"]) < 1 for arm in ("shuffled", "constant"))
    assert all(clipped["counterfact-lora", arm] > 0.99 for arm in ("plain", "paper", "shuffled"))


def test_what_findings_says_of_groups_of_distances_is_in_the_runs() -> None:
    page = " ".join((ROOT / "docs" / "findings.md").read_text().split())
    groups: dict[str, list[float]] = {}
    for path in sorted((ROOT / "results" / "figure6" / "zsre-lora" / "plain").glob("*.json")):
        run = json.loads(path.read_text())
        groups.setdefault(run["draw"]["group"], []).append(100 * np.mean(run["rows"]["knowledge_accuracy"]))
    mean = {group: f"{np.mean(values):.0f}" for group, values in groups.items()}
    assert {len(values) for values in groups.values()} == {4}
    assert f"learnt twice as often as others, {mean['near']} %" in page
    assert f"{mean['wide']}, {mean['middle']} and {mean['narrow']} %, and that of `far` {mean['far']} %" in page
