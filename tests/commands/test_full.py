"""`run --method full`: both arms from the same base, scored against what it said, and whole models at the end."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from semantic_trainer.answers.store import tensors_hash
from semantic_trainer.cli import main
from semantic_trainer.commands.terminal import printable
from semantic_trainer.files import place_atomically
from semantic_trainer.training import teaching
from semantic_trainer.training.trainer import SemanticWeightedTrainer

from .test_resume import interrupt_training

OPTIONS = {"lora_r": None, "method": "full", "learning_rate": 0.002, "num_train_epochs": 4}


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semantic_trainer.commands.output.draw_run", lambda folder, facts, tables: [])


def test_a_run_that_tunes_every_weight(
    call: Callable, model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    begun = []

    class Watched(SemanticWeightedTrainer):
        def __init__(self, model: torch.nn.Module, *args: object, **kwargs: object) -> None:
            begun.append(tensors_hash(model.state_dict()))
            super().__init__(model, *args, **kwargs)

    monkeypatch.setattr(teaching, "SemanticWeightedTrainer", Watched)
    out = tmp_path / "out"
    assert call("run", **OPTIONS) == 0
    base = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    assert begun == [tensors_hash(base.state_dict())] * 2

    runs = json.loads((out / "semantic_summary.json").read_text())["runs"]
    for arm in ("plain", "weighted"):
        assert 0 < runs[arm]["locality"]["value"] < 1
        assert runs[arm]["deviation"]["value"] is not None
        assert runs[arm]["next_token_kl"]["value"] > 0.01
    assert runs["before"]["locality_noise_floor"]["value"] == 1.0
    table = pyarrow.parquet.read_table(out / "facts.parquet").to_pydict()
    tuned = AutoModelForCausalLM.from_pretrained(out)
    assert {p.dtype for p in tuned.parameters()} == {torch.float32}
    assert tuned.config.use_cache is base.config.use_cache is True
    form = json.loads((out / "semantic_summary.json").read_text())["config"]["prompt_text"]
    ids = AutoTokenizer.from_pretrained(out)(form.format(prompt="How many legs has spider 3?"), return_tensors="pt")
    with torch.no_grad():
        new, old = (m(input_ids=ids["input_ids"]).logits[0, -1].double().log_softmax(-1) for m in (tuned, base))
    assert table["weighted_next_token_kl"][3] == [pytest.approx(float((old.exp() * (old - new)).sum()), rel=1e-3)]

    card = (out / "README.md").read_text()
    assert "with every weight fine-tuned to teach 12 facts" in card
    assert "library_name: transformers" in card
    assert "peft" not in card.lower().split("## use")[1].split("\n## ")[0]  # the versions below name it
    assert "every weight is tuned" in (out / "report.html").read_text()
    assert not list(out.rglob("*.tmp"))
    assert not (out / "checkpoints").exists()
    assert (out / "plain" / "model.safetensors").is_file()

    capsys.readouterr()
    assert main(["ask", str(out), "What is the capital of land 1?"]) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert printable(table["weighted_answer"][1]).split()[0] in said
    assert call("run", "--resume", **OPTIONS) == 0

    broken = Path(shutil.copytree(out, tmp_path / "broken"))
    (broken / "plain" / "model.safetensors").unlink()
    assert main(["ask", str(broken), "What?"]) == 2
    assert "the plain model lacks its file" in capsys.readouterr().err
    (broken / "model.safetensors").write_bytes(b"x")
    assert main(["ask", str(broken), "--arm", "weighted", "What?"]) == 2
    assert "the weighted model" in capsys.readouterr().err


@pytest.mark.slow
def test_it_goes_on_after_an_interrupt(call: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = []
    for name, arm in (("unbroken", None), ("first", "plain"), ("second", "weighted")):
        options = {**OPTIONS, "num_train_epochs": 2, "output_dir": tmp_path / name}
        if arm:
            with monkeypatch.context() as patch:
                interrupt_training(patch, arm, 4)
                assert call("run", **options) == 130
        assert call("run", *(["--resume"] if arm else []), **options) == 0
        tables.append((tmp_path / name / "facts.parquet").read_bytes())
    assert tables[0] == tables[1] == tables[2]


def test_half_precision_is_refused_before_the_model_is_loaded(
    call: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("semantic_trainer.commands.run.load_model", None)
    assert call("run", **{**OPTIONS, "dtype": "bfloat16"}) == 2
    assert "`dtype=bfloat16` would train bfloat16 weights" in capsys.readouterr().err


def test_a_file_is_placed_by_link_or_copy_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"weights")
    place_atomically(source, tmp_path / "linked" / "file")
    assert (tmp_path / "linked" / "file").samefile(source)

    def refuse(*args: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuse)
    place_atomically(source, tmp_path / "copied" / "file")
    assert not (tmp_path / "copied" / "file").samefile(source)
    assert (tmp_path / "copied" / "file").read_bytes() == b"weights"
    assert [p.name for p in (tmp_path / "copied").iterdir()] == ["file"]
