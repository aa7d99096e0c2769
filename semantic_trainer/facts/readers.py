"""Read facts from files: MEND zsRE, KnowEdit, and tables (JSON, JSONL, CSV, Parquet) with a column mapping.

A format is two pure functions: which keys of a row give it away, and how one row becomes one fact.
"""

import csv
import json
import logging
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from datasets import Dataset

from . import builtin
from .schema import (
    FACT_COLUMNS,
    FACT_FEATURES,
    FactCheck,
    as_texts,
    check_facts,
    fact_id,
    half,
    meant,
    show_rows,
    suggest,
)

logger = logging.getLogger(__name__)
Row = Mapping[str, object]
BUILTIN = "builtin:"
NQ_PREFIX = "nq question: "


def _first(value: object) -> str | None:
    """The first text of a cell that may hold one or a list of them."""
    texts = as_texts(value)
    return texts[0] if texts else None


def _hops(value: object) -> list[dict[str, str]]:
    """A cell of `{prompt, answer}` questions."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(
        isinstance(hop, dict) and {"prompt", "answer"} <= set(hop) for hop in value
    ):
        raise ValueError(f"must be a list of {{prompt, answer}}, but {value!r} was found")
    return [{"prompt": hop["prompt"], "answer": hop["answer"]} for hop in value]


def read_mend_zsre(row: Row) -> dict:
    """MEND's zsRE: the target is the counterfactual `alt`; `loc` is a Natural Questions prompt."""
    return {
        "prompt": row.get("src"),
        "target": row.get("alt"),
        "subject": row.get("subject"),
        "ground_truth": _first(row.get("answers")),
        "paraphrases": as_texts(row.get("rephrase")),
        "locality_prompts": [p.removeprefix(NQ_PREFIX) for p in as_texts(row.get("loc"))],
    }


def read_knowedit(row: Row) -> dict:
    """KnowEdit: locality and portability are groups of prompts; every group is taken."""
    hops = [
        (p["prompt"], _first(p["ground_truth"])) for group in (row.get("portability") or {}).values() for p in group
    ]
    return {
        "prompt": row.get("prompt"),
        "target": row.get("target_new"),
        "subject": row.get("subject"),
        "ground_truth": _first(row.get("ground_truth")),
        "paraphrases": as_texts(row.get("rephrase_prompt")),
        "locality_prompts": [p["prompt"] for group in (row.get("locality") or {}).values() for p in group],
        "portability": [{"prompt": prompt, "answer": answer} for prompt, answer in hops if answer],
    }


def read_facts(row: Row) -> dict:
    """Our own columns; a text where a list belongs counts as a list of one."""
    fact = {name: row.get(name) for name in FACT_COLUMNS if name != "fact_id"}
    for name in ("aliases", "paraphrases", "locality_prompts", "portability"):
        try:
            fact[name] = _hops(fact[name]) if name == "portability" else as_texts(fact[name])
        except ValueError as error:
            raise ValueError(f"column {name!r} {error}") from error
    return fact


FORMATS: dict[str, tuple[frozenset[str], Callable[[Row], dict]]] = {
    "mend_zsre": (frozenset({"src", "alt", "rephrase", "loc"}), read_mend_zsre),
    "knowedit": (frozenset({"prompt", "target_new", "locality", "portability"}), read_knowedit),
    "facts": (frozenset({"prompt", "target"}), read_facts),
}


def detect_format(keys: Iterable[str]) -> str:
    """Name of the first format whose tell-tale keys are all present.

    Raises:
        ValueError: no format fits; the message lists the columns found and what each format needs.
    """
    keys = list(keys)
    for name, (needed, _) in FORMATS.items():
        if needed <= set(keys):
            return name
    near = "".join(meant(name, keys) for name in ("prompt", "target") if name not in keys)
    needs = "; ".join(f"{name}: {', '.join(sorted(needed))}" for name, (needed, _) in FORMATS.items())
    raise ValueError(
        f"no known fact format has the columns {keys}.{near} Formats and the columns they need: {needs}. "
        "Map your own columns with columns={'prompt': 'your_column', 'target': 'your_other_column'}."
    )


