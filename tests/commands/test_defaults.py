"""What `run` trains with where nothing else is said."""

import json
from pathlib import Path

import pytest

from semantic_trainer.commands import run
from semantic_trainer.commands.defaults import BATCH_SIZE, EPOCHS, LEARNING_RATES

ROOT = Path(__file__).parents[2]


def test_the_defaults_are_those_that_the_sweep_chose() -> None:
    runs = json.loads((ROOT / "results" / "methods.json").read_text(encoding="utf-8"))["runs"]
    chosen = {r["method"]: r["learning_rate"] for r in runs if r["split"] == "test" and r["epochs"] == EPOCHS}
    assert {method: chosen[method] for method in LEARNING_RATES} == LEARNING_RATES


@pytest.mark.parametrize(
    ("argv", "method", "rate", "epochs"),
    [
        ([], "lora", LEARNING_RATES["lora"], EPOCHS),
        (["--method", "houlsby"], "houlsby", LEARNING_RATES["houlsby"], EPOCHS),
        (["--method=full"], "full", LEARNING_RATES["full"], EPOCHS),
        (["--learning_rate", "0.5", "--num_train_epochs", "2"], "lora", 0.5, 2),
        (["--config", "FILE"], "adalora", 0.25, EPOCHS),
        (["--config", "FILE", "--learning_rate", "0.5"], "adalora", 0.5, EPOCHS),
    ],
)
def test_what_the_user_says_wins_and_the_rest_is_the_methods(
    argv: list[str], method: str, rate: float, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("method: adalora\nlearning_rate: 0.25\n")
    found = []
    monkeypatch.setattr(run, "run", lambda args, training_args: found.append((args, training_args)))
    monkeypatch.setattr(run, "is_first", lambda: False)
    run.main(["--facts", "builtin:invented", *(str(config) if word == "FILE" else word for word in argv)])
    ((args, training_args),) = found
    assert (training_args.learning_rate, training_args.num_train_epochs) == (rate, epochs)
    assert training_args.per_device_train_batch_size == BATCH_SIZE
    assert args.method == method
