"""load_facts: from a file or a built-in set to a checked dataset of facts."""

import logging
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from datasets import Dataset

from . import builtin
from .builtin import BUILTIN
from .formats import FORMATS, check_text, detect_format, read_row
from .schema import FACT_COLUMNS, FACT_FEATURES, FactCheck, check_facts, fact_id, half, require_dataset, suggest
from .tables import read_rows

logger = logging.getLogger(__name__)


def _map_columns(rows: list[dict], columns: Mapping[str, str] | None) -> list[dict]:
    if not columns:
        return rows
    unknown = [ours for ours in columns if ours not in FACT_COLUMNS]
    if unknown:
        raise ValueError(
            f"`columns` maps a fact column to your column, but {unknown[0]!r} is no fact column."
            f"{suggest(unknown[0], FACT_COLUMNS)} Fact columns: {', '.join(FACT_COLUMNS[1:])}."
        )
    for theirs in columns.values():
        if not any(theirs in row for row in rows):
            raise ValueError(f"`columns` names {theirs!r}; found {list(rows[0])}.{suggest(theirs, rows[0])}")
    return [{**row, **{ours: row.get(theirs) for ours, theirs in columns.items()}} for row in rows]


def sample_facts(rows: list[dict], k: int, seed: int) -> list[dict]:
    """`k` rows drawn by `seed`, relation after relation in turn, so that every relation has its share."""
    if k > len(rows):
        raise ValueError(f"a sample of {k} was asked for, but there are only {len(rows)} facts")
    groups: dict[str, list[dict]] = defaultdict(list)
    rng = random.Random(seed)
    for row in rng.sample(rows, len(rows)):
        groups[str(row.get("relation"))].append(row)
    turns = [(turn, name) for name, group in groups.items() for turn in range(len(group))]
    return [groups[name][turn] for turn, name in sorted(turns, key=lambda pair: pair[0])[:k]]


def parse_source(source: str) -> tuple[str, int | None]:
    """`"builtin:invented[32]"` -> `("builtin:invented", 32)`: a number in brackets is a sample size."""
    match = re.fullmatch(r"(.+)\[(\d+)\]", source)
    return (match[1], int(match[2])) if match else (source, None)


def read_source(
    source: str | Path | Dataset | list[dict],
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    seed: int = 42,
) -> list[dict]:
    """Facts of one source as plain rows in file order, nothing dropped yet; `row` is a row's number in the file."""
    sample = None
    if isinstance(source, (str, Path)):
        name, sample = parse_source(str(source))
        builtin_set = name.startswith(BUILTIN)
        rows = read_rows(builtin.path(name.removeprefix(BUILTIN)) if builtin_set else Path(name).expanduser())
    else:
        rows = list(source) if isinstance(source, list) else require_dataset(source, "source").to_list()
        if not all(isinstance(row, Mapping) for row in rows):
            raise TypeError(
                "`source` as a list must hold one dict a fact. To read files, call load_facts once for each."
            )
    rows = _map_columns(rows, columns)
    if format == "auto":
        format = detect_format(dict.fromkeys(key for row in rows for key in row))
        logger.info("%s: read as %s", source if isinstance(source, (str, Path)) else "facts", format)
    elif format not in FORMATS:
        raise ValueError(f"`format` {format!r} is unknown.{suggest(format, FORMATS)} Use auto, {', '.join(FORMATS)}.")
    needed, read = FORMATS[format]
    missing = sorted(needed - set().union(*rows))
    if missing:
        raise ValueError(f"format {format!r} needs the column(s) {missing}; found {list(rows[0])}.")
    facts = [read_row(read, row, i) for i, row in enumerate(rows)]
    check_text(facts)
    if split is not None:
        if split not in ("dev", "test"):
            raise ValueError(f"`split` must be None, 'dev' or 'test', but {split!r} was passed")
        facts = [fact for fact in facts if half(fact.get("subject") or fact["prompt"]) == split]
    return sample_facts(facts, sample, seed) if sample is not None else facts


