"""Draws: disjoint while the pool allows, equal for all arms, and untouched by how many runs there are."""

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from semantic_trainer.facts.sets import with_unrelated
from semantic_trainer.study.protocol import (
    EVERY,
    check_groups,
    draw_rows,
    draws,
    facts_per_run,
    members,
    overlap,
    parse_groups,
)


@given(st.integers(1, 60), st.data())
def test_runs_are_disjoint_until_the_pool_is_used_up(pool: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, pool))
    rows, fit = np.arange(100, 100 + pool), pool // size
    drawn = [draw_rows(rows, size, run, seed=3) for run in range(2 * fit)]
    assert all(len(set(rows_of)) == size and set(rows_of) <= set(rows) for rows_of in drawn)
    assert overlap(drawn[:fit]) == 0.0
    assert len(set(np.concatenate(drawn[fit:]))) == fit * size


def test_a_draw_depends_on_pool_seed_and_number_alone() -> None:
    rows = np.arange(50)
    assert draw_rows(rows, 7, 4, seed=1).tolist() == draw_rows(rows, 7, 4, seed=1).tolist()
    assert draw_rows(rows, 7, 4, seed=1).tolist() != draw_rows(rows, 7, 4, seed=2).tolist()
    assert draws([], 3, seed=5) == draws([], 9, seed=5)[:3]
    assert [draw.seed for draw in draws([], 3, seed=5)] == [5, 6, 7]


def test_every_group_has_each_run() -> None:
    names = [draw.name for draw in draws(["short", "long"], 2, seed=0)]
    assert names == ["short-0000", "long-0000", "short-0001", "long-0001"]


def test_groups_are_half_open_ranges_of_distances() -> None:
    groups = parse_groups(["short=0.1:0.3", "long=0.3:2"])
    found = members([0.05, 0.1, 0.3, 1.2, 0.29], groups)
    assert {name: rows.tolist() for name, rows in found.items()} == {"short": [1, 4], "long": [2, 3]}
    assert members([0.5, 0.1], {})[EVERY].tolist() == [0, 1]


@pytest.mark.parametrize("text", ["short", "short=0.3", "short=0.3:0.1", "short=a:b", "all=0:1", "a b=0:1", "=0:1"])
def test_wrong_groups_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="short=0.1:0.3"):
        parse_groups([text])


def test_a_group_too_small_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="`facts_per_run` is 3, but group 'short' has 2 facts"):
        check_groups({"short": np.arange(2), "long": np.arange(9)}, 3, pool=11)


def test_single_is_one_fact_a_run() -> None:
    assert (facts_per_run("single", 100), facts_per_run("multi", 100)) == (1, 100)
    with pytest.raises(ValueError, match="Did you mean"):
        facts_per_run("singel", 100)


def test_overlap() -> None:
    assert overlap([np.array([0, 1]), np.array([1, 2])]) == 0.25
    assert overlap([]) == 0.0


def test_fewer_unrelated_questions_leave_the_facts_alone() -> None:
    rows = [
        {
            "prompt": f"Who rules {i}?",
            "target": "Ann",
            "paraphrases": ["a", "b"],
            "locality_prompts": ["c"] * i,
            "portability": [{"prompt": "d", "answer": "e"}],
        }
        for i in range(3)
    ]
    facts = with_unrelated(Dataset.from_list(rows), 1)
    assert facts["prompt"][:] == [row["prompt"] for row in rows]
    assert facts["paraphrases"][:] == [["a", "b"]] * 3
    assert facts["locality_prompts"][:] == [[], ["c"], ["c"]]
    assert facts["portability"][:] == [[{"prompt": "d", "answer": "e"}]] * 3
    assert with_unrelated(facts, 0)["portability"][:] == [[]] * 3
    bare = Dataset.from_list([{"prompt": "a", "target": "b"}])
    assert with_unrelated(bare, 1).column_names == ["prompt", "target"]
