"""SemanticSFTConfig: TRL's SFTConfig and what the weighting needs."""

from dataclasses import dataclass

from transformers import TrainingArguments
from trl import SFTConfig

from .training_args import SemanticTrainingArguments, WeightingArguments

# What loses an example's weight -> why, and what to do instead.
REFUSED = {
    "packing": (
        "lays several examples into one row and drops every column but the tokens, the weights with them. Set "
        "packing=False; SemanticWeightedTrainer shares the prompts' common head between examples instead"
    ),
    "padding_free": (
        "lays all examples of a batch into one row, in which the loss no longer tells them apart. Set "
        "padding_free=False; train_sampling_strategy='group_by_length' saves padding"
    ),
}


@dataclass
class SemanticSFTConfig(WeightingArguments, SFTConfig):
    """`trl.SFTConfig` with the weighting of Eqs. 5-6: `gamma`, `weighting`, `known_lambda`, `clip_distance`, and
    `max_new_tokens` and `answer_batch_size` for the answers that the trainer asks for itself.

    Defaults are TRL's own, `bf16=True` and `gradient_checkpointing=True` among them. `packing`, `padding_free`,
    `loss_type="dft"`, `label_smoothing_factor` and `use_liger_kernel` are refused.

    Raises:
        ValueError: one of these, negative gamma, unknown weighting, or gamma together with `weighting="column"`.

    Example:
        >>> args = SemanticSFTConfig("out", gamma=1.0, learning_rate=2e-3, bf16=False)
    """

    def __post_init__(self) -> None:
        for name, reason in REFUSED.items():
            if getattr(self, name):
                raise ValueError(f"`{name}` {reason}.")
        if self.loss_type == "dft":
            raise ValueError(
                '`loss_type="dft"` multiplies each token\'s loss by its probability: a weighting of its own, from '
                'log-probabilities that ours would have changed. Set loss_type="nll", or use trl.SFTTrainer.'
            )
        super().__post_init__()

    @classmethod
    def from_training_arguments(cls, args: TrainingArguments | None) -> "SemanticSFTConfig":
        """A plain `SFTConfig`, or `TrainingArguments`, with our defaults added; our own are returned as they are."""
        if isinstance(args, SemanticTrainingArguments):
            raise TypeError(
                "`args` is a SemanticTrainingArguments, whose `prompt_format`, `shots` and `batching` have no effect "
                "under TRL, which renders prompts itself. Pass a SemanticSFTConfig."
            )
        return super().from_training_arguments(args)
