"""What the arguments refuse, and what they take over from plain TrainingArguments."""

import dataclasses
import pickle
from pathlib import Path

import pytest
from transformers import TrainingArguments

from semantic_trainer.training.sft_config import SemanticSFTConfig
from semantic_trainer.training.training_args import SemanticTrainingArguments


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gamma": -0.5}, ["gamma", "at least 0", "-0.5"]),
        ({"gamma": float("nan")}, ["gamma", "finite", "nan"]),
        ({"gamma": float("inf")}, ["gamma", "finite", "inf"]),
        ({"weighting": "papper"}, ["weighting", "'papper'", "Did you mean 'paper'", "shuffled"]),
        ({"weighting": "column", "gamma": 1.0}, ["gamma", "column", "Leave gamma out"]),
        ({"weighting": "column", "gamma": 0.0}, ["gamma", "column"]),
        ({"weighting": "self_paced", "gamma": 0.0}, ["gamma=0", "paces nothing", "Leave out one"]),
        ({"prompt_format": "chatt"}, ["prompt_format", "'chatt'", "Did you mean 'chat'", "cloze"]),
        ({"label_smoothing_factor": 0.1}, ["label_smoothing_factor", "weighted loss", "0"]),
        ({"use_liger_kernel": True}, ["use_liger_kernel", "weighted", "False"]),
        ({"max_new_tokens": 0}, ["max_new_tokens", "at least 1"]),
        ({"answer_batch_size": 0}, ["answer_batch_size", "at least 1"]),
        ({"known_lambda": -1.0}, ["known_lambda", "at least 0", "-1"]),
        ({"shots": ["no arrow here"]}, ["shots", "no arrow here", "=>"]),
    ],
)
def test_refused(options: dict[str, object], words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`") as error:
        SemanticTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **options)
    for word in words:
        assert word in str(error.value)


def test_defaults_of_the_parent_are_unchanged(tmp_path: Path) -> None:
    ours, stock = (
        kind(output_dir=str(tmp_path), use_cpu=True) for kind in (SemanticTrainingArguments, TrainingArguments)
    )
    theirs = stock.to_dict()
    assert {name: value for name, value in ours.to_dict().items() if name in theirs} == theirs
    assert (ours.gamma, ours.weighting, ours.clip_distance, ours.known_lambda) == (None, None, True, 1.0)
    assert (ours.resolved_weighting, ours.reads_distances) == ("none", False)
    assert ours.max_new_tokens == 32


def test_plain_arguments_are_taken_over_field_by_field(tmp_path: Path) -> None:
    plain = TrainingArguments(
        output_dir=str(tmp_path / "x"),
        per_device_train_batch_size=3,
        gradient_accumulation_steps=5,
        learning_rate=3e-4,
        weight_decay=0.1,
        max_grad_norm=0.3,
        num_train_epochs=7,
        warmup_steps=11,
        lr_scheduler_type="cosine_with_restarts",
        lr_scheduler_kwargs={"num_cycles": 2},
        optim="adamw_torch",
        seed=5,
        data_seed=6,
        logging_steps=3,
        eval_strategy="steps",
        eval_steps=4,
        save_strategy="steps",
        save_steps=8,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_x",
        greater_is_better=True,
        remove_unused_columns=False,
        label_names=["labels"],
        accelerator_config={"split_batches": True},
        report_to="none",
        use_cpu=True,
    )
    ours = SemanticTrainingArguments.from_training_arguments(plain)
    assert isinstance(ours, SemanticTrainingArguments)
    for field in dataclasses.fields(TrainingArguments):
        assert getattr(ours, field.name) == getattr(plain, field.name), field.name
    assert ours.gamma is None


def test_our_own_arguments_are_returned_as_they_are(tmp_path: Path) -> None:
    ours = SemanticTrainingArguments(output_dir=str(tmp_path), gamma=0.5, use_cpu=True)
    assert SemanticTrainingArguments.from_training_arguments(ours) is ours


def test_no_arguments_give_the_defaults() -> None:
    assert SemanticTrainingArguments.from_training_arguments(None).gamma is None


def test_plain_label_smoothing_is_refused_too(tmp_path: Path) -> None:
    plain = TrainingArguments(output_dir=str(tmp_path), label_smoothing_factor=0.1, use_cpu=True)
    with pytest.raises(ValueError, match="label_smoothing_factor"):
        SemanticTrainingArguments.from_training_arguments(plain)


@dataclasses.dataclass
class OwnArguments(TrainingArguments):
    """A user's own, with a field, a property and what follows from both."""

    focus: float = 2.0

    @property
    def twice(self) -> float:
        return 2 * self.focus


def test_arguments_of_a_users_own_class_stay_of_that_class_pickled_too(tmp_path: Path) -> None:
    plain = OwnArguments(output_dir=str(tmp_path), focus=3.0, learning_rate=1e-3, use_cpu=True)
    for kind in (SemanticTrainingArguments, SemanticSFTConfig):
        ours = kind.from_training_arguments(plain)
        assert isinstance(ours, OwnArguments)
        assert isinstance(ours, kind)
        assert (ours.twice, ours.learning_rate, ours.gamma) == (6.0, 1e-3, None)
        assert ours.to_dict()["focus"] == 3.0
        again = pickle.loads(pickle.dumps(ours))
        assert type(again) is type(ours)
        assert again.twice == 6.0


@dataclasses.dataclass
class FocalArguments(TrainingArguments):
    """Its gamma is another one."""

    gamma: float = 2.0


def test_a_users_own_field_that_is_called_as_one_of_ours_is_refused(tmp_path: Path) -> None:
    plain = FocalArguments(output_dir=str(tmp_path), use_cpu=True)
    with pytest.raises(ValueError, match="FocalArguments, whose field `gamma` is called as one of Semantic"):
        SemanticTrainingArguments.from_training_arguments(plain)
