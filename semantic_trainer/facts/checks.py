"""The faults that a set of facts can have: conflicts, empty targets, repeats, and what is taught beside its test."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .cutting import cut
from .messages import show_rows


@dataclass(frozen=True)
class FactCheck:
    """The faults of a set of facts, by position counted from 0.

    Attributes:
        labels: how each row is named in messages: its number in its file, counted from 0.
        conflicts: all rows of every prompt that has more than one target.
        empty_targets: rows whose target is blank, or nothing after the cut (".").
        duplicates: rows that repeat an earlier row's prompt and target.
        no_ops: rows whose target is the ground truth already; they are kept and counted.
        multiline: rows whose target goes on behind its first line, which alone is compared; kept and counted.
        taught_locality: `(row, prompt)` of locality prompts that are taught in the same set; they are dropped.
    """

    labels: Sequence[object]
    conflicts: list[int] = field(default_factory=list)
    empty_targets: list[int] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    no_ops: list[int] = field(default_factory=list)
    multiline: list[int] = field(default_factory=list)
    taught_locality: list[tuple[int, str]] = field(default_factory=list)

    @property
    def n(self) -> int:
        """How many facts were checked."""
        return len(self.labels)

    @property
    def dropped(self) -> list[int]:
        """Rows that cannot be taught: conflicts, empty targets and repeats, in order."""
        return sorted({*self.conflicts, *self.empty_targets, *self.duplicates})

    def counts(self) -> dict[str, int]:
        """How many rows have each fault, for summaries."""
        faults = ("conflicts", "empty_targets", "duplicates", "no_ops", "multiline", "taught_locality")
        return {name: len(getattr(self, name)) for name in faults}

    def describe(self) -> list[str]:
        """One line for every kind of fault found, with its row numbers."""
        lines = {
            "one prompt, several targets": self.conflicts,
            "empty target": self.empty_targets,
            "repeats an earlier row": self.duplicates,
            "target is the ground truth already": self.no_ops,
            "only the target's first line is compared": self.multiline,
            "locality prompt is itself taught": [row for row, _ in self.taught_locality],
        }
        named = {what: [self.labels[row] for row in rows] for what, rows in lines.items() if rows}
        return [f"{what}: {len(rows)} ({show_rows(rows)})" for what, rows in named.items()]


def _conflicts(
    first: dict[str, tuple[int, str]], again: Mapping[str, list[tuple[int, str]]]
) -> tuple[list[int], list[int], list[str]]:
    """Rows in conflict, rows that repeat, and the prompts in conflict."""
    conflicts, duplicates, prompts = [], [], []
    for prompt, others in again.items():
        row, target = first[prompt]
        if any(other != target for _, other in others):
            conflicts += [row, *(i for i, _ in others)]
            prompts.append(prompt)
        else:
            duplicates += [i for i, _ in others]
    return sorted(conflicts), sorted(duplicates), prompts


def _taught(rows: Iterable[Mapping[str, object]], learnt: Mapping[str, object]) -> list[tuple[int, str]]:
    pairs = ((i, prompt) for i, row in enumerate(rows) for prompt in row.get("locality_prompts") or ())
    return [(i, prompt) for i, prompt in pairs if prompt.strip() in learnt]


def check_facts(rows: Iterable[Mapping[str, object]]) -> FactCheck:
    """Find conflicts, empty targets, duplicates, no-op facts and locality prompts that are taught.

    Args:
        rows: facts with at least `prompt` and `target`; `ground_truth`, `locality_prompts` and `row`, the row's number
            in its file, are looked at if present. They are gone through twice; of all of them only the prompts and
            the targets are held.
    """
    rows = list(rows) if isinstance(rows, Iterator) else rows
    first: dict[str, tuple[int, str]] = {}
    again: dict[str, list[tuple[int, str]]] = defaultdict(list)
    labels, empty, no_ops, multiline = [], [], [], []
    for i, row in enumerate(rows):
        labels.append(row.get("row", i))
        prompt, target, truth = row["prompt"].strip(), row["target"].strip(), row.get("ground_truth")
        if not cut(target):
            empty.append(i)
            continue
        if first.setdefault(prompt, (i, target))[0] != i:
            again[prompt].append((i, target))
        if "\n" in target:
            multiline.append(i)
        if truth is not None and truth.strip() == target:
            no_ops.append(i)
    conflicts, duplicates, refused = _conflicts(first, again)
    for prompt in refused:
        del first[prompt]
    return FactCheck(tuple(labels), conflicts, empty, duplicates, no_ops, multiline, _taught(rows, first))
