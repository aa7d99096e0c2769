"""What a weighted trainer does besides its loss: keep the weights of its rows, fill batches up, and log."""

from collections.abc import Callable

import torch
from torch.utils.data import DataLoader, Sampler

from ..distance.weighting import add_weights
from .data_collator import EXAMPLE, WEIGHT, WeightedCollator
from .filling import FilledDataset, can_be_filled, fill_up
from .filter_collator import columns_needed
from .preparation import weight_statistics

OF_DISTANCES = ("gamma", "known_lambda", "clip_distance")  # options of weights that are made of distances
OF_WEIGHTS = (*OF_DISTANCES, "weighting", "pacing_temperature", "pacing_annealing", "learning_history")


class WeightedRows:
    """Part of a `Trainer` whose training rows have a `weight`; stands before `Trainer` among the parents.

    Attributes:
        weighted: whether the training loss is weighted; without, this only adds `clipped_steps` to the logs.
        weight_statistics: logged once, with the first loss.
    """

    weighted: bool = False
    weight_statistics: dict[str, float] | None = None

    def _hp_search_setup(self, trial: object) -> None:
        """As the parent; the weights follow what a trial says of them.

        Raises:
            ValueError: a trial says what the weights of this trainer cannot follow.
        """
        args, before = self.args, {name: getattr(self.args, name) for name in OF_WEIGHTS}
        of_distances = self.weighted and args.resolved_weighting not in ("none", "self_paced", "column")
        super()._hp_search_setup(trial)
        changed = [name for name, value in before.items() if getattr(args, name) != value]
        wrong = [name for name in changed if not (of_distances and name in OF_DISTANCES)]
        if wrong:
            raise ValueError(
                f"`{wrong[0]}` cannot differ between the trials of this trainer, whose rows are prepared for one "
                f"weighting. Search over {', '.join(OF_DISTANCES)} with a trainer that was given a gamma; compare "
                "weightings by a trainer each."
            )
        if changed:
            gamma = 1.0 if args.gamma is None else args.gamma
            how = gamma, args.resolved_weighting, args.known_lambda, args.clip_distance, args.seed
            self.train_dataset = add_weights(self.train_dataset, *how)
            self.weight_statistics = weight_statistics(self.train_dataset)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        needed = {*((WEIGHT, EXAMPLE) if self.weighted else ()), *columns_needed(self.data_collator)}
        self._signature_columns += needed - set(self._signature_columns)

    def get_train_dataloader(self) -> DataLoader:
        """As the parent, batches with their weights, where `data_collator` stays the user's own.

        In several processes, what is missing to whole batches is filled with rows without labels.
        """
        if not self.weighted:
            return super().get_train_dataloader()
        rows, collator = self.train_dataset, self.data_collator
        filled = can_be_filled(rows, self.args)
        self.train_dataset = FilledDataset(rows) if filled else rows
        self.data_collator = self.training_collator()
        try:
            loader = super().get_train_dataloader()
        finally:
            self.train_dataset, self.data_collator = rows, collator
        if filled:
            fill_up(loader, len(rows))
        return loader

    def training_collator(self) -> Callable[[list[dict]], dict]:
        """What training batches are made with."""
        return WeightedCollator(self.data_collator)

    def _get_train_sampler(self, train_dataset: object = None) -> Sampler | None:
        """As the parent, which reads the lengths of a `datasets.Dataset` as one column."""
        rows = train_dataset.dataset if isinstance(train_dataset, FilledDataset) else train_dataset
        return super()._get_train_sampler(rows)

    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
        norm = super()._clip_grad_norm(model)
        counts = self._clip_counts()
        counts["steps"] += 1
        counts["clipped"] += int(norm is not None and norm > self.args.max_grad_norm)  # DeepSpeed may give none
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
