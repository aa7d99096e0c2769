"""The budget search of a tiny model, gone on with, and what it leaves behind."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from semantic_trainer.cli import main
from semantic_trainer.commands.budget import caveats, recommended, sentences, teaches_all
from semantic_trainer.facts.sets import FactsArguments
from semantic_trainer.study.budget import Budget, Candidate, schedule
from semantic_trainer.study.settings import Setting
from semantic_trainer.study.worker import Worker
from semantic_trainer.training.training_args import SemanticTrainingArguments
from semantic_trainer.tuners.arguments import ModelArguments

SMALL = {
    "num_train_epochs": 2,
    "learning_rates": ["0.005", "0.01"],
    "batch_sizes": ["4"],
    "ranks": ["2"],
    "weighting": "none",
    "save_strategy": None,
    "logging_steps": None,
    "report_to": None,
    "learning_rate": None,
    "per_device_train_batch_size": None,
    "lora_r": None,
}


@pytest.fixture
def two_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search itself is tested on made results: here no further learning rates, and few runs."""
    monkeypatch.setattr("semantic_trainer.study.budget.MOST_STEPS", 0)
    monkeypatch.setattr("semantic_trainer.study.budget.CONFIRMING", 2)


def _check_refusals(call: Callable, told: dict, out: Path, elsewhere: Path, capsys: pytest.CaptureFixture) -> None:
    """What `distances` says of a search made in another way, of none, of a torn one, and of one without its runs."""
    assert call("distances", **told, budget=out, prompt_format="question_answer") == 2
    assert "was searched with another prompt_format ('auto', not 'question_answer')" in capsys.readouterr().err
    assert call("distances", **told, budget=elsewhere) == 2
    assert "holds no finished search (no budget.json)" in capsys.readouterr().err
    for torn, said in (("{", "is no summary of a search"), ("[]", "is no summary of a search"), ("{}", "'arm'")):
        (elsewhere / "budget.json").write_text(torn)
        assert call("distances", **told, budget=elsewhere) == 2
        assert said in capsys.readouterr().err
    (elsewhere / "budget.json").write_text((out / "budget.json").read_text())
    assert call("distances", **told, budget=elsewhere) == 2
    assert "has lost the runs of 'plain-lr0.0" in capsys.readouterr().err


