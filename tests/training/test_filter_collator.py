"""SemanticFilterCollator: dicts in, tensors out, what it says of wrong input, and how it travels to workers."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments, default_data_collator

from semantic_trainer import FilterPlan, SemanticFilter, SemanticFilterCollator, SemanticWeightedTrainer
from semantic_trainer.training.data_collator import FactCollator, WeightedCollator

ROWS = {"input_ids": [[5, 6, 2], [7, 2], [8, 9, 2]], "labels": [[-100, 6, 2], [7, 2], [-100, -100, 2]]}


@pytest.fixture
def train() -> Dataset:
    return Dataset.from_dict({**ROWS, "distance": [0.5, 0.6, 0.4]})


@pytest.fixture
def pool() -> Dataset:
    ids = [[11, 12, 13, 2], [14, 2]]
    return Dataset.from_dict({"input_ids": ids, "labels": ids, "distance": [0.9, 0.1]})


@pytest.fixture
def plan(train: Dataset, pool: Dataset) -> FilterPlan:
    plan = SemanticFilter(None).plan(train, pool)
    assert (plan.removed.tolist(), plan.added.tolist()) == ([1], [1])
    return plan


@pytest.fixture
def collator(plan: FilterPlan, train: Dataset, pool: Dataset) -> SemanticFilterCollator:
    return SemanticFilterCollator(FactCollator(0), plan, train, pool)


def features(plan: FilterPlan, train: Dataset) -> list[dict]:
    return plan.attach(train).select_columns(["input_ids", "labels", "row"]).to_list()


def test_what_was_removed_is_replaced_and_the_rest_is_as_it_was(
    collator: SemanticFilterCollator, plan: FilterPlan, train: Dataset
) -> None:
    batch = collator(list(reversed(features(plan, train))))
    assert set(batch) == {"input_ids", "labels", "attention_mask"}
    assert batch["input_ids"].tolist() == [[8, 9, 2], [14, 2, 0], [5, 6, 2]]
    assert batch["labels"].tolist() == [[-100, -100, 2], [14, 2, -100], [-100, 6, 2]]


def test_it_delegates_to_any_collator(plan: FilterPlan, train: Dataset, pool: Dataset, tokenizer: object) -> None:
    for inner in (DataCollatorForSeq2Seq(tokenizer), lambda rows: {"n": [sorted(row) for row in rows]}):
        batch = SemanticFilterCollator(inner, plan, train, pool)(features(plan, train))
        assert batch.get("n", [["input_ids", "labels"]])[0] == ["input_ids", "labels"]
    tensors = [{k: torch.tensor(v) for k, v in row.items()} for row in features(plan, train)[1:2]]
    found = SemanticFilterCollator(default_data_collator, plan, train, pool)(tensors)
    assert found["input_ids"].tolist() == [[14, 2]]
    arrays = [{k: np.array(v) for k, v in row.items()} for row in features(plan, train)[1:2]]
    assert SemanticFilterCollator(default_data_collator, plan, train, pool)(arrays)["labels"].tolist() == [[14, 2]]


def test_weights_pass_by(collator: SemanticFilterCollator, plan: FilterPlan, train: Dataset) -> None:
    rows = [{**row, "weight": 1.0 + row["row"]} for row in features(plan, train)]
    assert WeightedCollator(collator)(rows)["weight"].tolist() == [1.0, 2.0, 3.0]


def test_evaluation_rows_are_minus_one(collator: SemanticFilterCollator) -> None:
    batch = collator([{"input_ids": [7, 2], "labels": [7, 2], "row": -1}])
    assert batch["input_ids"].tolist() == [[7, 2]]


@pytest.mark.parametrize("rows", [[{"input_ids": [5]}], [([5], [5])]])
def test_a_row_without_its_number_is_an_error(rows: list, collator: SemanticFilterCollator) -> None:
    with pytest.raises(ValueError, match="no column 'row'.*plan.attach.*remove_unused_columns=False"):
        collator(rows)


def test_stock_trainer(plan: FilterPlan, train: Dataset, pool: Dataset, model: object, tmp_path: Path) -> None:
    options = {"output_dir": str(tmp_path), "max_steps": 2, "report_to": "none", "use_cpu": True, "optim": "sgd"}
    options |= {"per_device_train_batch_size": 3, "save_strategy": "no", "disable_tqdm": True}
    collator = SemanticFilterCollator(FactCollator(0), plan, train, pool)
    attached = plan.attach(train)
    with pytest.raises(ValueError, match="remove_unused_columns=False"):
        Trainer(model, TrainingArguments(**options), collator, train_dataset=attached).train()
    kept = TrainingArguments(**options, remove_unused_columns=False)
    through = Trainer(model, kept, collator, train_dataset=attached).train().training_loss
    assert through == through


def test_a_filtered_trainer_keeps_row_and_spares_evaluation(
    plan: FilterPlan, train: Dataset, pool: Dataset, model: object, arguments: object
) -> None:
    collator = SemanticFilterCollator(FactCollator(0), plan, train, pool)
    trainer = SemanticWeightedTrainer(
        model, arguments(max_steps=1), collator, train_dataset=plan.attach(train), eval_dataset={"a": pool, "b": train}
    )
    batches = list(trainer.get_train_dataloader())
    ids = sorted(tuple(i for i in row if i) for batch in batches for row in batch["input_ids"].tolist())
    assert ids == [(5, 6, 2), (8, 9, 2), (14, 2)]
    assert {name for batch in batches for name in batch} <= {"input_ids", "labels", "attention_mask", "weight"}
    assert {"eval_a_loss", "eval_b_loss"} <= set(trainer.evaluate())
    assert trainer.predict(train).metrics["test_loss"] > 0
    assert trainer.data_collator is collator


def test_wrong_input(plan: FilterPlan, train: Dataset, pool: Dataset, collator: SemanticFilterCollator) -> None:
    with pytest.raises(ValueError, match="`pool` has no column 'labels'.*tokenize_facts"):
        SemanticFilterCollator(FactCollator(0), plan, train, pool.remove_columns("labels"))
    with pytest.raises(ValueError, match="`pool` has other distances"):
        SemanticFilterCollator(FactCollator(0), plan, train, pool.select([1, 0]))
    with pytest.raises(ValueError, match="`train` has 2 rows"):
        SemanticFilterCollator(FactCollator(0), plan, train.select([0, 1]), pool)
    with pytest.raises(ValueError, match="row 3, but the plan's training set has 3 rows"):
        collator([{"input_ids": [5], "labels": [5], "row": 3}])
    with pytest.raises(ValueError, match="`pool` has no column 'subject'"):
        collator([{"input_ids": [5], "subject": "x", "row": 1}])


@pytest.mark.parametrize("where", ["memory", "disk", "parquet"])
def test_a_pickle_does_not_hold_the_pool(where: str, train: Dataset, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 250, (20_000, 20)).tolist()
    pool = Dataset.from_dict({"input_ids": ids, "labels": ids, "distance": rng.uniform(0, 1, 20_000)})
    if where == "disk":
        pool.save_to_disk(tmp_path / "pool")
        pool = Dataset.load_from_disk(str(tmp_path / "pool"))
    plan = SemanticFilter(None).plan(train, pool)
    source = pool
    if where == "parquet":
        pool.to_parquet(tmp_path / "pool.parquet")
        source = tmp_path / "pool.parquet"
    collator = SemanticFilterCollator(FactCollator(0), plan, train, source)
    data = pickle.dumps(collator)
    assert len(data) < 20_000
    rows = features(plan, train)
    again = pickle.loads(data)(rows)
    assert again["input_ids"].tolist() == collator(rows)["input_ids"].tolist()
    row = int(plan.removed[0])
    assert again["input_ids"][row].tolist() == ids[plan.added[0]]
