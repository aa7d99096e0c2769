"""docs/budget.md: its options and columns are those that there are."""

import json
import re
from dataclasses import fields
from pathlib import Path

from semantic_trainer import SemanticTrainingArguments
from semantic_trainer.commands.budget import BATCH_SIZES, FIGURE, RANKS, RECOMMENDED, SAMPLE, SUMMARY, BudgetArguments
from semantic_trainer.commands.defaults import EPOCHS
from semantic_trainer.commands.output import RUN_COLUMNS
from semantic_trainer.study.budget import CONFIRMING, LEARNING_RATES, finalists, schedule

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "budget.md").read_text(encoding="utf-8")
LOG = (ROOT / "docs" / "experiment_log.md").read_text(encoding="utf-8")


def test_its_options_exist_and_its_numbers_are_the_defaults() -> None:
    known = {f.name for kind in (BudgetArguments, SemanticTrainingArguments) for f in fields(kind)}
    table = PAGE.split("## How it searches")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert len(named) >= 9
    assert named <= known
    listed = "; ".join(", ".join(map(str, values)) for values in (BATCH_SIZES, RANKS))
    assert f"the method's usual ones; {listed} |" in PAGE
    assert f"all facts, at most {SAMPLE} |" in PAGE
    assert f"| `num_train_epochs`, or `seconds` | {EPOCHS} |" in PAGE
    assert all(f"`{name}`" in PAGE for name in (SUMMARY, FIGURE, RECOMMENDED))


def test_its_words_are_the_searchs() -> None:
    assert [made for _, made in schedule(12)] == [1, 2, 4]  # "one run, ... a second one, ... two more"
    assert CONFIRMING == 3
    assert "comes from three more runs" in PAGE
    assert finalists(8) == (3, 2)
    assert len(LEARNING_RATES["lora"]) * len(BATCH_SIZES) * len(RANKS) == 8
    assert "of the usual eight: three, with two runs each" in PAGE


def test_its_columns_are_those_of_a_run() -> None:
    for name in ("losses", "first_learnt"):
        assert name in RUN_COLUMNS
        assert f"`plain_{name}`" in PAGE


def test_what_the_log_says_of_the_best_setting_is_the_mean_of_its_runs() -> None:
    folder = ROOT / "results" / "budget"
    summary = json.loads((folder / "budget.json").read_text(encoding="utf-8"))
    files = sorted((folder / "budget" / summary["arm"]).glob("*.json"))
    rows = [json.loads(path.read_text(encoding="utf-8"))["rows"]["knowledge_accuracy"] for path in files]
    runs = summary["trials"][0]["runs"]
    shares = [100 * sum(row) / len(row) for row in rows]
    assert len(shares) == runs + CONFIRMING
    assert f"| {runs} | {summary['trials'][0]['seconds']:.0f} | {sum(shares[:runs]) / runs:.1f} [" in LOG
    assert f"choosing: plain: {sum(shares[runs:]) / CONFIRMING:.1f} [" in LOG
