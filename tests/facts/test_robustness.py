"""Anything at all as a source: correct facts, or one clear error of a known type; never a library's own."""

import csv
import gzip
import io
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semantic_trainer import load_facts
from semantic_trainer.facts.cutting import cut
from semantic_trainer.facts.formats import FORMATS
from semantic_trainer.facts.schema import fact_id

from .test_formats import ROWS

FIXED = settings(
    derandomize=True, deadline=None, max_examples=25, database=None, suppress_health_check=list(HealthCheck)
)
ENDINGS = (".json", ".ndjson.json", ".jsonl", ".csv", ".json.gz", ".jsonl.gz", ".csv.gz", ".parquet")
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=5)
KEYS = st.sampled_from(sorted({key for row in ROWS.values() for key in row})) | ANY_TEXT
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.just("x" * 300_000)


def nested(scalars: st.SearchStrategy) -> st.SearchStrategy:
    """The scalars, and lists and objects of them."""
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
    )


JSON = nested(PLAIN)
CELLS = nested(PLAIN | st.binary(max_size=3))
FACTS = st.lists(
    st.fixed_dictionaries({"prompt": TEXT.filter(str.strip), "target": TEXT.filter(cut)}),
    min_size=1,
    max_size=5,
    unique_by=lambda row: row["prompt"].strip(),
)


def facts_or_fault(source: object, **options: object) -> Dataset | None:
    """The facts, or `None` after an error that a user can act on."""
    try:
        facts = load_facts(source, **options)
    except Exception as error:
        fault = error
    else:
        fault = None
    if fault is not None:
        assert type(fault) in (ValueError, TypeError, FileNotFoundError), repr(fault)
        assert re.search(r"`\w+`|facts cannot be taught|no fact is left", str(fault)), str(fault)
        assert len(str(fault)) < 3000
        return None
    assert facts["fact_id"][:] == [fact_id(fact["prompt"], fact["target"]) for fact in facts]
    return facts


def write(path: Path, rows: list[dict]) -> None:
    """The rows as this ending wants them."""
    if path.name.endswith(".parquet"):
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
        return
    if ".csv" in path.name:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(rows[0]), quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
        text = buffer.getvalue()
    elif path.name.endswith((".ndjson.json", ".jsonl", ".jsonl.gz")):
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        text = json.dumps(rows)
    path.write_bytes(gzip.compress(text.encode()) if path.name.endswith(".gz") else text.encode())


def in_a_file(name: str, fill: Callable[[Path], object]) -> Dataset | None:
    with tempfile.TemporaryDirectory() as folder:
        fill(path := Path(folder) / name)
        return facts_or_fault(path)


@pytest.mark.parametrize("ending", ENDINGS)
@FIXED
@given(rows=FACTS)
def test_facts_come_back_as_they_were_written(ending: str, rows: list[dict]) -> None:
    facts = in_a_file(f"facts{ending}", lambda path: write(path, rows))
    assert facts is not None
    assert list(zip(facts["prompt"][:], facts["target"][:], strict=True)) == [(r["prompt"], r["target"]) for r in rows]


@pytest.mark.parametrize("name", FORMATS)
@FIXED
@given(data=st.data())
def test_any_cell_in_any_format(name: str, data: st.DataObject) -> None:
    broken = dict(ROWS[name])
    for column in data.draw(st.lists(st.sampled_from(list(broken)), min_size=1, max_size=2)):
        broken[column] = data.draw(CELLS)
    wanted = facts_or_fault([ROWS[name]])
    facts = facts_or_fault([ROWS[name], broken], format=name, on_conflict="drop")
    if facts is not None and wanted is not None:
        assert set(facts["fact_id"]) >= set(wanted["fact_id"]) or len(facts) == 1  # a conflict drops both
    facts_or_fault([{**broken, "aliases": data.draw(CELLS), "portability": data.draw(CELLS)}])


@pytest.mark.parametrize(
    "name", [name for name, row in ROWS.items() if any(isinstance(v, (dict, list)) for v in row.values())]
)
@FIXED
@given(data=st.data())
def test_any_cell_inside_a_nested_one(name: str, data: st.DataObject) -> None:
    row = json.loads(json.dumps(ROWS[name]))
    place = row
    while isinstance(place, (dict, list)) and place:
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
        inner = place[key]
        if not isinstance(inner, (dict, list)) or data.draw(st.booleans()):
            place[key] = data.draw(CELLS)
            break
        place = inner
    facts_or_fault([row], format=name)


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".json.gz"])
@FIXED
@given(rows=st.lists(JSON | st.dictionaries(KEYS, JSON, max_size=4), max_size=4))
def test_any_json(ending: str, rows: list[object]) -> None:
    def fill(path: Path) -> None:
        text = "\n".join(map(json.dumps, rows)) if "jsonl" in ending else json.dumps(rows)
        path.write_bytes(gzip.compress(text.encode()) if ending.endswith(".gz") else text.encode())

    in_a_file(f"facts{ending}", fill)


