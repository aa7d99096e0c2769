"""Training through `SemanticFilterCollator` is training on `plan.apply(...)`, bit for bit."""

from pathlib import Path

import pytest
import torch

from . import filter_jobs


def assert_equal(through: dict, applied: dict) -> None:
    assert len(through["steps"]) == len(applied["steps"]) > 3
    for a, b in zip(through["steps"], applied["steps"], strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert all(torch.equal(through["weights"][name], weight) for name, weight in applied["weights"].items())
    for name in ("losses", "statistics", "eval"):
        assert through[name] == applied[name]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gradient_accumulation_steps": 2},
        {"dataloader_num_workers": 2},
        {"weighting": "shuffled", "seed": 5},
        {"gamma": 0.0},
        {"remove_unused_columns": False},
    ],
    ids=lambda options: "-".join(options) or "shuffled batches",
)
def test_one_process(options: dict, tmp_path: Path) -> None:
    through, applied = (filter_jobs.train_filtered(tmp_path, 1, way, **options) for way in (True, False))
    assert_equal(through, applied)


def test_a_resumed_training(tmp_path: Path) -> None:
    options = {"save_strategy": "steps", "save_steps": 3, "optim": "adamw_torch", "lr_scheduler_type": "cosine"}
    applied = filter_jobs.train_filtered(tmp_path, 1, False, **options)
    through = filter_jobs.train_filtered(tmp_path, 1, True, stop=4, **options)
    assert all(torch.equal(through["weights"][name], weight) for name, weight in applied["weights"].items())


def test_without_the_plan_it_is_another_training(tmp_path: Path) -> None:
    """That the tests above would see a difference."""
    train, pool, plan = filter_jobs.data()
    assert plan.apply(train, pool)["input_ids"][:] != train["input_ids"][:]
    through = filter_jobs.train_filtered(tmp_path, 1, True)
    plain = filter_jobs.train_filtered(tmp_path, 1, False, seed=43)
    assert any(not torch.equal(a, plain["weights"][name]) for name, a in through["weights"].items())


def test_two_processes(two: list[dict], tmp_path: Path) -> None:
    one = filter_jobs.train_filtered(tmp_path, 1, False, gradient_accumulation_steps=2)
    for results in two:
        through, applied = results["filtered"][True], results["filtered"][False]
        assert_equal(through, applied)
        assert through["losses"] == pytest.approx(one["losses"], rel=1e-6)
