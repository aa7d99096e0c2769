"""SemanticFilter and its control: what may enter, what comes out, and what wrong input is told."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, concatenate_datasets

from semantic_trainer import FilterPlan, RandomFilter, SemanticFilter
from semantic_trainer.facts.schema import fact_id

TRAIN = [0.5, 0.6, 0.4, 0.55]
POOL = [0.1, 0.9, 0.5, 0.02, 1.2]


def facts(name: str, distances: list[float], **columns: list) -> Dataset:
    prompts = [f"Who leads {name} {i}?" for i in range(len(distances))]
    rows = {"prompt": prompts, "target": [f"Person {i}" for i in range(len(distances))]}
    rows |= {"old_answer": ["Somebody"] * len(distances), "old_answer_truncated": [False] * len(distances), **columns}
    rows["fact_id"] = [fact_id(p, t) for p, t in zip(rows["prompt"], rows["target"], strict=True)]
    return Dataset.from_dict({**rows, "distance": distances})


@pytest.fixture
def train() -> Dataset:
    return facts("works", TRAIN)


@pytest.fixture
def pool() -> Dataset:
    return facts("mill", POOL)


@pytest.fixture
def plan(train: Dataset, pool: Dataset) -> FilterPlan:
    return SemanticFilter((0.2, 0.8)).plan(train, pool)


def test_the_docstrings_example() -> None:
    plan = SemanticFilter((0.2, 0.8)).plan([0.5, 0.6, 0.4], [0.1, 0.9])
    assert (plan.removed.tolist(), plan.added.tolist(), plan.stopped) == ([1], [0], "objective")
    assert plan.removed.dtype == plan.added.dtype == np.int64


def test_arrays_datasets_and_parquet_files_give_one_plan(
    train: Dataset, pool: Dataset, plan: FilterPlan, tmp_path: Path
) -> None:
    pool.select(range(3)).to_parquet(tmp_path / "0.parquet")
    pool.select(range(3, 5)).to_parquet(tmp_path / "1.parquet")
    halves = concatenate_datasets([pool.select(range(3)), pool.select(range(3, 5))])  # two chunks, with indices
    for given in (POOL, np.array(POOL), halves, tmp_path, [tmp_path / "0.parquet", str(tmp_path / "1.parquet")]):
        again = SemanticFilter((0.2, 0.8)).plan(train, given)
        assert again.added.tolist() == plan.added.tolist() == [3, 0]
        assert again.fingerprints == plan.fingerprints
        if not isinstance(given, (list, np.ndarray)) or isinstance(given[0], Path):
            assert plan.apply(train, given).to_list() == plan.apply(train, pool).to_list()


def test_a_plan_that_is_applied_puts_each_fact_in_the_place_of_another(
    train: Dataset, pool: Dataset, plan: FilterPlan
) -> None:
    assert plan.removed.tolist() == [1, 3]
    final = plan.apply(train, pool)
    assert final.features == train.features
    assert [row["prompt"] for row in final] == [
        train[0]["prompt"],
        pool[3]["prompt"],
        train[2]["prompt"],
        pool[0]["prompt"],
    ]
    distances = np.array(final["distance"][:])
    assert plan.mean[-1] == pytest.approx(distances.mean())
    assert plan.spread[-1] == pytest.approx(distances.var())
    assert plan.objective[-1] == pytest.approx(distances.mean() - distances.var())
    assert (plan.wanted_share, plan.reached_share, plan.stopped) == (0.6, 0.5, "share")
    assert "2 of 4 facts replaced (50.0% of 60.0% wanted: all that was wanted)" in plan.describe()


def test_a_bound_that_ends_it_is_named() -> None:
    plan = SemanticFilter((0.4, 0.6)).plan(TRAIN, [0.0, 0.1, 0.2, 0.3])
    assert plan.stopped == plan.binding_bound == "mean_min"
    assert plan.mean.min() > 0.4
    assert "the bound mean_min forbids" in plan.describe()


@pytest.mark.parametrize("name", ["plan.json", "plan.parquet"])
def test_a_plan_is_saved_and_read(name: str, plan: FilterPlan, tmp_path: Path, train: Dataset, pool: Dataset) -> None:
    empty = SemanticFilter(None, replace_share=0).plan(train, pool)
    for saved in (plan, empty):
        read = FilterPlan.load(saved.save(tmp_path / name))
        for field, value in vars(saved).items():
            np.testing.assert_equal(getattr(read, field), value)
        assert read.removed.dtype == np.int64
        assert read.apply(train, pool).to_list() == saved.apply(train, pool).to_list()


def test_what_is_no_plan_is_refused(tmp_path: Path, plan: FilterPlan) -> None:
    with pytest.raises(ValueError, match=r"\.json or \.parquet"):
        plan.save(tmp_path / "plan.csv")
    with pytest.raises(FileNotFoundError, match=r"plan\.json' does not exist"):
        FilterPlan.load(tmp_path / "plan.json")
    path = plan.save(tmp_path / "plan.json")
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError, match="holds no whole plan"):
        FilterPlan.load(path)
    plan.added[0] = plan.added[1]
    with pytest.raises(ValueError, match="'added' has rows twice"):
        FilterPlan.load(plan.save(tmp_path / "plan.parquet"))
    Dataset.from_dict({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="holds no whole plan"):
        FilterPlan.load(tmp_path / "other.parquet")


def test_repeats_and_conflicts_never_enter(train: Dataset) -> None:
    prompts = ["New?", train[2]["prompt"], " New? ", "Other?"]
    pool = facts("mill", [0.1, 0.02, 0.02, 1.3], prompt=prompts, target=["a", "not person 2", "b", "c"])
    plan = SemanticFilter(None, replace_share=1).plan(train, pool)
    assert set(plan.added.tolist()) <= {0, 3}
    assert plan.excluded["prompt is taught"] == 1
    assert plan.excluded["repeats a prompt"] == 1
    plan = SemanticFilter(None, replace_share=1).plan(train, pool, exclude_ids=[pool[0]["fact_id"]])
    assert set(plan.added.tolist()) <= {2, 3}  # the first one is out, so that the second repeats nothing


def test_facts_of_a_test_and_masked_rows_never_enter(train: Dataset, pool: Dataset) -> None:
    plan = SemanticFilter(None).plan(train, pool, exclude_ids=[pool[3]["fact_id"]])
    assert plan.excluded["exclude_ids"] == 1
    assert 3 not in plan.added
    mask = np.array([False, False, False, False, True])
    assert 4 not in SemanticFilter(None).plan(TRAIN, POOL, pool_exclude=mask).added


def test_flagged_and_known_facts_are_told_apart(train: Dataset) -> None:
    answers = ['".".\nIt is', "Person 1", "Person", "x", "2 Person", "Person 5"]
    pool = facts("mill", [1.0, 0.0, 0.7, 1.1, 0.0, 0.1], old_answer=answers)
    truncated = [False, False, False, True, False, False]
    pool = pool.remove_columns("old_answer_truncated").add_column("old_answer_truncated", truncated)
    keep_all = SemanticFilter(None, replace_share=1, exclude_flagged=False).plan(train, pool)
    assert sorted(keep_all.added) == [1, 3, 4, 5]
    assert keep_all.shares == {"at_1_or_more": 0.25, "known": 0.5, "flagged": 0.5}
    assert SemanticFilter(None).plan(train, pool).excluded["flagged"] == 3
    plan = RandomFilter(exclude_known=True).plan(train, pool)
    assert plan.excluded == {"known": 2, "flagged": 3, "prompt is taught": 0, "repeats a prompt": 0}
    assert plan.added.tolist() == [2]


def test_the_control_draws_at_random(train: Dataset, pool: Dataset) -> None:
    plan = RandomFilter(replace_share=0.5).plan(train, pool)
    assert len(plan) == 2
    again = RandomFilter(replace_share=0.5, seed=42).plan(train, pool)
    assert (plan.removed.tolist(), plan.added.tolist()) == (again.removed.tolist(), again.added.tolist())
    drawn = [RandomFilter(replace_share=0.5, seed=seed).plan(train, pool) for seed in range(20)]
    assert len({tuple(p.removed) for p in drawn}) > 5
    final = np.array(plan.apply(train, pool)["distance"][:])
    assert plan.objective[-1] == pytest.approx(final.mean() - final.var())
    bounded = RandomFilter((0.45, 0.6), replace_share=1).plan(TRAIN, np.linspace(0, 1.2, 60))
    assert len(bounded) == 4
    assert all(0.45 < mean < 0.6 for mean in bounded.mean)
    assert RandomFilter(replace_share=1).plan(TRAIN, POOL[:2]).stopped == "pool"


@pytest.mark.parametrize("seed", range(10))
def test_a_draw_that_one_original_cannot_take_is_left_for_another(seed: int) -> None:
    """Of [0.1, 0.9] only 0.9 can leave for 0.8 or 0.85, whichever is drawn first."""
    train, pool = np.array([0.1, 0.9]), np.array([0.8, 0.85])
    plan = RandomFilter((0.3, 0.5), replace_share=0.5, seed=seed).plan(train, pool)
    assert (plan.removed.tolist(), plan.stopped) == ([1], "share")
    every = RandomFilter((0.3, 0.5), replace_share=1, seed=seed).plan(train, pool)
    assert (every.removed.tolist(), every.stopped) == ([1], "mean_max")


def test_ids_to_exclude_may_be_an_array() -> None:
    pool = Dataset.from_dict({"fact_id": ["a", "b", "c"], "distance": [0.5, 0.6, 0.7]})
    plan = SemanticFilter((0, 2), replace_share=1).plan(
        Dataset.from_dict({"fact_id": ["d"], "distance": [0.9]}), pool, exclude_ids=np.array(["a", "b"])
    )
    assert set(plan.added.tolist()) <= {2}


def test_the_pool_ends_before_the_share() -> None:
    plan = SemanticFilter(None, replace_share=1).plan([0.7, 0.7, 0.7], [0.0])
    assert (plan.stopped, plan.reached_share, plan.wanted_share) == ("pool", pytest.approx(1 / 3), 1.0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: SemanticFilter((0, 1), replace_share=1.5), r"`replace_share` must be from 0 to 1, but 1\.5"),
        (lambda: SemanticFilter((0, 1), replace_share=float("nan")), "`replace_share` must be from 0 to 1"),
        (lambda: SemanticFilter((0.5, 0.5)), "`mean_range` must be two numbers, the smaller first"),
        (lambda: SemanticFilter((0.5, float("nan"))), "`mean_range` must be two numbers"),
        (lambda: SemanticFilter((0, 1), spread_weight=-1), "`spread_weight` must be a finite number"),
        (lambda: SemanticFilter((0, 1), spread="varience"), "Did you mean 'variance'"),
        (lambda: SemanticFilter((0, 1)).plan([], POOL), "`train` has no rows"),
        (lambda: SemanticFilter((0, 1)).plan(TRAIN, np.array([])), "`pool` has no rows"),
        (lambda: SemanticFilter((0, 1)).plan(TRAIN, [0.1, float("nan")]), "`pool`: distances must be finite.*row 1"),
        (lambda: SemanticFilter((0, 1)).plan([-0.1, 0.5], POOL), r"`train`: .*row 0 have others, first -0\.1"),
        (lambda: SemanticFilter((0, 1)).plan([[0.1]], POOL), "one distance a row"),
        (lambda: SemanticFilter((0.9, 1)).plan(TRAIN, POOL, ()), "`pool_exclude` must be 5 booleans"),
        (lambda: SemanticFilter((0, 1)).plan(TRAIN, POOL, np.ones(5, bool)), "no row that may enter.*pool_exclude 5"),
        (lambda: SemanticFilter((1.1, 1.3)).plan(TRAIN, POOL), r"nearest mean that 2 swaps can reach is 0\.8"),
        (lambda: SemanticFilter((0.0, 0.1)).plan(TRAIN, POOL), r"nearest mean that 2 swaps can reach is 0\.25"),
        (lambda: SemanticFilter((0.6, 0.601)).plan([0.5, 0.5], [0.0, 1.0]), r"the swaps reach is 0\.5"),
        (lambda: SemanticFilter((0, 1), exclude_known=True).plan(TRAIN, POOL), "`exclude_known` needs `old_answer`"),
        (lambda: SemanticFilter((0, 1)).plan(TRAIN, POOL, exclude_ids=["a"]), "`exclude_ids` needs `fact_id`"),
        (
            lambda: SemanticFilter((0, 1)).plan(TRAIN, Dataset.from_dict({"distanc": [1.0]})),
            "'distance'; found.*meant",
        ),
        (lambda: SemanticFilter((0, 1)).plan(TRAIN, Dataset.from_dict({"distance": [1.0, None]})), "empty in row 1"),
        (lambda: SemanticFilter((0, 1)).plan(TRAIN, Dataset.from_dict({"distance": ["a"]})), "must hold numbers"),
    ],
)
def test_bad_input_is_one_clear_error(call: Callable, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()


def test_other_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="`train` must be distances, a datasets.Dataset or paths"):
        SemanticFilter((0, 1)).plan({"a": 1}, POOL)
    with pytest.raises(FileNotFoundError, match=r"`pool` .*no\.parquet' does not exist"):
        SemanticFilter((0, 1)).plan(TRAIN, tmp_path / "no.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(ValueError, match="could not be read as Parquet"):
        SemanticFilter((0, 1)).plan(TRAIN, tmp_path / "text.parquet")


def test_facts_in_both_sets_are_an_error_or_left_out(train: Dataset, pool: Dataset) -> None:
    both = concatenate_datasets([pool, train.select([2])])
    with pytest.raises(ValueError, match=r"share 1 facts, first row 5 of `pool` .*exclude_ids=train\[\"fact_id\"\]"):
        SemanticFilter((0, 1)).plan(train, both)
    assert 5 not in SemanticFilter((0, 1)).plan(train, both, exclude_ids=train["fact_id"]).added


def test_a_plan_is_refused_for_other_data(train: Dataset, pool: Dataset, plan: FilterPlan) -> None:
    with pytest.raises(ValueError, match="`train` has 3 rows, but the plan was made from one with 4"):
        plan.apply(train.select(range(3)), pool)
    with pytest.raises(ValueError, match="`pool` has other distances than the plan was made from"):
        plan.apply(train, pool.select([1, 0, 2, 3, 4]))
    with pytest.raises(ValueError, match="`train` has other distances"):
        plan.attach(train.select([1, 0, 2, 3]))
    with pytest.raises(ValueError, match="`pool` has no column 'prompt'"):
        plan.apply(train, pool.remove_columns("prompt"))
    with pytest.raises(TypeError, match="`train` must be a datasets.Dataset"):
        plan.apply(TRAIN, pool)


def test_attach_gives_what_weights_are_made_from(train: Dataset, pool: Dataset, plan: FilterPlan) -> None:
    final = plan.apply(train, pool)
    attached = plan.attach(train)
    assert attached["row"][:] == [0, 1, 2, 3]
    assert attached["distance"][:] == final["distance"][:]
    assert attached["prompt"][:] == train["prompt"][:]
    with_pool = plan.attach(attached, pool)  # a second time, too
    for name in ("distance", "old_answer", "target"):
        assert with_pool[name][:] == final[name][:]
    weighted = train.add_column("weight", [1.0, 2.0, 3.0, 4.0])
    assert "weight" not in plan.attach(weighted).column_names
    assert plan.attach(weighted, pool.add_column("weight", [9.0] * 5))["weight"][:] == [1.0, 9.0, 3.0, 9.0]