def _read_csv(path: Path) -> list[dict]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        rows = list(reader)
    if reader.fieldnames is None:
        raise ValueError("it is empty; its first line must name the columns")
    ragged = [i for i, row in enumerate(rows) if None in row or None in row.values()]
    if ragged:
        raise ValueError(f"{show_rows(ragged)} do(es) not have as many cells as the first line has columns")
    return rows


def _read_lines(text: str) -> list[object]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            rows += [json.loads(line)] if line.strip() else []
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return rows


def read_rows(path: Path) -> list[dict]:
    """The rows of a JSON array, JSONL, CSV or Parquet file as dicts.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the ending is unknown or the content is not what the ending says.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        names = ", ".join(f"{BUILTIN}{name}" for name in builtin.NAMES)
        raise FileNotFoundError(f"`source` {str(path)!r} {what}. Give a file, or one of the built-in sets: {names}.")
    try:
        if path.suffix == ".json":
            rows = json.loads(path.read_text(encoding="utf-8-sig"))
        elif path.suffix == ".jsonl":
            rows = _read_lines(path.read_text(encoding="utf-8-sig"))
        elif path.suffix == ".csv":
            rows = _read_csv(path)
        elif path.suffix == ".parquet":
            import pyarrow.parquet

            rows = pyarrow.parquet.read_table(path).to_pylist()
        else:
            raise ValueError(f"the ending {path.suffix!r} is unknown; use .json, .jsonl, .csv or .parquet")
    except (ValueError, OSError, csv.Error) as error:
        raise ValueError(f"`source` {str(path)!r} could not be read: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"`source` {str(path)!r} must hold a list of records, one object a fact")
    if not rows:
        raise ValueError(f"`source` {str(path)!r} holds no rows")
    return rows


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


def _read_row(read: Callable[[Row], dict], row: Row, number: int) -> dict:
    try:
        return {**read(row), "row": number}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__} {error}" if isinstance(error, (AttributeError, KeyError, TypeError)) else error
        raise ValueError(f"row {number} (counted from 0) is not as its format says: {what}") from error


def _check_text(facts: list[dict]) -> None:
    """`prompt` and `target` are texts; a blank target is `check_facts`'s business, a blank prompt is ours."""
    for column in ("prompt", "target"):
        wrong = [i for i, fact in enumerate(facts) if not isinstance(fact[column], str)]
        if wrong:
            value = facts[wrong[0]][column]
            raise ValueError(
                f"column {column!r} must hold strings, but {show_rows(wrong)} hold(s) {type(value).__name__}, "
                f"first {value!r}. Convert it to text before loading."
            )
    for column in ("subject", "relation", "ground_truth"):
        wrong = [i for i, fact in enumerate(facts) if not isinstance(fact.get(column), (str, type(None)))]
        if wrong:
            value = facts[wrong[0]][column]
            raise ValueError(
                f"column {column!r} must hold strings or nothing, but {show_rows(wrong)} hold(s) "
                f"{type(value).__name__}, first {value!r}. Convert it to text before loading."
            )
    blank = [i for i, fact in enumerate(facts) if not fact["prompt"].strip()]
    if blank:
        raise ValueError(f"column 'prompt' is empty in {show_rows(blank)}. Fill it in or leave those rows out.")


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
        rows = list(source) if isinstance(source, list) else require_rows(source)
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
    facts = [_read_row(read, row, i) for i, row in enumerate(rows)]
    _check_text(facts)
    if split is not None:
        if split not in ("dev", "test"):
            raise ValueError(f"`split` must be None, 'dev' or 'test', but {split!r} was passed")
        facts = [fact for fact in facts if half(fact.get("subject") or fact["prompt"]) == split]
    return sample_facts(facts, sample, seed) if sample is not None else facts


def require_rows(source: object) -> list[dict]:
    """The rows of a `datasets.Dataset`, with a clear error for anything else."""
    from .schema import require_dataset

    return require_dataset(source, "source").to_list()


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
