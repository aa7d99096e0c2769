"""What a result says of its training."""

import pytest
from transformers import TrainerState

from semantic_trainer.study.scoring import describe_training


@pytest.mark.parametrize(("limit", "share"), [(1.0, 0.5), (0.0, 0.0)])
def test_nothing_is_clipped_where_clipping_is_off(limit: float, share: float) -> None:
    state = TrainerState(log_history=[{"grad_norm": 0.5}, {"grad_norm": 2.0}, {"train_loss": 1.5}], global_step=2)
    assert describe_training(state, limit) == {"steps": 2, "loss": 1.5, "clipped_share": share}
