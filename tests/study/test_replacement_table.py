"""Eq. 4 beside random replacement: paired by run, share by share, on the three sets of facts."""

import copy

import numpy as np
import pytest
from scipy import stats

from semantic_trainer.study.averages import EMPTY
from semantic_trainer.study.curves import accuracy_by_replacement
from semantic_trainer.study.replacement_table import replacement_table

from .synthetic import the_studies


@pytest.fixture
def arms() -> dict[str, list]:
    return the_studies()["figure7"]["zsre-lora"]


def test_each_share_and_set_of_facts_is_a_paired_comparison(arms: dict[str, list]) -> None:
    table = replacement_table({"zsre": arms})
    assert len(table.rows) == 5 * 3
    row = dict(zip(table.columns, table.rows[6], strict=True))
    assert (row["share wanted"], row["facts"], row["runs"]) == ("0.6", "original", "5")
    values = [
        [result["knowledge_accuracy_of"]["original"]["value"] for result in arms[f"{kind}-0.6"]]
        for kind in ("filter", "random_filter")
    ]
    assert row["by Eq. 4"].startswith(f"{100 * np.mean(values[0]):.1f} [")
    expected = stats.ttest_rel(*values)
    low, high = 100 * np.array(expected.confidence_interval())
    assert row["by Eq. 4, less at random"].startswith(
        f"{100 * np.subtract(*values).mean():+.1f} [{low:.1f}, {high:.1f}], p = "
    )


def test_a_share_that_is_not_named_is_the_default(arms: dict[str, list]) -> None:
    bare = {name: [copy.deepcopy(r) for r in arms[f"{name}-0.6"]] for name in ("filter", "random_filter")}
    for result in (r for results in bare.values() for r in results):
        del result["config"]["filter"]["replace_share"]
    assert (
        replacement_table({"zsre": bare}).rows == replacement_table({"zsre": {n: arms[f"{n}-0.6"] for n in bare}}).rows
    )
    assert {row["wanted"] for row in accuracy_by_replacement({"zsre": {"plain": arms["plain"], **bare}})} == {0.0, 0.6}


def test_only_shares_and_runs_that_both_have(arms: dict[str, list]) -> None:
    few = {
        "plain": arms["plain"],
        "filter-0.6": arms["filter-0.6"],
        "random_filter-0.6": arms["random_filter-0.6"][:1],
    }
    few["filter-0.2"] = arms["filter-0.2"]
    rows = replacement_table({"zsre": few}).rows
    assert [row[1:4] for row in rows] == [("0.6", part, "1") for part in ("original", "kept", "trained")]
    assert {row[-1] for row in rows} == {EMPTY}
    assert replacement_table({"zsre": {"plain": arms["plain"]}}).rows == ()
