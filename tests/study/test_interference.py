"""The same facts, taught with fewer and with more others: against a comparison fact by fact."""

import numpy as np
import pytest

from semantic_trainer.study.averages import EMPTY
from semantic_trainer.study.interference_table import interference_table

from .synthetic import a_result

CHANCE = {"alone": 0.7, "tens": 0.2}


def a_study(facts: int, together: int) -> dict[str, dict[str, list]]:
    """Each fact alone, and the same facts with as many others in a run."""
    rng, d = np.random.default_rng(0), np.random.default_rng(1).uniform(0.2, 1.2, facts)
    ids, study = [f"f{i}" for i in range(facts)], {"tens": {"plain": []}, "alone": {"plain": []}}
    for name, size in (("tens", together), ("alone", 1)):
        for run in range(facts // size):
            part = slice(run * size, (run + 1) * size)
            result = a_result(run, d[part], rng.random(size) < CHANCE[name])
            result["rows"]["fact_id"] = ids[part]
            study[name]["plain"].append(result | {"training": {"steps": 4}})
    return study


def test_the_same_facts_are_compared() -> None:
    study = a_study(40, 10)
    study["tens"]["plain"] = study["tens"]["plain"][1:]  # its ten facts are left, alone
    table = interference_table(study)
    accuracy, deviation = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    right = {
        name: [r for result in arms["plain"] for r in result["rows"]["knowledge_accuracy"]]
        for name, arms in study.items()
    }
    alone, tens = np.mean(right["alone"][10:]), np.mean(right["tens"])
    assert (accuracy["setting"], accuracy["less"], accuracy["facts"]) == ("tens", "alone", "30")
    assert accuracy["with fewer others"].startswith(f"{100 * alone:.1f} [")
    assert accuracy["with more"].startswith(f"{100 * tens:.1f} [")
    assert accuracy["more, less fewer"].startswith(f"{100 * (tens - alone):+.1f} [")
    assert deviation["share"] == "deviation"
    assert "alone: 4 steps a run, each of a batch of one fact." in table.notes


def test_a_fact_of_several_runs_counts_once_with_their_mean() -> None:
    study = a_study(20, 20)
    again = [result | {"rows": result["rows"] | {"knowledge_accuracy": [False]}} for result in study["alone"]["plain"]]
    once = sum(result["rows"]["knowledge_accuracy"][0] for result in study["alone"]["plain"])
    study["alone"]["plain"] += again
    row = dict(zip(interference_table(study).columns, interference_table(study).rows[0], strict=True))
    assert row["with fewer others"].startswith(f"{100 * once / 40:.1f} [")
    assert row["facts"] == "20"
    assert row["more, less fewer"] == EMPTY  # one run of twenty


@pytest.mark.parametrize("facts", [10, 19])
def test_few_shared_facts_are_left_out(facts: int) -> None:
    assert interference_table(a_study(facts, facts)).rows == ()
