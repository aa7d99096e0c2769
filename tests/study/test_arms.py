"""One line of text to an arm."""

import pytest

from semantic_trainer.distance.weighting import WEIGHTINGS
from semantic_trainer.study.arms import parse_arm, parse_arms


@pytest.mark.parametrize("weighting", [name for name in WEIGHTINGS if name not in ("none", "column")])
def test_every_weighting_is_an_arm(weighting: str) -> None:
    arm = parse_arm(weighting)
    assert (arm.name, arm.weighting, arm.filters) == (weighting, weighting, False)


def test_options_go_where_they_belong() -> None:
    arm = parse_arm("tuned: paper learning_rate=4e-3 gamma=0.5 method=adalora lora_r=4")
    assert (arm.name, arm.base, arm.weighting) == ("tuned", "paper", "paper")
    assert arm.training == {"learning_rate": 0.004, "gamma": 0.5}
    assert arm.model == {"method": "adalora", "lora_r": 4}
    filtered = parse_arm("filter replace_share=0.2 mean_range=[0.2,0.8]")
    assert filtered.filter == {"replace_share": 0.2, "mean_range": [0.2, 0.8]}
    assert (filtered.name, filtered.weighting) == ("filter-replace_share-0.2-mean_range-0.2-0.8-", "none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names nothing"),
        ("papr", "paper"),
        ("column", "unknown"),
        ("plain gamma=2", "no effect on the plain loss"),
        ("paper replace_share=0.5", "no effect but on filter"),
        ("paper learning_rte=1", "learning_rate"),
        ("paper seed=3", "`seed` holds for all arms. Give it as --seed"),
        ("paper gamma=1 gamma=2", "names `gamma` twice"),
        ("plain model=x", "`model` is no option of an arm"),
        (f"{'a' * 201}: plain", "at most 200 bytes, but has 201"),
        ("paper learning_rate", "options look like"),
        ("a/b: paper", "its name must be of letters"),
        ("../../evil: paper", "its name must be of letters"),
    ],
)
def test_wrong_arms_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_arm(text)


def test_a_filter_trains_with_the_plain_loss_or_the_weights_it_names() -> None:
    arm, bare = parse_arm("filter weighting=self_paced"), parse_arm("random_filter")
    assert (arm.training, arm.filter) == ({"weighting": "self_paced"}, {})
    assert (arm.replace_share, bare.replace_share, bare.training) == (0.6, 0.6, {})
    with pytest.raises(ValueError, match="a weighting is what an arm begins with"):
        parse_arm("plain weighting=paper")


def test_names_come_once() -> None:
    assert [arm.name for arm in parse_arms(["plain", "paper"])] == ["plain", "paper"]
    with pytest.raises(ValueError, match="twice"):
        parse_arms(["plain", "plain"])
    with pytest.raises(ValueError, match="empty"):
        parse_arms([])
