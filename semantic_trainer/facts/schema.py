"""What a fact is: its columns, its stable id, and the faults that a set of facts can have."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from datasets import Dataset, DatasetDict, Features, List, Value

from .cutting import cut

STRING = Value("string")
FACT_FEATURES = Features(
    {
        "fact_id": STRING,
        "prompt": STRING,
        "target": STRING,
        "aliases": List(STRING),
        "subject": STRING,
        "relation": STRING,
        "ground_truth": STRING,
        "paraphrases": List(STRING),
        "locality_prompts": List(STRING),
        "portability": List({"prompt": STRING, "answer": STRING}),
    }
)
FACT_COLUMNS = tuple(FACT_FEATURES)
SHOWN_ROWS = 10


def fact_id(prompt: str, target: str) -> str:
    """Stable id of a fact: 16 hex digits of the sha256 of its stripped prompt and target.

    Example:
        >>> fact_id("What is the capital of France?", "Rome")
        '2c843619fd65523a'
    """
    return hashlib.sha256(f"{prompt.strip()}\x1f{target.strip()}".encode()).hexdigest()[:16]


def half(subject: str) -> str:
    """`"dev"` or `"test"`: the parity of sha256(subject), so a subject never sits in both halves."""
    return "test" if hashlib.sha256(subject.encode()).digest()[-1] % 2 else "dev"


def show_rows(rows: Sequence[object]) -> str:
    """Row numbers (counted from 0) for a message, the first ten of them."""
    more = f" and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else ""
    return ("rows " if len(rows) > 1 else "row ") + ", ".join(map(str, rows[:SHOWN_ROWS])) + more


def suggest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'target'?`, or an empty string where nothing known is near."""
    near = get_close_matches(name, [str(k) for k in known], n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def meant(name: str, found: Iterable[str]) -> str:
    """` Is 'tagret' meant as 'target'?` for a column that is missing, or an empty string."""
    near = get_close_matches(name, [str(f) for f in found], n=1, cutoff=0.6)
    return f" Is {near[0]!r} meant as {name!r}?" if near else ""


def as_texts(value: object) -> list[str]:
    """A cell as a list of texts: `None` -> [], `"a"` -> ["a"], a list as it is, blank entries left out.

    Raises:
        ValueError: it is neither, or the list holds something else than texts.
    """
    if value is None:
        return []
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, (str, type(None))) for v in values):
        raise ValueError(f"must be a text or a list of texts, but {value!r} was found")
    return [v for v in values if v and v.strip()]


def require_dataset(dataset: object, argument: str = "facts") -> Dataset:
    """`dataset` itself, or a `TypeError` that says how to get a `datasets.Dataset` from what was passed."""
    if isinstance(dataset, Dataset):
        return dataset
    if isinstance(dataset, DatasetDict):
        splits = sorted(dataset)
        raise TypeError(
            f"`{argument}` must be one datasets.Dataset, but a DatasetDict with the splits {splits} was passed. "
            f"Pass one of them, for example {argument}[{splits[0]!r}]."
            if splits
            else f"`{argument}` must be one datasets.Dataset, but an empty DatasetDict was passed."
        )
    raise TypeError(
        f"`{argument}` must be a datasets.Dataset, but {type(dataset).__name__} was passed. "
        "Build one with load_facts(...) or datasets.Dataset.from_list(rows)."
    )


def require_columns(dataset: Dataset, columns: Iterable[str], argument: str = "facts", hint: str = "") -> None:
    """Raise a `ValueError` that names each missing column, the columns found and the nearest match."""
    found = dataset.column_names
    missing = [c for c in columns if c not in found]
    if missing:
        near = "".join(meant(c, [f for f in found if f not in FACT_COLUMNS]) for c in missing)
        fix = hint or "Rename it, or read the file with load_facts(..., columns={'prompt': 'your_column'})."
        raise ValueError(f"`{argument}` has no column {', '.join(map(repr, missing))}; found {found}.{near} {fix}")


def replace_columns(dataset: Dataset, columns: Mapping[str, object]) -> Dataset:
    """The dataset with columns added, or replaced where they are there already."""
    dataset = dataset.remove_columns([name for name in columns if name in dataset.column_names])
    for name, values in columns.items():
        dataset = dataset.add_column(name, values)
    return dataset


def require_strings(dataset: Dataset, columns: Iterable[str], argument: str = "facts") -> None:
    """Raise a `ValueError` with row numbers where a column holds something other than a non-blank string."""
    for column in columns:
        values = dataset[column]
        wrong = [i for i, v in enumerate(values) if not isinstance(v, str)]
        if wrong:
            raise ValueError(
                f"`{argument}` column {column!r} must hold strings, but {show_rows(wrong)} hold(s) "
                f"{type(values[wrong[0]]).__name__}, first {values[wrong[0]]!r}. Convert it to text before loading."
            )
        blank = [i for i, v in enumerate(values) if not cut(v)]
        if blank:
            raise ValueError(
                f"`{argument}` column {column!r} is empty in {show_rows(blank)}. Fill it in, or leave those rows out "
                '(load_facts(..., on_conflict="drop") does).'
            )


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

    labels: tuple[object, ...]
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


def check_facts(rows: Iterable[Mapping[str, object]]) -> FactCheck:
    """Find conflicts, empty targets, duplicates, no-op facts and locality prompts that are taught.

    Args:
        rows: facts with at least `prompt` and `target`; `ground_truth`, `locality_prompts` and `row`, the row's number
            in its file, are looked at if present.
    """
    rows = list(rows)
    by_prompt: dict[str, list[int]] = defaultdict(list)
    empty, no_ops, multiline = [], [], []
    for i, row in enumerate(rows):
        if not cut(row["target"]):
            empty.append(i)
            continue
        by_prompt[row["prompt"].strip()].append(i)
        if "\n" in row["target"].strip():
            multiline.append(i)
        truth = row.get("ground_truth")
        if truth is not None and truth.strip() == row["target"].strip():
            no_ops.append(i)
    conflicts, duplicates = [], []
    for same in by_prompt.values():
        if len({rows[i]["target"].strip() for i in same}) > 1:
            conflicts += same
        else:
            duplicates += same[1:]
    learnt = by_prompt.keys() - {rows[i]["prompt"].strip() for i in conflicts}
    taught = [(i, p) for i, row in enumerate(rows) for p in row.get("locality_prompts") or () if p.strip() in learnt]
    labels = tuple(row.get("row", i) for i, row in enumerate(rows))
    return FactCheck(labels, sorted(conflicts), empty, sorted(duplicates), no_ops, multiline, taught)