@pytest.mark.parametrize("ending", ENDINGS)
@FIXED
@given(rows=FACTS, data=st.data())
def test_a_file_torn_or_with_a_byte_changed(ending: str, rows: list[dict], data: st.DataObject) -> None:
    def fill(path: Path) -> None:
        write(path, rows)
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            del content[at:]
        else:
            content[at] = data.draw(st.integers(0, 255))
        path.write_bytes(content)

    in_a_file(f"facts{ending}", fill)


@pytest.mark.parametrize("ending", ENDINGS)
@FIXED
@given(
    content=st.binary(max_size=60),
    start=st.sampled_from([b"", b"\xef\xbb\xbf", b"prompt,target\n", b'{"prompt": "A?"', b"\0"]),
)
def test_any_bytes(ending: str, content: bytes, start: bytes) -> None:
    zipped = ending.endswith(".gz") and len(content) % 2
    in_a_file(
        f"facts{ending}", lambda path: path.write_bytes(gzip.compress(start + content) if zipped else start + content)
    )


@pytest.mark.parametrize("depth", [100, 900, 3000, 100_000])
@pytest.mark.parametrize("ending", [".json", ".jsonl", ".csv"])
def test_any_depth(ending: str, depth: int) -> None:
    for opening, closing in (("[", "]"), ('{"prompt":', "}"), ('[{"locality":', "}]")):
        for text in (opening * depth + "1" + closing * depth, opening * depth):
            for row in (
                text,
                f'{{"prompt": "A?", "target": {text}}}',
                f'{{"prompt": "A?", "target": "x", "note": {text}}}',
            ):
                in_a_file(f"facts{ending}", lambda path, row=row: path.write_text(row))


TYPES = st.sampled_from(
    [
        pa.array([1, None]),
        pa.array([b"\xff", b"a"]),
        pa.array(["A?", None]),
        pa.array(["A?", "B?"]),
        pa.array([["A?"], None]),
        pa.array([[["A?"]], [[None]]]),
        pa.array([{"prompt": "A?", "str": "x"}, None]),
        pa.array([[{"role": "user", "content": "A?"}, {"role": "assistant", "content": "x"}], []]),
        pa.array([[(1, "x")], None], pa.map_(pa.int64(), pa.string())),
        pa.array([2**50, 0], pa.timestamp("s")),
        pa.array([2**62, 0], pa.duration("s")),
        pa.array([np.nan, np.inf]),
        pa.nulls(2),
    ]
)


@FIXED
@given(table=st.dictionaries(KEYS.filter(str.isprintable), TYPES, min_size=1, max_size=5))
def test_any_parquet_and_any_dataset(table: dict[str, pa.Array]) -> None:
    made = pa.table(table)
    in_a_file("facts.parquet", lambda path: pyarrow.parquet.write_table(made, path))
    known = [name for name in made.column_names if not pa.types.is_map(made.schema.field(name).type)]  # to `datasets`
    facts_or_fault(Dataset(made.select(known)))


@pytest.mark.parametrize("source", [None, 3, b"facts.json", (), {}, set(), [1], [[]], [None], object(), iter([])])
def test_what_is_no_source(source: object) -> None:
    with pytest.raises(TypeError, match="`source`"):
        load_facts(source)


@FIXED
@given(source=ANY_TEXT | TEXT.map(lambda text: f"builtin:{text}") | TEXT.map(lambda text: f"{text}[{len(text)}]"))
def test_any_text_as_a_source(source: str) -> None:
    assert facts_or_fault(source) is None


@FIXED
@given(
    rows=st.lists(st.dictionaries(KEYS | st.integers() | st.none(), CELLS, max_size=3), max_size=3),
    columns=st.dictionaries(KEYS, KEYS, max_size=2),
)
def test_any_rows_and_any_mapping(rows: list[dict], columns: dict[str, str]) -> None:
    facts_or_fault(rows, columns=columns)