def test_a_search_that_was_interrupted_goes_on_to_the_same_result(
    call: Callable, two_rates: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, caplog, wide: None
) -> None:
    made, run = [], Worker.run

    def interrupted(self: Worker, unit: object) -> None:
        made.append(unit.label)
        if len(made) == 4:
            raise KeyboardInterrupt
        run(self, unit)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "run", interrupted)
        assert call("budget", **SMALL) == 130
    said = capsys.readouterr().err
    timing = "Timing 2 short trainings, to say how long the search will take"
    assert timing in caplog.messages
    caplog.clear()
    assert "2 settings, about" in said
    assert "go on with: semantic-trainer budget" in said
    assert call("budget", **SMALL) == 0
    said, announced = capsys.readouterr()
    assert timing not in caplog.messages  # what it found is kept
    assert re.search(r"about \d+ runs of 12 facts, of which 3 are there already: about", announced)
    assert re.search(r"plain training is expected to teach .* %.*, from new seeds on the same facts\.", said)
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        *("budget", "budget.json", "budget.png", "budget.svg", "budget-dark.png", "probe.json", "recommended.yaml"),
        "search.json",
    }
    found = json.loads((out / "budget.json").read_text())
    assert found["facts_per_run"] == 12
    assert {row["learning_rate"] for row in found["trials"]} == {0.005, 0.01}
    assert found["expected"]["plain"]["knowledge_accuracy"]["n"] == 2
    first = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert call("budget", **SMALL) == 0  # nothing is left to do
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == first
    (out / "search.json").unlink()  # as of a search that did not say yet what it was
    assert call("budget", **SMALL, prompt_format="question_answer") == 2
    assert "holds another search: prompt_format (was 'auto', is 'question_answer')" in capsys.readouterr().err
    assert call("budget", **SMALL) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == first
    capsys.readouterr()
    recommended = yaml.safe_load((out / "recommended.yaml").read_text())
    assert recommended["learning_rate"] == found["best"]["learning_rate"]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(recommended | {"output_dir": str(tmp_path / "run")}))
    shutil.rmtree(tmp_path / "distances", ignore_errors=True)
    told = {"save_strategy": None, "logging_steps": None, "report_to": None, "output_dir": tmp_path / "distances"}
    assert call("distances", **told, budget=out) == 0
    said = capsys.readouterr().out
    assert re.search(
        r"At 2 epochs with learning rate 0\.0\d+, about \d+ of these 12 facts will stick \(\d+ of \d+ did", said
    )
    _check_refusals(call, told, out, tmp_path, capsys)
    monkeypatch.setattr("semantic_trainer.commands.output.draw_run", lambda folder, facts, tables: [])
    assert main(["run", "--config", str(tmp_path / "run.yaml")]) == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"resume": "true"}, "`resume` has no effect on `budget`"),
        ({"push_to_hub": "true"}, "`push_to_hub` has no effect on `budget`, which only evaluates at the end"),
        ({"seconds": "-1"}, "`seconds` must be finite and above 0"),
        ({"seconds": "0.000001"}, "one epoch of 12 facts takes about"),
        ({"learning_rates": ["0"]}, "`learning_rates` must be numbers above 0"),
        ({"batch_sizes": ["4", "4"]}, "`batch_sizes` has a value twice"),
        ({"method": "houlsby"}, "`ranks` has no effect on houlsby"),
        ({"weighting": "paper", "pacing_temperature": "3"}, "`pacing_temperature` has no effect on `weighting` paper"),
        ({"weighting": None, "pacing_annealing": "none"}, "`pacing_annealing` has no effect on `weighting` paper"),
        ({"gamma": "2"}, "`gamma` has no effect on `weighting` none. Leave it out."),
        ({"weighting": "self_paced", "gamma": "2"}, "`gamma` has no effect on `weighting` self_paced"),
        ({"weighting": "self_paced", "gamma": "0"}, "`gamma=0` is transformers.Trainer exactly, which paces nothing"),
        ({"weighting": None, "gamma": "0"}, "`gamma` 0 is the plain loss. Leave it out, or give `weighting` none"),
        ({"max_steps": "3"}, "`max_steps` is no budget"),
        ({"facts_per_run": "13"}, "`facts_per_run` is 13, but the pool has 12 facts"),
        ({"workers": "0"}, "`workers` must be at least 1"),
        ({"executor": "slurm"}, "`executor` 'slurm' is unknown"),
        ({"method": "lorra"}, "`method` 'lorra' is none of lora"),
        ({"lora_r": "0"}, "`lora_r` must be at least 1, but 0 was passed"),
        ({"lora_r": "16"}, "`lora_r` has no effect on `budget`, which looks for the best. Give `ranks`"),
        ({"learning_rate": "0.01"}, "`learning_rate` has no effect on `budget`, which looks for the best"),
        ({"per_device_train_batch_size": "4"}, "Give `batch_sizes`"),
        ({"batch_sizes": ["13"], "dataloader_drop_last": "true"}, "would drop all 12 facts: a batch takes 13"),
    ],
)
def test_what_cannot_be_is_said_at_once(more: dict, message: str, call: Callable, tmp_path: Path, capsys) -> None:
    assert call("budget", **{**SMALL, **more}) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "budget.json").exists()


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        ({"num_train_epochs": 3}, "num_train_epochs (was 2.0, is 3.0)"),
        ({"learning_rates": ["0.01"]}, "learning_rates (was [0.005, 0.01], is [0.01])"),
        ({"seconds": "9"}, "seconds (was None, is 9.0)"),
        ({"weighting": "paper"}, "weighting (was None, is 'paper')"),
        ({"facts_per_run": "6"}, "facts_per_run (was 12, is 6)"),
    ],
)
def test_the_folder_of_another_search_is_refused(
    other: dict, differs: str, call: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    costs = {"training": 0.01, "decoding": 0.0}
    monkeypatch.setattr(Worker, "seconds_per_fact", lambda self, unit, n: costs)
    monkeypatch.setattr("semantic_trainer.commands.budget.search", interrupted)
    assert call("budget", **SMALL) == 130
    held = (tmp_path / "out" / "search.json").read_bytes()
    assert call("budget", **SMALL) == 130  # goes on
    capsys.readouterr()
    assert call("budget", **{**SMALL, **other}) == 2
    said = capsys.readouterr().err
    assert "holds another search: " in said
    assert differs in said
    assert "Choose another `output_dir`" in said
    assert (tmp_path / "out" / "search.json").read_bytes() == held


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("torn", ["{", "[]"])
def test_a_folder_that_does_not_say_what_was_searched_is_refused(
    torn: str, call: Callable, tmp_path: Path, capsys
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "search.json").write_text(torn)
    assert call("budget", **SMALL) == 2
    assert "does not say which search this is. Choose another `output_dir`" in capsys.readouterr().err


def test_the_folder_of_a_run_is_refused(call: Callable, tmp_path: Path, capsys) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "semantic_summary.json").write_text("{}")
    assert call("budget", **SMALL) == 2
    assert "holds a run (semantic_summary.json). Choose another `output_dir`" in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_in_which_everything_diverges_says_so(
    call: Callable, two_rates: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, wide: None
) -> None:
    monkeypatch.setattr("semantic_trainer.report.themes.save_themes", lambda *a: None)
    too_fast = {"learning_rates": ["1e30"], "max_grad_norm": "0", "weighting": "self_paced"}
    assert call("budget", **{**SMALL, **too_fast}) == 0
    assert "Every training diverged. Search again with lower `learning_rates`" in capsys.readouterr().out
    told = {"save_strategy": None, "logging_steps": None, "report_to": None, "output_dir": tmp_path / "distances"}
    assert call("distances", **told, budget=tmp_path / "out") == 2
    assert "every training of 'plain-lr1e+30-batch4-epochs2-r2' diverged" in capsys.readouterr().err


