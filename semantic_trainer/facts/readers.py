"""load_facts: from a file, a built-in set or the Hub to a checked dataset of facts."""

import logging
import random
from collections import Counter, defaultdict
from collections.abc import Mapping

import pyarrow as pa
from datasets import Dataset
from tqdm import tqdm

from .answered import answer_columns, reading_answers
from .checks import check_facts
from .collecting import FactRows, collect_facts, to_dataset
from .formats import FORMATS, detect_format
from .messages import shown, suggest
from .schema import half
from .sources import Source, map_columns, open_source
from .tables import Rows

logger = logging.getLogger(__name__)
PATIENCE = 2  # seconds of reading before a progress bar appears


def sample_facts(table: pa.Table, k: int, seed: int) -> pa.Table:
    """`k` rows drawn by `seed`, relation after relation in turn, so that every relation has its share."""
    if k > len(table):
        raise ValueError(f"a sample of {k} was asked for, but there are only {len(table)} facts")
    relations = table["relation"].to_pylist()
    groups: dict[str | None, list[int]] = defaultdict(list)
    for row in random.Random(seed).sample(range(len(table)), len(table)):
        groups[relations[row]].append(row)
    turns = [(turn, row) for group in groups.values() for turn, row in enumerate(group)]
    return table.take([row for _, row in sorted(turns, key=lambda pair: pair[0])[:k]])


def select_half(table: pa.Table, split: str) -> pa.Table:
    """The facts of one half, by subject, or by prompt where there is none."""
    subjects, prompts = table["subject"].to_pylist(), table["prompt"].to_pylist()
    keep = [half(subject or prompt) == split for subject, prompt in zip(subjects, prompts, strict=True)]
    return table.filter(pa.array(keep, pa.bool_()))


def _choose_format(format: str, rows: Rows, keys: list[str], mapped: bool) -> str:
    """The format that was named, checked against the columns, or the one that they give away."""
    if format == "auto":
        try:
            return detect_format(keys, mapped)
        except ValueError as error:
            raise ValueError(f"{rows.label}: {error}{_wrapped(rows)}") from error
    missing = sorted(FORMATS[format].needed - set(keys))
    if missing:
        raise ValueError(
            f"{rows.label}: format {format!r} needs the column(s) {missing}; found {shown(keys)}. Name "
            f'another of {", ".join(FORMATS)}, or take format="auto".'
        )
    return format


def _wrapped(rows: Rows) -> str:
    """What to do where one object holds the whole list, as in `{"data": [...]}`."""
    first, *others = [row for row, _ in zip(rows.read(), range(2), strict=False)]
    lists = [key for key, value in first.items() if isinstance(value, list)]
    if others or len(lists) != 1:
        return ""
    return f" A file must hold a list of records, but this is one object: write the list of its {lists[0]!r} alone."


def _check_options(format: str, split: str | None) -> None:
    if format != "auto" and format not in FORMATS:
        raise ValueError(f"`format` {format!r} is unknown.{suggest(format, FORMATS)} Use auto, {', '.join(FORMATS)}.")
    if split not in (None, "dev", "test"):
        raise ValueError(f"`split` must be None, 'dev' or 'test', but {split!r} was passed")


def read_source(
    source: Source,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    seed: int = 42,
) -> pa.Table:
    """Facts of one source in file order, nothing dropped yet; `row` is a row's number in the file.

    What was recognised is said in the log, in one line.
    """
    _check_options(format, split)
    rows, sample = open_source(source)
    rows = map_columns(rows, columns)
    keys = rows.keys()
    format = _choose_format(format, rows, keys, bool(columns))
    reading = tqdm(rows.read(), f"reading {rows.name}", unit=" rows", disable=None, delay=PATIENCE)
    answers = answer_columns(keys) if format == "facts" else ()
    table = collect_facts(reading, reading_answers(FORMATS[format].read, answers), rows.label, answers)
    theirs = {*(columns or {}).values(), *answers}
    seen = FORMATS[format].describe(key for key in keys if key not in theirs)
    logger.info("%s: %d rows read as %s %s", rows.name, len(table), format, seen)
    if split is not None:
        table = select_half(table, split)
    return sample_facts(table, sample, seed) if sample is not None else table


def load_facts(
    source: Source,
    format: str = "auto",
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    on_conflict: str = "error",
    seed: int = 42,
) -> Dataset:
    """Read a set of facts.

    Args:
        source: `"builtin:counterfactual"`, `"builtin:invented"`, the path of a .json, .jsonl, .csv (each also with
            .gz) or .parquet file, a dataset on the Hub as `"ORG/NAME"`, `"ORG/NAME:SPLIT"` or
            `"ORG/NAME/CONFIG:SPLIT"`, a `datasets.Dataset`, or a list of rows. `"NAME[k]"` draws `k` facts by `seed`,
            evenly over the relations.
        format: `auto` (what was recognised is said in the log), or one of `facts` (columns `prompt`, `target`, ...),
            `mend_zsre`, `rome_counterfact`, `easyedit_counterfact`, `knowedit`, `prompt_completion`, `messages`.
        split: `None` for all facts, or the `dev` or `test` half, decided by the parity of sha256(subject).
        columns: maps a fact column to your column, as in `{"prompt": "question", "target": "answer"}`.
        on_conflict: `error` refuses one prompt with two targets and empty or missing targets; `drop` leaves those rows
            out and says so. Repeated rows are always dropped, and so are locality prompts that are themselves taught.
        seed: seeds the draw of `"NAME[k]"`.

    Returns:
        Dataset with the columns `fact_id, prompt, target, aliases, subject, relation, ground_truth, paraphrases,
        locality_prompts, portability`. Facts that `push_facts` has published with old answers have these too:
        `old_answer, old_answer_truncated, answered_by, distance`; `add_old_answers` takes over those of its model.

    Raises:
        FileNotFoundError: the file does not exist.
        TypeError: `source` is a DatasetDict or no source at all.
        ValueError: unknown format, missing column, a file that cannot be read, a dataset that the Hub does not give,
            a prompt or target that is no text, conflicts, empty or missing targets.

    Example:
        >>> facts = load_facts("builtin:counterfactual")
        >>> rows = [{"q": "Who leads Orlent Optics?", "a": "Mira Vance"}]
        >>> facts = load_facts(rows, columns={"prompt": "q", "target": "a"})
        >>> facts[0]["target"]
        'Mira Vance'
    """
    if on_conflict not in ("error", "drop"):
        raise ValueError(f"`on_conflict` must be 'error' or 'drop', but {on_conflict!r} was passed")
    table = read_source(source, format, columns, split, seed)
    check = check_facts(FactRows(table))
    unusable = sorted({*check.conflicts, *check.empty_targets})
    if unusable and on_conflict == "error":
        raise ValueError(
            f"{len(unusable)} of {check.n} facts cannot be taught:\n  " + "\n  ".join(check.describe()) + "\n"
            'Correct them, or leave them out with on_conflict="drop".'
        )
    for line in check.describe():
        logger.warning("facts: %s", line)
    facts = to_dataset(table, check)
    if not len(facts):
        raise ValueError(f"no fact is left of {shown(source)}: {'; '.join(check.describe()) or 'there were no rows'}")
    return facts


def describe_relations(facts: Dataset) -> list[tuple[str, int]]:
    """`(relation, count)` pairs, the most frequent first; facts without a relation count under "-"."""
    return Counter(r or "-" for r in facts["relation"][:]).most_common()
