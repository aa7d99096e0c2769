"""Rows that only fill a batch up, read at once, and the sampler's lengths."""

from datasets import Dataset

from semantic_trainer.training.data_collator import FILLER
from semantic_trainer.training.filling import FilledDataset

ROWS = [{"input_ids": [i], "weight": 1.0 + i} for i in range(4)]


def test_a_batch_read_at_once_is_its_rows_one_by_one() -> None:
    for rows in (Dataset.from_list(ROWS), ROWS):
        filled = FilledDataset(rows)
        for indices in ([2, 0, 4, 4], [4], [3]):
            assert filled.__getitems__(indices) == [filled[index] for index in indices]
    assert filled[4] == {"input_ids": [0], "weight": FILLER}