@pytest.mark.parametrize("plain", [{"weighting": "none"}, {"gamma": 0.0}])
def test_run_takes_what_a_search_without_weights_recommends(plain: dict) -> None:
    facts, training = (
        FactsArguments(facts=["builtin:invented"]),
        SemanticTrainingArguments("out", use_cpu=True, **plain),
    )
    setting = Setting("budget", facts, ModelArguments(), training, ())
    found = yaml.safe_load(recommended(setting, Candidate(0.004, 10, 4, 8, 16)))
    assert found["learning_rate"] == 0.004
    assert not {"weighting", "gamma"} & set(found)


def test_nothing_is_said_of_generality_without_paraphrases() -> None:
    setting = Setting(
        "budget", FactsArguments(facts=["mine.jsonl"]), ModelArguments(), SemanticTrainingArguments("out"), ()
    )
    scores = {"knowledge_accuracy": {"value": 0.5, "ci95": None}, "generality": {"value": None, "ci95": None}}
    best = Candidate(0.004, 10, 4, 8, 16)
    found = Budget(best, trials=[{"arm": "plain", "loss": 1.0, "runs": 4, **vars(best)}], expected={"plain": scores})
    assert sentences(found, setting)[1] == (
        "Of 100 facts like these, plain training is expected to teach 50.0 %, from draws that had no part in choosing."
    )


@pytest.mark.parametrize(("size", "all_of_them"), [(99, False), (100, True), (101, True)])
def test_a_run_that_is_taught_all_facts_is_told_apart(size: int, all_of_them: bool) -> None:
    setting = invented()
    there = len(setting.read_pool(None))
    assert teaches_all(replace(setting, size=there + size - 100)) == all_of_them


@pytest.mark.parametrize(
    ("tried", "where"),
    [
        (1, "paper weights, at plain's best setting, against that"),
        (3, "paper weights, at the best of the 3 settings they were tried at (learning_rate 0.002, "),
    ],
)
def test_where_the_weights_were_tried_is_said(tried: int, where: str) -> None:
    best = Candidate(0.002, 10, 4, 8, 16)
    scores = {name: {"value": 0.5, "ci95": None} for name in ("knowledge_accuracy", "generality")}
    trials = [{"arm": arm, **vars(best), "runs": 2, "loss": 1.0, **scores} for arm in ("plain", *["paper"] * tried)]
    found = Budget(best, best, trials, {"plain": scores, "paper": scores}, {"knowledge_accuracy": None})
    said = sentences(found, invented())
    assert any(line.startswith(where) and line.endswith("in points of accuracy: not known.") for line in said)


@pytest.mark.parametrize(
    ("runs", "accuracies", "said"),
    [
        ((4, 2, 1), (0.9, 0.5, 0.2), []),
        ((2, 1, 1), (0.9, 0.5, 0.2), ["One run of each setting decided"]),
        ((4, 2, 1), (0.0, 0.0, 0.0), ["All 3 settings taught 0 %, in whole per cent: the best was chosen by"]),
        ((1, 1, 1), (0.5, 0.5, 0.5), ["All 3 settings taught 50 %", "One run of each"]),
        ((1,), (0.5,), []),  # nothing was chosen
    ],
)
def test_what_was_chosen_by_little_is_said(runs: tuple, accuracies: tuple, said: list[str]) -> None:
    tried = [Candidate(0.001 * 2**k, 10, 4, 8, 16) for k in range(len(runs))]
    rows = []
    for candidate, n, value in zip(tried, runs, accuracies, strict=True):
        scores = {name: {"value": value, "ci95": None} for name in ("knowledge_accuracy", "generality")}
        rows.append({"arm": "plain", **vars(candidate), "runs": n, "loss": 1.0, **scores})
    found = caveats(Budget(tried[0], trials=rows))
    assert len(found) == len(said)
    assert all(line.startswith(start) for line, start in zip(found, said, strict=True))


@pytest.mark.parametrize(("n", "warned"), [(3, True), (4, False)])
def test_four_settings_are_enough_for_a_second_run(n: int, warned: bool) -> None:
    assert (schedule(n)[1][0] == 1) == warned


def invented() -> Setting:
    facts, training = FactsArguments(facts=["builtin:invented"]), SemanticTrainingArguments("out", use_cpu=True)
    return Setting("budget", facts, ModelArguments(), training, ())


@pytest.mark.slow
def test_seconds_buy_epochs(call: Callable, two_rates: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {"training": 0.25 / 12, "decoding": 0.0}
    monkeypatch.setattr(Worker, "seconds_per_fact", lambda self, unit, n: {**costs, "training": 2 * costs["training"]})
    assert call("budget", **SMALL, seconds=0.6) == 0
    found = json.loads((tmp_path / "out" / "budget.json").read_text())
    assert found["best"]["epochs"] == 2
