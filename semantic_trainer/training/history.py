"""When each fact was learnt: what every epoch's own steps saw of each training row's loss."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..distribution import gather
from .pacing import mean_losses
from .row_state import read_rows, write_rows

STATE_FILE = "history_state.safetensors"
CERTAIN = math.log(2)  # nats: a token with less has a probability above one half, and so is the greedy one


class LearningHistory(TrainerCallback):
    """The loss of every training row in every epoch, as the epoch's own steps computed it, before they changed it.

    A row counts as learnt in an epoch where each of its target tokens had a probability above one half: then greedy
    decoding gives the target, whatever the other tokens' odds. This says nothing of rows that greedy decoding gets
    right with less, so it is late rather than early.

    Args:
        rows: N, of the training set.

    Attributes:
        losses, worst: (E, N) mean and largest loss of a row's target tokens, in nats; NaN where it was not seen.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._begin()

    def _begin(self) -> None:
        self.losses, self.worst = np.zeros((0, self.rows)), np.zeros((0, self.rows))
        self.epoch = np.full((2, self.rows), np.nan)  # of the one that is going on, the number of which is:
        self.number = 0

    def observe(self, rows: torch.Tensor, nll: torch.Tensor, examples: torch.Tensor) -> None:
        """Keep what a micro-batch's rows lost.

        Args:
            rows: (B,) row numbers.
            nll: (n,) losses of target tokens.
            examples: (n,) which of the B rows each belongs to.
        """
        means, seen = mean_losses(nll, examples, len(rows))
        worst = torch.zeros(len(rows), dtype=torch.float64)
        worst.scatter_reduce_(0, examples.cpu(), nll.detach().double().cpu(), "amax")
        numbers = rows.long().cpu().numpy()[seen]
        self.epoch[0, numbers], self.epoch[1, numbers] = means[seen], worst.numpy()[seen]

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if state.global_step == 0:  # not resumed; of a second training it keeps that one's epochs
            self._begin()

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        epoch = int((state.epoch or 0) + 1e-6)
        if epoch > self.number:
            self._end_epoch()
            self.number = epoch

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self._end_epoch()

    def _end_epoch(self) -> None:
        seen = self._gathered()
        self.losses, self.worst = np.vstack([self.losses, seen[:1]]), np.vstack([self.worst, seen[1:]])
        self.epoch = np.full_like(seen, np.nan)

    def _gathered(self) -> np.ndarray:
        """(2, N) of all processes; each row is seen by one of them in an epoch."""
        known = ~np.isnan(self.epoch)
        sums, counts = sum(gather([np.where(known, self.epoch, 0.0)])), sum(gather([known.astype(float)]))
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    def first_learnt(self) -> list[int | None]:
        """The first epoch, counted from 1, in which a row was learnt, or `None`: one a row."""
        return first_below(self.worst, CERTAIN)

    def save(self, folder: str | Path, write: bool) -> None:
        """Into a checkpoint; every process calls it, and one writes."""
        epoch = self._gathered()
        if write:
            arrays = {"losses": self.losses, "worst": self.worst, "epoch": epoch, "number": np.array([self.number])}
            write_rows(Path(folder) / STATE_FILE, arrays)

    def load(self, folder: str | Path, first: bool) -> None:
        """From a checkpoint; of several processes the first one takes what all had seen. One without is passed by."""
        path = Path(folder) / STATE_FILE
        if not path.exists():
            return
        found = read_rows(path, self.rows)
        self.losses, self.worst, self.number = found["losses"], found["worst"], int(found["number"][0])
        self.epoch = found["epoch"] if first else np.full_like(found["epoch"], np.nan)


def first_below(values: Sequence[Sequence[float]] | np.ndarray, limit: float) -> list[int | None]:
    """Of (E, N) values the first epoch, from 1, whose value is below a limit; `None` where none is.

    Example:
        >>> first_below([[0.9, 0.9], [0.2, 0.8]], 0.5)
        [2, None]
    """
    below = np.asarray(values, dtype=float) < limit
    if not len(below):
        return [None] * below.shape[-1]
    return [int(k) + 1 if hit else None for k, hit in zip(below.argmax(0), below.any(0), strict=True)]
