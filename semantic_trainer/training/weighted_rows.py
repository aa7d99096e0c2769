"""What a weighted trainer does besides its loss: keep the weights of its rows, fill batches up, and log."""

import torch
from torch.utils.data import DataLoader

from .data_collator import EXAMPLE, WEIGHT
from .filling import FilledDataset, can_be_filled, fill_up
from .filter_collator import columns_needed


class WeightedRows:
    """Part of a `Trainer` whose training rows have a `weight`; stands before `Trainer` among the parents.

    Attributes:
        weighted: whether the training loss is weighted; without, this only adds `clipped_steps` to the logs.
        weight_statistics: logged once, with the first loss.
    """

    weighted: bool = False
    weight_statistics: dict[str, float] | None = None

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        needed = {*((WEIGHT, EXAMPLE) if self.weighted else ()), *columns_needed(self.data_collator)}
        self._signature_columns += needed - set(self._signature_columns)

    def get_train_dataloader(self) -> DataLoader:
        """As the parent; in several processes, what is missing to whole batches is filled with rows without labels."""
        rows = self.train_dataset
        if not (self.weighted and can_be_filled(rows, self.args)):
            return super().get_train_dataloader()
        self.train_dataset = FilledDataset(rows)
        try:
            loader = super().get_train_dataloader()
        finally:
            self.train_dataset = rows
        fill_up(loader, len(rows))
        return loader

    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
        norm = super()._clip_grad_norm(model)
        counts = self._clip_counts()
        counts["steps"] += 1
        counts["clipped"] += int(norm > self.args.max_grad_norm)
        return norm

    def _clip_counts(self) -> dict[str, int]:
        """Steps and clipped steps of this training, kept in the state so that they outlive a resume."""
        return self.state.stateful_callbacks.setdefault(type(self).__name__, {"steps": 0, "clipped": 0})

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As the parent, with the share of clipped steps so far and, once, the weighting statistics."""
        counts, statistics = self._clip_counts(), self.weight_statistics
        if "loss" in logs and counts["steps"]:
            logs = {**logs, "clipped_steps": counts["clipped"] / counts["steps"]}
        if "loss" in logs and statistics and not any("weight/mean" in entry for entry in self.state.log_history):
            logs = {**logs, **statistics}
        super().log(logs, start_time)
