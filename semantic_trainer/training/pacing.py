"""Self-paced weights: each fact weighs by its own last seen loss, and all weigh alike in the end.

After Kumar, Packer, Koller, 2010, "Self-Paced Learning for Latent Variable Models", with soft weights.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..distribution import gather
from .row_state import read_rows, write_rows

logger = logging.getLogger(__name__)
STATE_FILE = "pacing_state.safetensors"


def self_paced_weights(losses: np.ndarray, temperature: float = 1.0, names: Sequence[str] | None = None) -> np.ndarray:
    """`w_i` proportional to `exp(-loss_i / temperature)`, of mean 1 over the data set.

    Args:
        losses: (N,) in nats per target token.
        temperature: in nats; the larger, the more alike are the weights.
        names: of the N rows, for errors.

    Returns:
        (N,) float64.

    Raises:
        ValueError: a loss that is not finite (the first such row is named), or a temperature that is not above 0.

    Example:
        >>> self_paced_weights(np.array([2.0, 2.0]))
        array([1., 1.])
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"`pacing_temperature` must be a finite number above 0, but {temperature!r} was passed")
    losses = np.asarray(losses, dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(losses)).tolist()
    if wrong:
        first = f"row {wrong[0]}" if names is None else f"row {wrong[0]} ({names[wrong[0]]!r})"
        raise ValueError(
            f"{len(wrong)} training row(s) have a loss that is not finite, first {first} with {losses[wrong[0]]}. "
            "Leave it out, or lower `learning_rate`."
        )
    weights = np.exp(-(losses - losses.min()) / temperature)
    return weights * (len(weights) / weights.sum())


def annealed(weights: np.ndarray, progress: float) -> np.ndarray:
    """Weights on their way to 1: `(1 - progress) w + progress`, of the same mean.

    Args:
        progress: from 0 (as they are) to 1 (all alike).
    """
    return (1 - progress) * weights + progress


class Pacing(TrainerCallback):
    """The last seen loss of every training row, and the weights that follow from them.

    The losses that an epoch's steps compute anyway are kept as they come; with the next epoch they take their places
    in the table, from which all weights are made at once. So these depend on neither the batch size nor accumulation
    nor the number of processes. A row that was not seen keeps its loss.

    Args:
        rows: N, of the training set.
        temperature: of `self_paced_weights`.
        annealing: `linear` from the first step to the last, which has equal weights; or `none`.
        score: gives the (N,) losses before step 1, by one pass without gradients.
        names: of the N rows, for errors; none by default.

    Attributes:
        losses: (N,) mean loss per target token, in nats.
        weights: (N,) of this epoch, before annealing.

    Raises:
        ValueError: a loss that is not finite.
    """

    def __init__(
        self,
        rows: int,
        temperature: float,
        annealing: str,
        score: Callable[[], np.ndarray],
        names: Sequence[str] | None = None,
    ) -> None:
        self.temperature, self.annealing, self.score, self.names = temperature, annealing, score, names
        self.losses = self.weights = None
        self.epoch, self.progress = 0, 0.0
        self.sums, self.seen = np.zeros(rows), np.zeros(rows)
        self.unlogged = np.zeros(2)  # sum and number of the losses seen since the last log

    def of(self, rows: torch.Tensor) -> torch.Tensor:
        """(B,) weights of B rows, on the way to 1 as far as training is."""
        weights = self._now()[rows.long().cpu().numpy()]
        return torch.as_tensor(weights, dtype=torch.float32, device=rows.device)

    def _now(self) -> np.ndarray:
        return annealed(self.weights, self.progress if self.annealing == "linear" else 0.0)

    def observe(self, rows: torch.Tensor, nll: torch.Tensor, examples: torch.Tensor) -> None:
        """Keep what a micro-batch's rows lost.

        Args:
            rows: (B,) row numbers.
            nll: (n,) losses of target tokens.
            examples: (n,) which of the B rows each belongs to.
        """
        means, counted = mean_losses(nll, examples, len(rows))
        numbers = rows.long().cpu().numpy()[counted]
        self.sums[numbers], self.seen[numbers] = means[counted], 1.0
        self.unlogged += means[counted].sum(), counted.sum()

    def to_log(self) -> dict[str, float]:
        """The weights' extremes, and the mean unweighted loss of the rows seen since the last log; every process calls
        it.
        """
        (total, n), self.unlogged = sum(gather([self.unlogged])), np.zeros(2)
        weights = self._now()
        out = {"weight/min": float(weights.min()), "weight/max": float(weights.max())}
        return out | ({"unweighted_loss": float(total / n)} if n else {})

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if state.global_step == 0:  # not resumed; nor does a second training go on from the first one's epochs
            self.epoch, self.sums, self.seen = 0, np.zeros_like(self.sums), np.zeros_like(self.seen)
            self._take(self.score())
        elif self.losses is None:
            raise ValueError(
                "self-paced weights cannot go on from this checkpoint: its losses were not read, since DeepSpeed "
                "resumes in a way of its own. Start anew, or without DeepSpeed."
            )

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        epoch = int((state.epoch or 0) + 1e-6)
        if epoch > self.epoch:
            sums, seen = self._gathered()
            self.epoch, self.sums, self.seen = epoch, np.zeros_like(self.sums), np.zeros_like(self.seen)
            self._take(np.where(seen > 0, sums / np.maximum(seen, 1), self.losses))

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        last = state.max_steps - 1
        self.progress = min(1.0, state.global_step / last) if last > 0 else 1.0

    def _take(self, losses: np.ndarray) -> None:
        self.losses, self.weights = losses, self_paced_weights(losses, self.temperature, self.names)

    def _gathered(self) -> tuple[np.ndarray, np.ndarray]:
        """What all processes have seen in this epoch."""
        return sum(gather([self.sums])), sum(gather([self.seen]))

    def save(self, folder: str | Path, write: bool) -> None:
        """Into a checkpoint; every process calls it, and one writes."""
        sums, seen = self._gathered()
        if write:
            arrays = {"losses": self.losses, "sums": sums, "seen": seen, "epoch": np.array([self.epoch])}
            write_rows(Path(folder) / STATE_FILE, arrays)

    def load(self, folder: str | Path, first: bool) -> None:
        """From a checkpoint; of several processes the first one takes what all had seen.

        Raises:
            ValueError: there is no such file, or it is of another number of rows.
        """
        path = Path(folder) / STATE_FILE
        if not path.exists():
            raise ValueError(
                f"the checkpoint {str(folder)!r} has no {STATE_FILE}: it was not trained with "
                'weighting="self_paced". Go on with the weighting it was trained with, or start anew.'
            )
        found = read_rows(path, len(self.sums))
        self.epoch = int(found["epoch"][0])
        self.sums, self.seen = (found[name] * first for name in ("sums", "seen"))
        self._take(found["losses"])


def mean_losses(nll: torch.Tensor, examples: torch.Tensor, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean loss of each of n examples, and which of them have any target token, from losses of tokens."""
    nll, examples = nll.detach().double().cpu(), examples.cpu()
    sums = torch.zeros(n, dtype=torch.float64).index_add_(0, examples, nll)
    counts = torch.bincount(examples, minlength=n)
    return (sums / counts.clamp(min=1)).numpy(), (counts > 0).numpy()
