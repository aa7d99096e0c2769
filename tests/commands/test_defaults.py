"""What `run` trains with where nothing else is said."""

import json
from pathlib import Path

import pytest

from semantic_trainer.commands import run
from semantic_trainer.commands.defaults import BATCH_SIZES, EPOCHS, LEARNING_RATES, run_defaults
from semantic_trainer.study.budget import Candidate

RESULTS = Path(__file__).parents[2] / "results"


def test_the_defaults_are_those_that_the_sweep_and_the_search_chose() -> None:
    runs = json.loads((RESULTS / "methods.json").read_text(encoding="utf-8"))["runs"]
    chosen = {r["method"]: r["learning_rate"] for r in runs if r["split"] == "test" and r["epochs"] == EPOCHS}
    best = json.loads((RESULTS / "defaults" / "budget.json").read_text(encoding="utf-8"))["best"]
    assert {method: chosen[method] for method in LEARNING_RATES} | {"lora": best["learning_rate"]} == LEARNING_RATES
    options = Candidate(**best).options
    assert options.pop("lora_alpha") == 2 * options["lora_r"]
    assert run_defaults("lora") == options


@pytest.mark.parametrize(
    ("argv", "method", "rate", "epochs", "rank", "alpha"),
    [
        ([], "lora", LEARNING_RATES["lora"], EPOCHS, 32, 64),
        (["--lora_r", "4"], "lora", LEARNING_RATES["lora"], EPOCHS, 4, 8),
        (["--lora_r", "4", "--lora_alpha", "1"], "lora", LEARNING_RATES["lora"], EPOCHS, 4, 1),
        (["--method", "houlsby"], "houlsby", LEARNING_RATES["houlsby"], EPOCHS, 8, 16),
        (["--method=full"], "full", LEARNING_RATES["full"], EPOCHS, 8, 16),
        (["--learning_rate", "0.5", "--num_train_epochs", "2"], "lora", 0.5, 2, 32, 64),
        (["--config", "FILE"], "adalora", 0.25, EPOCHS, 6, 12),
        (["--config", "FILE", "--learning_rate", "0.5"], "adalora", 0.5, EPOCHS, 6, 12),
    ],
)
def test_what_the_user_says_wins_and_the_rest_is_the_methods(
    argv: list[str],
    method: str,
    rate: float,
    epochs: int,
    rank: int,
    alpha: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("method: adalora\nlearning_rate: 0.25\nlora_r: 6\n")
    found = []
    monkeypatch.setattr(run, "run", lambda args, training_args: found.append((args, training_args)))
    monkeypatch.setattr(run, "is_first", lambda: False)
    run.main(["--facts", "builtin:invented", *(str(config) if word == "FILE" else word for word in argv)])
    ((args, training_args),) = found
    assert (training_args.learning_rate, training_args.num_train_epochs) == (rate, epochs)
    assert training_args.per_device_train_batch_size == BATCH_SIZES.get(method, 10)
    assert (args.method, args.lora_r, args.lora_alpha) == (method, rank, alpha)
