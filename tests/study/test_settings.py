"""A setting refuses arms whose options would do nothing, and completes those it has."""

from dataclasses import replace

import pytest

from semantic_trainer.facts.sets import FactsArguments
from semantic_trainer.study.arms import parse_arms
from semantic_trainer.study.settings import Setting
from semantic_trainer.study.tables import check_tables
from semantic_trainer.training.training_args import SemanticTrainingArguments
from semantic_trainer.tuners.arguments import ModelArguments


def setting(*arms: str, gamma: float | None = None, **model: object) -> Setting:
    training = SemanticTrainingArguments("out", gamma=gamma, use_cpu=True)
    return Setting("one", FactsArguments(facts=["f.jsonl"]), ModelArguments(**model), training, parse_arms(arms))


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ("paper gamma=0", "weighs with `gamma` 0, which is the plain loss. Use plain"),
        ("self_paced gamma=2", "`gamma` has no effect on this arm"),
        ("plain pacing_temperature=3", "`pacing_temperature` has no effect on this arm"),
        ("self_paced known_lambda=0", "`known_lambda` has no effect on this arm"),
        ("filter gamma=2", "`gamma` has no effect on this arm"),
        ("plain logging_steps=3", "`logging_steps` has no effect on this arm"),
        ("plain push_to_hub=true", "`push_to_hub` has no effect on this arm"),
        ("plain system_prompt=Hi", "`system_prompt` holds for all arms"),
        ("plain lora_r=x", "`lora_r` must be an integer of at least 1, but 'x' was passed"),
        ("plain lora_r=2.5", "`lora_r` must be an integer of at least 1, but 2.5 was passed"),
        ("plain lora_alpha=0", "`lora_alpha` must be an integer of at least 1, but 0 was passed"),
        ("filter weighting=column", "weighting=column is for your own script"),
    ],
)
def test_options_that_cannot_be_are_refused(arm: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        setting(arm)


@pytest.mark.parametrize("name", ["../../evil", "a/b", "/tmp/evil", ".", "..", ".hidden", "-a", "a b", ""])
def test_a_name_that_is_no_folder_within_the_study_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="`settings`: its name must be of letters, digits"):
        replace(setting("plain"), name=name)
    assert replace(setting("plain"), name="zsre-lora_0.1+a").name == "zsre-lora_0.1+a"


def test_controls_are_controls_of_something() -> None:
    check_tables(["controls"], [setting("plain"), setting("plain", "paper", "shuffled")])
    with pytest.raises(ValueError, match="needs the paper's weights and a control of them"):
        check_tables(["controls"], [setting("plain", "paper"), setting("plain", "shuffled")])


def test_replacement_is_of_one_arm_of_each_kind_and_share() -> None:
    pair = setting("filter", "random_filter replace_share=0.6")
    check_tables(["replacement"], [pair])
    twice = setting("filter", "random_filter", "wide: filter replace_share=0.6 spread_weight=2")
    with pytest.raises(ValueError, match="one has more with filter replace_share=0.6"):
        check_tables(["replacement"], [pair, twice])


def test_a_shared_gamma_of_0_leaves_the_plain_arms_alone() -> None:
    assert setting("plain", "filter", gamma=0.0).arms
    with pytest.raises(ValueError, match="`arms` 'paper': it weighs with `gamma` 0"):
        setting("plain", "paper", gamma=0.0)


def test_the_scale_keeps_its_ratio_to_the_rank_unless_it_is_given() -> None:
    one = setting("plain", "plain lora_r=32", "plain lora_r=4 lora_alpha=5", lora_r=8, lora_alpha=24)
    assert [(m.lora_r, m.lora_alpha) for m in map(one.model_of, one.arms)] == [(8, 24), (32, 96), (4, 5)]


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ("plain per_device_train_batch_size=0", "`per_device_train_batch_size` must be at least 1, but 0 was passed"),
        ("plain learning_rate=-3", "`learning_rate` must be at least 0, but -3 was passed"),
        ("plain weight_decay=-1", "`weight_decay` must be at least 0"),
        ("plain max_grad_norm=-1", "`max_grad_norm` must be at least 0"),
        ("plain num_train_epochs=-1", "`num_train_epochs` must be above 0, or `max_steps` given"),
        ("plain num_train_epochs=0", "`num_train_epochs` must be above 0"),
        ("plain lora_dropout=2", "`lora_dropout` must be at least 0 and below 1, but 2 was passed"),
        ("plain optim=foo", "foo is not a valid OptimizerNames"),
        ("filter replace_share=2", "`replace_share` must be from 0 to 1, but 2 was passed"),
        ("filter mean_range=[0.8,0.2]", "`mean_range` must be two numbers, the smaller first"),
        ("filter mean_range=5", "`mean_range` must be two numbers, the smaller first, but 5 was passed"),
    ],
)
def test_an_arm_out_of_range_is_refused_by_its_name(arm: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^`arms` 'b': {message}"):
        setting("plain", f"b: {arm}")


@pytest.mark.parametrize("name", ["tables", "figures"])
def test_no_setting_lies_where_the_output_goes(name: str) -> None:
    with pytest.raises(ValueError, match=f"`settings`: '{name}' is where the study's {name} go"):
        replace(setting("plain"), name=name)
