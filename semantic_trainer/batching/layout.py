"""One batch of tokenised examples as a forward pass takes it, in shared-prefix rows or padded."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence

from .positions import IGNORED, keeps_positions, predicted_tokens, predicting_positions
from .shared_prefix import model_inputs, shared_prefix_rows


@dataclass(frozen=True)
class Layout:
    """What goes into a model, and what is to be read from it.

    Attributes:
        inputs: what the forward pass takes, but for the positions whose logits are kept.
        keep: (R, T) bool, n of them true: the positions that predict a target.
        targets: (n,) the predicted tokens.
        examples: (n,) the example of each kept position.
    """

    inputs: dict[str, torch.Tensor]
    keep: torch.Tensor
    targets: torch.Tensor
    examples: torch.Tensor

    @classmethod
    def of(
        cls,
        model: torch.nn.Module,
        input_ids: Sequence[Sequence[int]],
        labels: Sequence[Sequence[int]],
        pad_token_id: int,
        shared: bool,
    ) -> "Layout":
        """Lay B examples out on the model's device; `shared` is for models that `probe.unsuited` has nothing against.

        Example:
            >>> Layout.of(model, [[7, 8, 9]], [[-100, -100, 9]], 0, shared=True).targets
            tensor([9])
        """
        device = next(model.parameters()).device
        if shared:
            rows = shared_prefix_rows(input_ids, labels, pad_token_id)
            keep = rows.shift_labels != IGNORED
            inputs, examples = model_inputs(rows, model), rows.segment_ids[keep] - 1
            targets = rows.shift_labels[keep]
        else:
            ids = [torch.tensor(row) for row in input_ids]
            padded = pad_sequence([torch.tensor(row) for row in labels], True, IGNORED)
            keep = predicting_positions(padded)
            mask = pad_sequence([torch.ones_like(row) for row in ids], True, 0)
            inputs = {"input_ids": pad_sequence(ids, True, pad_token_id), "attention_mask": mask}
            examples, targets = keep.nonzero()[:, 0], predicted_tokens(padded, keep)
        return cls({name: x.to(device) for name, x in inputs.items()}, keep.to(device), targets, examples)

    def logits(self, model: torch.nn.Module) -> torch.Tensor:
        """(n, V) float32 logits at the kept positions, row by row."""
        if keeps_positions(model):
            return model(**self.inputs, logits_to_keep=self.keep).logits.float()
        return self._kept(model(**self.inputs).logits)

    def features(self, model: torch.nn.Module) -> torch.Tensor:
        """(n, d) float32: what the output head reads at the kept positions, behind the final norm."""
        read = []
        hook = model.get_output_embeddings().register_forward_pre_hook(lambda _, args: read.append(args[0].detach()))
        try:
            self.logits(model)
        finally:
            hook.remove()
        return read[-1].float() if keeps_positions(model) else self._kept(read[-1])

    def _kept(self, rows: torch.Tensor) -> torch.Tensor:
        """(n, ...) float32 of (R, T, ...); prompt tuning puts virtual tokens in front."""
        return rows[:, -self.keep.shape[1] :][self.keep].float()
