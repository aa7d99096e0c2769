"""What a fact is: its columns, its stable id, and what a dataset of facts must have."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from datasets import Dataset, DatasetDict, Features, List, Value

from .cutting import cut
from .messages import meant, show_rows, shown

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
ROWS_AT_A_TIME = 32_768


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


def as_list(value: object) -> object:
    """A numpy array, which pandas makes of a list in a Parquet cell, as a list; anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def as_texts(value: object) -> list[str]:
    """A cell as a list of texts: `None` -> [], `"a"` -> ["a"], a list or array as it is, blank entries left out.

    Raises:
        ValueError: it is neither, or the list holds something else than texts.
    """
    if value is None:
        return []
    values = [value] if isinstance(value, str) else as_list(value)
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, (str, type(None))) for v in values):
        raise ValueError(f"must be a text or a list of texts, but {shown(value)} was found")
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
    given = dataset
    dataset = dataset.remove_columns([name for name in columns if name in dataset.column_names])
    for name, values in columns.items():
        dataset = dataset.add_column(name, values)
    return formatted_as(given, dataset)


def formatted_as(given: Dataset, dataset: Dataset) -> Dataset:
    """A dataset in the format of the one that it was made from, with the columns that were added to it."""
    how = given.format
    columns, new = how["columns"], [name for name in dataset.column_names if name not in given.column_names]
    shown = None if len(columns) == len(given.column_names) else [*columns, *new]
    return dataset.with_format(how["type"], shown, how["output_all_columns"], **how["format_kwargs"])


def column_batches(dataset: Dataset, column: str, rows: int = ROWS_AT_A_TIME) -> Iterator[list]:
    """The cells of a column in lists of `rows`, so that a memory-mapped column never becomes Python objects at once.

    Example:
        >>> list(column_batches(Dataset.from_dict({"target": ["Rome", "Lyon", "Oslo"]}), "target", rows=2))
        [['Rome', 'Lyon'], ['Oslo']]
    """
    for batch in dataset.with_format(None).select_columns([column]).iter(rows):
        yield batch[column]


def require_strings(
    dataset: Dataset, columns: Iterable[str], argument: str = "facts", may_be_blank: bool = False
) -> None:
    """Raise a `ValueError` with row numbers where a column holds something other than a string that is not blank."""
    for column in columns:
        wrong, blank, first, start = [], [], None, 0
        for values in column_batches(dataset, column):
            for i, value in enumerate(values, start):
                if not isinstance(value, str):
                    first = value if not wrong else first
                    wrong.append(i)
                elif not (may_be_blank or cut(value)):
                    blank.append(i)
            start += len(values)
        if wrong:
            raise ValueError(
                f"`{argument}` column {column!r} must hold strings, but {show_rows(wrong)} hold(s) "
                f"{type(first).__name__}, first {shown(first)}. Convert it to text before loading."
            )
        if blank:
            raise ValueError(
                f"`{argument}` column {column!r} is empty in {show_rows(blank)}. Fill it in, or leave those rows out "
                '(load_facts(..., on_conflict="drop") does).'
            )
