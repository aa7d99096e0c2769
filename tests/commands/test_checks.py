"""What a user may get wrong in options: one sentence each, before anything is loaded, and nothing lost."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from semantic_trainer.cli import how_to_go_on, main
from semantic_trainer.commands import run
from semantic_trainer.commands.options import parse
from semantic_trainer.commands.output import CONFIG_FILE, EMPTYING, OutputFolder
from semantic_trainer.commands.run import RunArguments
from semantic_trainer.commands.study import recipe_command
from semantic_trainer.training.training_args import SemanticTrainingArguments


@pytest.fixture
def refused(call: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """The sentence that `run` is refused with, before the model is loaded."""
    monkeypatch.setattr(run, "load_model", lambda *args: pytest.fail("the model was loaded"))

    def sentence(*flags: str, **options: object) -> str:
        assert call("run", *flags, **options) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
        return line

    return sentence


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"learning_rate": "nan"}, "`learning_rate` must be a finite number, but nan was passed"),
        ({"learning_rate": "-1"}, "`learning_rate` must be at least 0"),
        ({"num_train_epochs": "inf"}, "`num_train_epochs` must be a finite number"),
        ({"seed": "-1"}, "`seed` must be at least 0"),
        ({"dataloader_num_workers": "-1"}, "`dataloader_num_workers` must be at least 0"),
        ({"threads": "100000"}, "`threads` must be from 1 to 1024"),
        ({"save_only_model": "true"}, "`save_only_model` keeps no optimizer"),
        ({"resume_from_checkpoint": "x"}, "`resume_from_checkpoint` has no effect here: `run` finds its own"),
        ({"report_to": "wandb"}, "`report_to` names what is not installed"),
        (
            {"dataloader_drop_last": "true", "per_device_train_batch_size": 64},
            "`dataloader_drop_last` would drop all 12 facts: a batch takes 64",
        ),
    ],
)
def test_options_that_cannot_work(wrong: dict, expected: str, refused: Callable) -> None:
    assert expected in refused(**wrong)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate: [1]\n", "`learning_rate` must be a number, but [1] was passed"),
        ("learning_rate:\n", "`learning_rate` must be a number, but nothing was passed"),
        ("num_train_epochs:\n", "`num_train_epochs` must be a number, but nothing was passed"),
        ("warmup_steps:\n", "`warmup_steps` must be a number, but nothing was passed"),
        ("per_device_train_batch_size: 2.5\n", "`per_device_train_batch_size` must be an integer, but 2.5 was passed"),
        ("seed: 1.5\n", "`seed` must be an integer, but 1.5 was passed"),
        ("seed: true\n", "`seed` must be an integer, but True was passed"),
        ("limit: 2.5\n", "`limit` must be an integer or nothing, but 2.5 was passed"),
        ("fp16: 2.5\n", "`fp16` must be true or false, but 2.5 was passed"),
        ("max_new_tokens:\n", "`max_new_tokens` must be an integer, but nothing was passed"),
        ("run_name: 2024-01-01\n", "`run_name` must be a text or nothing, but datetime.date(2024, 1, 1) was passed"),
        ("run_name: 2024-13-01\n", "is no YAML: month must be in 1..12"),
        ("3: 4\n", "every option's name must be a text"),
        ("seed: 1\nseed: 2\n", "names `seed` twice"),
        ("scales:\n  smoke:\n    runs: 1\n    runs: 2\n", "names `runs` twice"),
        ("settings:\n  - {name: a, runs: 1, runs: 2}\n", "names `runs` twice"),
        ("- seed\n", "must hold a mapping of options"),
        ("seed: [\n", "is no YAML"),
        ("learning_rat: 1\n", "learning_rat"),
    ],
)
def test_yaml_that_cannot_work(text: str, expected: str, refused: Callable, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(text)
    assert expected in refused("--config", str(tmp_path / "run.yaml"), learning_rate=None)


def test_a_yaml_that_is_not_there(refused: Callable) -> None:
    assert "`--config` 'nowhere.yaml' is no file. Give a YAML file of options." in refused("--config", "nowhere.yaml")


def test_a_cache_of_nobody(refused: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMANTIC_TRAINER_CACHE", "~nobody-at-all/x")
    assert "SEMANTIC_TRAINER_CACHE '~nobody-at-all/x'" in refused()


def test_a_training_that_diverges_is_said_and_can_be_started_again(
    call: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert call("run", learning_rate=1e30, max_grad_norm=0, num_train_epochs=4) == 2
    assert "plain: the training diverged" in capsys.readouterr().err
    assert call("run", "--overwrite", num_train_epochs=1) == 0
    assert (tmp_path / "out" / "semantic_summary.json").exists()


def test_overwrite_empties_a_linked_folder_and_keeps_the_link(call: Callable, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "out"
    link.symlink_to(tmp_path / "real")
    (tmp_path / "real" / CONFIG_FILE).write_text("{}")
    (tmp_path / "real" / "facts.parquet").write_text("old")
    (tmp_path / "real" / "dangling").symlink_to(tmp_path / "nothing")
    assert call("run", "--overwrite", num_train_epochs=1) == 0
    assert link.is_symlink()
    assert (tmp_path / "real" / "semantic_summary.json").exists()
    assert not (tmp_path / "real" / "dangling").is_symlink()


def test_a_kill_while_overwrite_empties_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "semantic_summary.json").write_text("{}")  # not deleted yet
    (out / CONFIG_FILE).write_text(json.dumps({"seed": 1, EMPTYING: True}))
    folder = OutputFolder(out, {"seed": 1})
    assert folder.prepare(resume=True, overwrite=False) is None
    folder.start()
    assert [path.name for path in out.iterdir()] == [CONFIG_FILE]
    assert json.loads((out / CONFIG_FILE).read_text()) == {"seed": 1}


def test_other_facts_are_called_so(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / CONFIG_FILE).write_text(json.dumps({"facts_hash": "a", "seed": 1}))
    with pytest.raises(ValueError, match=r"other options: the facts themselves, seed \(was 1, is 2\)"):
        OutputFolder(tmp_path, {"facts_hash": "b", "seed": 2}).prepare(resume=True, overwrite=False)


def test_a_run_goes_on_with_the_base_it_was_begun_on(tmp_path: Path) -> None:
    first = OutputFolder(tmp_path, {"seed": 1})
    first.start({"sha256": "a" * 64, "commit": None})
    (tmp_path / "checkpoints").mkdir()
    again = OutputFolder(tmp_path, {"seed": 1})
    assert again.prepare(resume=True, overwrite=False) is None
    with pytest.raises(ValueError, match=r"its sha256 was aaaaaaaaaaaa\.\.\., is bbbbbbbbbbbb"):
        again.start({"sha256": "b" * 64, "commit": None})
    again.start({"sha256": "a" * 64, "commit": None})
    assert again.prepare(resume=False, overwrite=True) is None
    again.start({"sha256": "b" * 64, "commit": None})
    assert json.loads((tmp_path / CONFIG_FILE).read_text())["base"]["sha256"] == "b" * 64


@pytest.mark.parametrize(
    "flags", [["--overwrite"], ["--overwrite=true"], ["--overwrite", "True"], ["--resume", "yes"], ["--resume"]]
)
def test_the_way_on_has_neither_flag_twice(flags: list[str]) -> None:
    hint = how_to_go_on(["run", "--facts", "a", *flags, "--seed", "1"])
    assert hint.endswith("go on with: semantic-trainer run --facts a --seed 1 --resume")


@pytest.mark.parametrize("token", [["--hub_token", "hf_secret"], ["--hub_token=hf_secret"]])
def test_the_way_on_says_no_token(token: list[str]) -> None:
    hint = how_to_go_on(["run", "--facts", "a", *token, "--seed", "1"])
    assert hint.endswith("go on with: semantic-trainer run --facts a --seed 1 --resume")
    assert "secret" not in recipe_command(["--config", "x.yaml", *token])


def test_help_of_an_option_in_a_launched_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(os.environ, "RANK", "1")
    assert main(["facts", "--facts", "nowhere.jsonl"]) == 2
    assert "semantic-trainer facts (process 1): error: " in capsys.readouterr().err


def test_what_a_yaml_may_say(tmp_path: Path) -> None:
    lines = ("learning_rate: 1", "num_train_epochs: 2e-1", "seed: '3'", "save_total_limit:", "gamma: 2", "limit:")
    (tmp_path / "run.yaml").write_text("\n".join(lines))
    args, training = parse(["--config", str(tmp_path / "run.yaml")], "run", (RunArguments, SemanticTrainingArguments))
    assert (training.learning_rate, training.num_train_epochs, training.seed, training.gamma) == (1, 0.2, 3, 2.0)
    assert (training.save_total_limit, args.limit) == (None, None)
