"""Rows that do not divide over processes: filled with rows that count no token, instead of with repeated ones."""

import logging
from collections.abc import Iterator

from torch.utils.data import BatchSampler, Dataset, IterableDataset, Sampler
from transformers import TrainingArguments

from .data_collator import FILLER, WEIGHT

logger = logging.getLogger(__name__)


class FilledDataset(Dataset):
    """A dataset with one more row behind its last: the filler, its first row with the filler's weight.

    The filler is no row of its own: the length stays, and only a sampler that knows of it asks for it.

    Args:
        dataset: at least one row, dicts with a `weight`.

    Example:
        >>> rows = FilledDataset([{"input_ids": [5], "weight": 1.5}])
        >>> len(rows), rows[1]
        (1, {'input_ids': [5], 'weight': -1.0})
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[dict]:
        return (self.dataset[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> dict:
        return self.dataset[index] if index < len(self) else {**self.dataset[0], WEIGHT: FILLER}

    def __getitems__(self, indices: list[int]) -> list[dict]:
        """A batch's rows at once, as `datasets.Dataset` reads them."""
        real = [index for index in indices if index < len(self)]
        at_once = getattr(self.dataset, "__getitems__", None)
        rows = iter(at_once(real) if at_once and real else [self.dataset[index] for index in real])
        return [next(rows) if index < len(self) else self[index] for index in indices]


class FilledBatchSampler(BatchSampler):
    """Batches of one size, a multiple of the number of processes: what is missing at the end is the filler.

    Args:
        sampler: gives the row numbers, in the order of a single process.
        filler: row number of the filler.
        multiple: number of processes among which whole batches are dealt out.

    Example:
        >>> list(FilledBatchSampler(range(5), batch_size=2, filler=5, multiple=2))
        [[0, 1], [2, 3], [4, 5], [5, 5]]
    """

    def __init__(self, sampler: Sampler, batch_size: int, filler: int, multiple: int) -> None:
        super().__init__(sampler, batch_size, drop_last=False)
        self.filler, self.multiple = filler, multiple

    def __iter__(self) -> Iterator[list[int]]:
        number = 0
        for batch in super().__iter__():
            yield batch + [self.filler] * (self.batch_size - len(batch))
            number += 1
        for _ in range(-number % self.multiple):
            yield [self.filler] * self.batch_size

    def __len__(self) -> int:
        return -(-super().__len__() // self.multiple) * self.multiple


def can_be_filled(dataset: Dataset, args: TrainingArguments) -> bool:
    """Whether the rows of a weighted training are dealt out to several processes in a way that can be filled up."""
    if args.world_size == 1 or args.dataloader_drop_last:
        return False
    own_way = args.train_sampling_strategy == "batch_rebalance" or args.accelerator_config.dispatch_batches
    if own_way or isinstance(dataset, IterableDataset):
        logger.warning(
            "rows that do not divide over the processes may be taken twice: that is how an iterable dataset, "
            "`train_sampling_strategy='batch_rebalance'` and `dispatch_batches` deal them out."
        )
        return False
    return True


def fill_up(loader: object, rows: int) -> None:
    """Make a loader that accelerate has prepared for several processes fill up with row `rows`, in place."""
    shard = loader.batch_sampler
    batches, multiple = shard.batch_sampler, 1 if shard.split_batches else shard.num_processes
    shard.batch_sampler = FilledBatchSampler(batches.sampler, batches.batch_size, rows, multiple)
