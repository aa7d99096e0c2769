"""ctrl-C and kills: what `--resume` makes of what is left."""

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import TrainerCallback

from semantic_trainer.commands import run
from semantic_trainer.training import teaching
from semantic_trainer.training.trainer import SemanticWeightedTrainer


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a third of a run's time and are tested elsewhere."""
    monkeypatch.setattr("semantic_trainer.commands.output.draw_run", lambda folder, facts, tables: [])


class Interrupt(TrainerCallback):
    """ctrl-C after a step of the `nth` arm."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def interrupt_training(patch: pytest.MonkeyPatch, arm: str, step: int) -> None:
    class Interrupted(SemanticWeightedTrainer):
        def __init__(self, model: object, args: object, **kwargs: object) -> None:
            callbacks = [Interrupt(step)] if Path(args.output_dir).name == arm else []
            super().__init__(model, args, callbacks=callbacks, **kwargs)

    patch.setattr(teaching, "SemanticWeightedTrainer", Interrupted)


@pytest.mark.parametrize(("arm", "step"), [("plain", 4), ("weighted", 3)])
def test_interrupted_in_training(
    arm: str, step: int, unbroken: bytes, call: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    with monkeypatch.context() as patch:
        interrupt_training(patch, arm, step)
        assert call() == 130
    assert "--resume" in capsys.readouterr().err
    assert not (tmp_path / "out" / "semantic_summary.json").exists()
    assert call("run", "--resume") == 0
    assert (tmp_path / "out" / "facts.parquet").read_bytes() == unbroken


@pytest.mark.parametrize("nth", [1], ids=["plain"])
def test_interrupted_in_evaluation(
    nth: int, unbroken: bytes, call: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, evaluate = [], run.evaluate_facts

    def interrupted(*args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) == nth + 1:
            raise KeyboardInterrupt
        return evaluate(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(run, "evaluate_facts", interrupted)
        assert call() == 130
    assert call("run", "--resume") == 0
    assert (tmp_path / "out" / "facts.parquet").read_bytes() == unbroken


def test_interrupted_while_writing(
    unbroken: bytes, call: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("semantic_trainer.commands.output.create_model_card", interrupt)
        assert call() == 130
    assert call("run", "--resume") == 0
    assert (tmp_path / "out" / "facts.parquet").read_bytes() == unbroken


def test_a_checkpoint_torn_by_a_kill(
    unbroken: bytes, call: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_training(patch, "plain", 4)
        assert call() == 130
    (checkpoint,) = (tmp_path / "out" / "checkpoints" / "plain").glob("checkpoint-*")
    (checkpoint / "trainer_state.json").unlink()  # Trainer writes it last
    assert call("run", "--resume") == 0
    assert (tmp_path / "out" / "facts.parquet").read_bytes() == unbroken


def hint_after_an_interrupt(call: Callable, monkeypatch: pytest.MonkeyPatch, capsys, *flags: str, **more) -> str:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run", interrupt)
    assert call("run", *flags, **more) == 130
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "go on with:" in line]
    return line.partition("go on with: ")[2]


def test_the_hint_leaves_overwrite_out(call: Callable, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    hint = hint_after_an_interrupt(call, monkeypatch, capsys, "--overwrite")
    assert hint.endswith("--resume")
    assert "--overwrite" not in hint


def test_the_hint_can_be_pasted(call: Callable, argv: Callable, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    import shlex

    hint = hint_after_an_interrupt(call, monkeypatch, capsys, shots=["Who is it? => Me"])
    assert shlex.split(hint) == ["semantic-trainer", *argv(shots=["Who is it? => Me"]), "--resume"]


def test_changed_facts_are_refused(
    rows: list[dict], write_rows: Callable, call: Callable, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    with monkeypatch.context() as patch:
        interrupt_training(patch, "plain", 1)
        assert call(num_train_epochs=1) == 130
    write_rows([{**row, "target": "Vienna"} for row in rows])
    assert call("run", "--resume", num_train_epochs=1) == 2
    assert "facts" in capsys.readouterr().err
