"""A training that ends early."""

from transformers import TrainerCallback


class Stop(TrainerCallback):
    """Ends training after a step; `None` never does."""

    def __init__(self, step: int | None) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs) -> None:
        control.should_training_stop |= state.global_step == self.step