def to_dataset(rows: list[dict], drop: Iterable[int] = (), check: FactCheck | None = None) -> Dataset:
    """Rows -> Dataset with every fact column and a `fact_id`, without the rows and locality prompts to drop."""
    gone = set(drop)
    taught: dict[int, set[str]] = defaultdict(set)
    for i, prompt in check.taught_locality if check else ():
        taught[i].add(prompt)
    kept = []
    for i, row in enumerate(rows):
        if i in gone:
            continue
        fact = {name: row.get(name) for name in FACT_COLUMNS}
        fact["fact_id"] = fact_id(row["prompt"], row["target"])
        for name in ("aliases", "paraphrases", "locality_prompts", "portability"):
            fact[name] = fact[name] or []
        fact["locality_prompts"] = [p for p in fact["locality_prompts"] if p not in taught[i]]
        kept.append(fact)
    return Dataset.from_dict({name: [fact[name] for fact in kept] for name in FACT_COLUMNS}, features=FACT_FEATURES)


def load_facts(
    source: str | Path | Dataset | list[dict],
    format: str = "auto",
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    on_conflict: str = "error",
    seed: int = 42,
) -> Dataset:
    """Read a set of facts.

    Args:
        source: `"builtin:counterfactual"`, `"builtin:invented"`, the path of a .json, .jsonl, .csv or .parquet file,
            a `datasets.Dataset`, or a list of rows. `"NAME[k]"` draws `k` facts by `seed`, evenly over the relations.
        format: `auto` (said in the log), `mend_zsre`, `knowedit` or `facts` (columns `prompt`, `target`, ...).
        split: `None` for all facts, or the `dev` or `test` half, decided by the parity of sha256(subject).
        columns: maps a fact column to your column, as in `{"prompt": "question", "target": "answer"}`.
        on_conflict: `error` refuses one prompt with two targets and empty targets; `drop` leaves those rows out and
            says so. Repeated rows are always dropped, and so are locality prompts that are themselves taught.
        seed: seeds the draw of `"NAME[k]"`.

    Returns:
        Dataset with the columns `fact_id, prompt, target, aliases, subject, relation, ground_truth, paraphrases,
        locality_prompts, portability`.

    Raises:
        FileNotFoundError: the file does not exist.
        TypeError: `source` is a DatasetDict or no source at all.
        ValueError: unknown format, missing column, a prompt or target that is no text, conflicts or empty targets.

    Example:
        >>> facts = load_facts("builtin:counterfactual")
        >>> rows = [{"q": "Who leads Orlent Optics?", "a": "Mira Vance"}]
        >>> facts = load_facts(rows, columns={"prompt": "q", "target": "a"})
        >>> facts[0]["target"]
        'Mira Vance'
    """
    if on_conflict not in ("error", "drop"):
        raise ValueError(f"`on_conflict` must be 'error' or 'drop', but {on_conflict!r} was passed")
    rows = read_source(source, format, columns, split, seed)
    check = check_facts(rows)
    unusable = sorted({*check.conflicts, *check.empty_targets})
    if unusable and on_conflict == "error":
        raise ValueError(
            f"{len(unusable)} of {check.n} facts cannot be taught:\n  " + "\n  ".join(check.describe()) + "\n"
            'Correct them, or leave them out with on_conflict="drop".'
        )
    for line in check.describe():
        logger.warning("facts: %s", line)
    facts = to_dataset(rows, check.dropped, check)
    if not len(facts):
        raise ValueError(f"no fact is left of {source!r}: {'; '.join(check.describe()) or 'there were no rows'}")
    return facts


def describe_relations(facts: Dataset) -> list[tuple[str, int]]:
    """`(relation, count)` pairs, the most frequent first; facts without a relation count under "-"."""
    return Counter(r or "-" for r in facts["relation"]).most_common()
