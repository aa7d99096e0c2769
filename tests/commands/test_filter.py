"""`semantic-trainer filter`: facts and a pool in; a plan, the new facts and a picture out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from PIL import Image

from semantic_trainer import FilterPlan, load_facts
from semantic_trainer.cli import main


@pytest.fixture
def measured(tmp_path: Path) -> Callable[[str, int, float, float], Path]:
    def write(name: str, n: int, low: float, high: float) -> Path:
        facts = load_facts([{"prompt": f"Who leads {name} {i}?", "target": f"Person {i}"} for i in range(n)])
        distances = np.random.default_rng(len(name)).uniform(low, high, n)
        facts = facts.add_column("old_answer", ["Somebody"] * n).add_column("old_answer_truncated", [False] * n)
        facts.add_column("distance", distances).to_parquet(path := tmp_path / f"{name}.parquet")
        return path

    return write


@pytest.fixture
def files(measured: Callable) -> list[str]:
    return ["--facts", str(measured("train", 40, 0.4, 0.8)), "--pool", str(measured("the pool", 200, 0.01, 1.2))]


def test_measured_files_need_no_model(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    assert main(["filter", *files, "--output_dir", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["filter.png", "filtered_facts.parquet", "plan.json"]
    plan = FilterPlan.load(out / "plan.json")
    pool = Dataset.from_parquet(files[3], cache_dir=str(tmp_path / "cache"))
    assert plan.settings["mean_range"] == pytest.approx(np.quantile(pool["distance"][:], (0.1, 0.9)))
    assert len(plan) == 24
    new = Dataset.from_parquet(str(out / "filtered_facts.parquet"), cache_dir=str(tmp_path / "cache"))
    assert np.mean(new["distance"][:]) == pytest.approx(plan.mean[-1])
    assert sum(prompt.startswith("Who leads the pool") for prompt in new["prompt"]) == 24
    assert len(load_facts(str(out / "filtered_facts.parquet"))) == 40  # what `run` reads
    with Image.open(out / "filter.png") as picture:
        assert picture.size == (1440, 600)
    printed = capsys.readouterr().out
    assert "24 of 40 facts replaced (60.0% of 60.0% wanted: all that was wanted)" in printed
    assert "of what was added:" in printed


def test_bounds_and_the_control(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    narrow = ["--mean_range", "0.5", "0.7", "--spread", "std", "--replace_share", "0.9"]
    assert main(["filter", *files, *narrow, "--output_dir", str(tmp_path / "out")]) == 0
    plan = FilterPlan.load(tmp_path / "out" / "plan.json")
    assert plan.settings["mean_range"] == [0.5, 0.7]
    assert 0.5 < plan.mean[-1] < 0.7
    assert main(["filter", *files, "--random", "true", "--output_dir", str(tmp_path / "control")]) == 0
    assert FilterPlan.load(tmp_path / "control" / "plan.json").settings["filter"] == "RandomFilter"
    assert "24 of 40 facts replaced" in capsys.readouterr().out


def test_what_is_measured_is_taken_whole(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    argv = ["filter", *files, "--output_dir", str(tmp_path / "out")]
    for option in (["--split", "dev"], ["--limit", "10"]):
        assert main([*argv, *option]) == 2
        assert f"`{option[0][2:]}` has no effect on `facts`" in capsys.readouterr().err


def test_facts_of_the_evaluation_never_enter(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["filter", *files, "--exclude", files[3], "--output_dir", str(tmp_path / "out")]) == 2
    assert "no row that may enter: of 200 are kept out: exclude_ids 200" in capsys.readouterr().err
    half = Dataset.from_parquet(files[3], cache_dir=str(tmp_path / "cache")).select(range(0, 200, 2))
    half.to_parquet(tmp_path / "half.parquet")
    exclude = ["--exclude", str(tmp_path / "half.parquet")]
    assert main(["filter", *files, *exclude, "--output_dir", str(tmp_path / "out")]) == 0
    assert (FilterPlan.load(tmp_path / "out" / "plan.json").added % 2 == 1).all()


def test_facts_without_distances_are_measured(
    rows: list[dict], write_rows: Callable, model_dir: Path, tmp_path: Path
) -> None:
    facts, pool = write_rows(rows[:5], "facts.jsonl"), write_rows(rows, "pool.jsonl")
    options = ["--facts", str(facts), "--pool", str(pool), "--model", str(model_dir), "--max_new_tokens", "9"]
    options += ["--dtype", "float32", "--use_cpu", "true", "--mean_range", "0", "2", "--exclude_flagged", "false"]
    assert main(["filter", *options, "--output_dir", str(tmp_path / "out")]) == 0
    plan = FilterPlan.load(tmp_path / "out" / "plan.json")
    assert plan.excluded["exclude_ids"] == 5  # the pool has the facts themselves
    assert (plan.added >= 5).all()
    new = Dataset.from_parquet(str(tmp_path / "out" / "filtered_facts.parquet"), cache_dir=str(tmp_path / "cache"))
    assert {"prompt", "target", "paraphrases", "old_answer", "distance"} <= set(new.column_names)
    assert "weight" not in new.column_names


def test_wrong_options_are_one_sentence(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = ["--output_dir", str(tmp_path / "out")]
    plain = tmp_path / "plain.jsonl"
    plain.write_text('{"prompt": "A?", "target": "b"}\n')
    (cloze := tmp_path / "cloze.jsonl").write_text('{"prompt": "A is", "target": "b"}\n')
    for argv, said in (
        ([*files[:2], *out], "`pool` is empty"),
        ([*files, *out, "--mean_range", "0.5"], "`mean_range` must be two numbers"),
        ([*files, *out, "--mean_range", "3", "4"], "nearest mean that 24 swaps can reach"),
        ([*files, *out, "--replace_share", "60"], "`replace_share` must be from 0 to 1"),
        (["--facts", str(plain), "--pool", str(cloze), *out], "two formats, whose distances do not compare"),
        ([*files, str(plain), *out], f"but {str(plain)!r} has none"),
    ):
        assert main(["filter", *argv]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["filter", *files, *out]) == 0
    assert main(["filter", *files, *out]) == 2
    assert "holds plan.json already. Add --overwrite" in capsys.readouterr().err
    assert main(["filter", *files, *out, "--overwrite", "true"]) == 0
