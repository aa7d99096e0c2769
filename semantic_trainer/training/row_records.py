"""What a weighted trainer keeps of each training row's loss: to pace by, and to tell when the row was learnt."""

import logging
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from datasets import Dataset

from ..answers.stage import adapters_off
from ..distance.weighting import check_numbers
from ..distribution import gather, is_first, world
from ..facts.schema import replace_columns
from ..tuners.untrained import adds_nothing
from .data_collator import EXAMPLE, WEIGHT
from .history import LearningHistory
from .pacing import Pacing, mean_losses

logger = logging.getLogger(__name__)

TARGET_LOSS = "target_loss"  # a column: what the first table of losses is taken from


class RowRecords:
    """Part of a `Trainer` whose training rows have a `weight`; stands behind `WeightedRows`, before `Trainer`.

    Attributes:
        row_losses: the trainer's own: a model and a training batch -> (n,) losses of its target tokens, in nats, and
            (n,) which example each is of.
        pacing: self-paced weights, with `weighting="self_paced"`.
        history: the losses of every row in every epoch, with `learning_history`.
    """

    row_losses: Callable[[torch.nn.Module, dict], tuple[torch.Tensor, torch.Tensor]]
    pacing: Pacing | None = None
    history: LearningHistory | None = None

    def keep_records(self) -> None:
        """Number the rows and begin both records, where they are asked for: they follow training as callbacks.

        Raises:
            ValueError: the rows of the training set cannot be told apart, or a `target_loss` is no finite number of at
                least 0.
        """
        args, rows = self.args, self.train_dataset
        asked = [n for n, on in (("learning_history", args.learning_history), ("self_paced", self._is_paced())) if on]
        if not asked or rows is None:
            return
        if not isinstance(rows, Dataset):
            raise ValueError(
                f"`{asked[0]}` tells rows apart by their numbers, but `train_dataset` is a {type(rows).__name__}. "
                "Pass a datasets.Dataset, or leave it out."
            )
        if not self.weighted:
            logger.warning("with gamma=0 the loss is the parent's, which keeps no `%s`. Leave gamma out.", asked[0])
            return
        self.train_dataset = replace_columns(rows, {EXAMPLE: np.arange(len(rows))})
        if self._is_paced():
            names = [str(prompt) for prompt in rows["prompt"]] if "prompt" in rows.column_names else None
            how = args.pacing_temperature, args.pacing_annealing
            known = check_numbers(rows[TARGET_LOSS][:], TARGET_LOSS) if TARGET_LOSS in rows.column_names else None
            self.pacing = Pacing(len(rows), *how, self._row_losses if known is None else lambda: known, names)
            self.add_callback(self.pacing)
        if args.learning_history:
            self.history = LearningHistory(len(rows))
            self.add_callback(self.history)

    def _is_paced(self) -> bool:
        return self.args.weighting == "self_paced"

    @torch.no_grad()
    def _row_losses(self) -> np.ndarray:
        """(N,) mean losses of the target tokens of every training row: one pass, shared by the processes."""
        rows, (rank, processes) = self.train_dataset, world()
        rows = self._remove_unused_columns(rows) if self.args.remove_unused_columns else rows
        size, training, model = self.args.answer_batch_size, self.model.training, self.model.eval()
        losses, collate = np.zeros(len(rows)), self.training_collator()
        with adapters_off(self.unwrapped) if adds_nothing(self.unwrapped) else nullcontext():  # a third less to do
            for start in range(rank * size, len(rows), processes * size):
                numbers = range(start, min(start + size, len(rows)))
                inputs = self._prepare_inputs(collate([rows[i] for i in numbers]))
                inputs = {name: value for name, value in inputs.items() if name not in (WEIGHT, EXAMPLE)}
                losses[start : numbers.stop] = mean_losses(*self.row_losses(model, inputs), len(numbers))[0]
        model.train(training)
        return sum(gather([losses]))

    def observe(self, rows: torch.Tensor | None, nll: torch.Tensor, examples: torch.Tensor) -> None:
        """Keep what a micro-batch's rows lost."""
        for record in (self.pacing, self.history):
            if record is not None:
                record.observe(rows, nll, examples)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As the parent; beside a paced loss, which says little by itself, its weights and what it is without them."""
        super().log({**logs, **self.pacing.to_log()} if "loss" in logs and self.pacing else logs, start_time)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As the parent; a checkpoint also holds the losses that pacing and history go on with."""
        super().save_model(output_dir, _internal_call)
        for record in (self.pacing, self.history):
            if _internal_call and output_dir and record is not None:
                record.save(output_dir, self.args.should_save)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        for record in (self.pacing, self.history):
            if record is not None:
                record.load(resume_from_checkpoint, is_first())
