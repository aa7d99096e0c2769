"""`semantic-trainer run` from end to end."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest
import yaml
from peft import PeftModel
from transformers import AutoModelForCausalLM

from semantic_trainer.cli import main
from semantic_trainer.evaluation.table import BESIDE, METRICS
from semantic_trainer.report.summary import RunSummary
from semantic_trainer.training.pacing import Pacing
from semantic_trainer.training.row_records import RowRecords


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_a_run_leaves_everything_that_was_promised(
    call: Callable, out: Path, model_dir: Path, capsys: pytest.CaptureFixture
) -> None:
    assert call() == 0
    printed = capsys.readouterr()
    assert "Knowledge accuracy" in printed.out
    assert "12 facts" in printed.err  # how long it will take is said beforehand
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    adapter = {"adapter_model.safetensors", "adapter_config.json"}
    assert files >= adapter | {f"plain/{name}" for name in adapter}
    assert files >= {"README.md", "semantic_summary.json", "facts.parquet", "report.html", "figures/distances.png"}
    assert not (out / "checkpoints").exists()
    assert not [name for name in files if name.endswith(".tmp")]

    data = json.loads((out / "semantic_summary.json").read_text())
    assert list(data) == ["schema_version", "config", "environment", "facts", "distances", "runs"]
    assert list(data["runs"]) == ["before", "plain", "weighted"]
    for metrics in data["runs"].values():
        assert list(metrics) == [*METRICS, *BESIDE]
        assert all({"value", "ci95", "n", "protocol"} <= set(score) for score in metrics.values())
    assert data["runs"]["before"]["locality"]["value"] == 1.0
    assert data["runs"]["before"]["deviation"]["value"] is None
    assert data["runs"]["before"]["locality_noise_floor"]["n"] == 12
    assert data["facts"]["taught"] == 12

    table = pyarrow.parquet.read_table(out / "facts.parquet")
    assert table.num_rows == 12
    columns = {"prompt", "target", "old_answer", "distance", "weight"}
    for arm in ("plain", "weighted"):
        columns |= {f"{arm}_{name}" for name in ("answer", "distance", "knowledge_accuracy", "locality", "generality")}
        columns |= {f"{arm}_{name}" for name in ("losses", "first_learnt", "why_not")}
    assert columns <= set(table.column_names)
    assert {len(losses) for losses in table["plain_losses"].to_pylist()} == {2}
    missed = [bool(why) for why in table["plain_why_not"].to_pylist()]
    right = table["plain_knowledge_accuracy"].to_pylist()
    assert not any(why and good for why, good in zip(missed, right, strict=True))
    if not all(right):
        assert f"Not learnt, plain: {12 - sum(right)} fact" in printed.out
        assert 'id="missed"' in (out / "report.html").read_text()
    accuracy = sum(table["weighted_knowledge_accuracy"].to_pylist()) / 12
    assert data["runs"]["weighted"]["knowledge_accuracy"]["value"] == pytest.approx(accuracy)

    base = AutoModelForCausalLM.from_pretrained(model_dir)
    assert PeftModel.from_pretrained(base, out).peft_config["default"].r == 2


def test_a_used_folder_is_refused(call: Callable, out: Path, capsys: pytest.CaptureFixture) -> None:
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    for flags in ((), ("--resume",), ("--overwrite",)):
        assert call("run", *flags) == 2
        error = capsys.readouterr().err
        assert "`output_dir`" in error
        assert "holds no run" in error
    assert (out / "thesis.txt").read_text() == "mine"


def test_a_finished_run_in_its_folder(
    call: Callable, out: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call() == 0
    table = (out / "facts.parquet").read_bytes()
    capsys.readouterr()

    assert call() == 2
    error = capsys.readouterr().err
    assert "--resume" in error
    assert "--overwrite" in error

    assert call("run", "--resume", learning_rate=0.5, lora_r=4) == 2
    error = capsys.readouterr().err
    assert "other options" in error
    assert "learning_rate (was 0.01, is 0.5)" in error
    assert "lora_r (was 2, is 4)" in error

    def refuse(*args: object, **kwargs: object) -> None:
        pytest.fail("something was computed again")

    with monkeypatch.context() as patch:
        patch.setattr("semantic_trainer.commands.run.train_arm", refuse)
        patch.setattr("semantic_trainer.commands.run.load_model", refuse)
        assert call("run", "--resume") == 0
    assert "Knowledge accuracy" in capsys.readouterr().out

    assert call("run", "--overwrite", num_train_epochs=1) == 0
    assert RunSummary.load(out).config["num_train_epochs"] == 1
    assert (out / "facts.parquet").read_bytes() != table


def test_self_paced_weights_begin_with_what_the_evaluation_of_the_base_has_computed(
    call: Callable, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    monkeypatch.setattr(
        Pacing, "_take", lambda self, losses, take=Pacing._take: taken.append(losses) or take(self, losses)
    )
    monkeypatch.setattr(RowRecords, "_row_losses", None)  # the pass before step 1
    assert call("run", weighting="self_paced", num_train_epochs=1) == 0
    table = pyarrow.parquet.read_table(out / "facts.parquet")
    known = table["target_loss"].to_pylist()
    assert taken[0].tolist() == pytest.approx(known)
    assert len(set(known)) > 1
    assert (str(table["weight"].type), table["weight"].null_count) == ("double", 12)  # not one that a fact has
    page = (out / "report.html").read_text()
    assert page.count('"weight":null') == 12
    assert "self_paced, temperature 1.0, annealing linear" in page
    assert RunSummary.load(out).config["gamma"] is None


def test_resume_on_an_empty_folder_starts_afresh(call: Callable, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert call("run", "--resume", num_train_epochs=1) == 0
    assert "starting afresh" in caplog.text
    assert (out / "semantic_summary.json").exists()


def test_resume_and_overwrite_exclude_each_other(call: Callable, capsys: pytest.CaptureFixture) -> None:
    assert call("run", "--resume", "--overwrite") == 2
    assert "exclude each other" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"gamma": 0}, ["gamma", "above 0"]),
        ({"weighting": "none"}, ["weighting", "plain with weighted"]),
        ({"weighting": "column"}, ["weighting", "column"]),
        ({"limit": 0}, ["limit", "at least 1"]),
        ({"facts": None}, ["facts", "empty"]),
        ({"facts": "nowhere.jsonl"}, ["nowhere.jsonl", "does not exist"]),
        ({"model": "./nowhere"}, ["model", "nowhere", "no folder"]),
        ({"dtype": "int4"}, ["dtype", "float32", "int4"]),
        ({"columns": "prompt"}, ["columns", "prompt=your_column"]),
        ({"lerning_rate": 1}, ["lerning_rate"]),
    ],
    ids=str,
)
def test_a_users_mistake_is_one_sentence_and_leaves_no_folder(
    more: dict, words: list[str], call: Callable, out: Path, capsys: pytest.CaptureFixture
) -> None:
    assert call("run", **more) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    for word in words:
        assert word in line
    assert not out.exists()


def test_a_yaml_with_an_override(argv: Callable, options: dict, tmp_path: Path, out: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump({**options, "gamma": 0.5, "num_train_epochs": 5, "shots": ["Who? => Me"]}))
    assert main(["run", "--config", str(config), "--num_train_epochs", "1", "--limit", "3"]) == 0
    summary = RunSummary.load(out)
    assert (summary.config["gamma"], summary.config["num_train_epochs"]) == (0.5, 1)
    assert summary.config["shots"] == ["Who? => Me"]
    assert summary.facts["taught"] == 3


def test_an_unknown_yaml_key(options: dict, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump({**options, "lerning_rate": 0.1}))
    assert main(["run", "--config", str(config)]) == 2
    assert "lerning_rate" in capsys.readouterr().err
    assert not out.exists()


def test_a_config_that_is_not_there(capsys: pytest.CaptureFixture) -> None:
    assert main(["run", "--config"]) == 2
    assert "`--config` needs a YAML file" in capsys.readouterr().err
    assert main(["run", "--config", "nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


def test_a_config_that_is_no_yaml(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("gamma: [1\nfacts: x")
    assert main(["run", "--config", str(config)]) == 2
    assert "run.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "pattern"),
    [
        ({"lora_target_modules": ["q_prj"]}, "q_prj"),
        ({"per_device_train_batch_size": 0}, "`per_device_train_batch_size`"),
        ({"max_steps": -1, "num_train_epochs": 0}, "nothing to train"),
        ({"eval_strategy": "epoch"}, "`eval_strategy` has no effect"),
        ({"lerning_rate": 1}, "`lerning_rate` is no option of run. Did you mean 'learning_rate'"),
        ({"gamma": "much"}, "gamma"),
    ],
)
def test_a_wrong_option_under_overwrite_loses_nothing(
    more: dict, pattern: str, call: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "run_config.json").write_text("{}")
    (out / "adapter_model.safetensors").write_bytes(b"dear")
    assert call("run", "--overwrite", **more) == 2
    assert pattern in capsys.readouterr().err
    assert (out / "adapter_model.safetensors").read_bytes() == b"dear"
