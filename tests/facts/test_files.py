"""Every kind of file, and every fault of one: correct facts, or one sentence that names `source`, fault and fix."""

import gzip
import json
import os
from pathlib import Path

import pandas
import pyarrow as pa
import pyarrow.parquet
import pytest

from semantic_trainer import load_facts

ROWS = [{"prompt": "Who wrote Émma?", "target": "Blake, W."}, {"prompt": 'Who "is"\nit?', "target": "x"}]
ARRAY = json.dumps(ROWS, ensure_ascii=False)
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CSV = 'prompt,target\nWho wrote Émma?,"Blake, W."\n"Who ""is""\nit?",x\n'
TEXTS = {".json": ARRAY, ".jsonl": LINES, ".csv": CSV}
DEEP = "[" * 100_000


def read_back(path: Path) -> list[tuple[str, str]]:
    facts = load_facts(path)
    return list(zip(facts["prompt"][:], facts["target"][:], strict=True))


EXPECTED = [(row["prompt"], row["target"]) for row in ROWS]


@pytest.mark.parametrize("ending", TEXTS)
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
@pytest.mark.parametrize("zipped", [False, True], ids=["text", "gz"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n"], ids=["no newline", "newline", "blank line"])
def test_text_files(tmp_path: Path, ending: str, bom: bytes, zipped: bool, last: str) -> None:
    content = bom + (TEXTS[ending].rstrip("\n") + last).encode()
    path = tmp_path / f"facts{ending}{'.gz' if zipped else ''}"
    path.write_bytes(gzip.compress(content) if zipped else content)
    assert read_back(path) == EXPECTED


@pytest.mark.parametrize("ending", TEXTS)
def test_lines_may_end_in_crlf(tmp_path: Path, ending: str) -> None:
    text = TEXTS[ending].replace(',"Blake, W."\n', ',"Blake, W."\r\n').replace("target\n", "target\r\n")
    path = tmp_path / f"facts{ending}"
    path.write_bytes((text if ending == ".csv" else json.dumps(ROWS, indent=1).replace("\n", "\r\n")).encode())
    if ending == ".jsonl":
        path.write_bytes(text.replace("\n", "\r\n").encode())
    assert read_back(path) == EXPECTED


@pytest.mark.parametrize(
    "text", [LINES, LINES.strip(), "\n\n".join(json.dumps(row, indent=2) for row in ROWS), LINES[:-1]]
)
def test_a_json_file_may_hold_objects_one_after_another(tmp_path: Path, text: str) -> None:
    (path := tmp_path / "facts.json").write_text(text, encoding="utf-8")
    assert read_back(path) == EXPECTED


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_one_object_is_one_fact(tmp_path: Path, ending: str) -> None:
    (path := tmp_path / f"facts{ending}").write_text(json.dumps(ROWS[0]))
    assert read_back(path) == EXPECTED[:1]


def test_endings_are_known_in_capitals_and_brackets_may_be_in_a_name(tmp_path: Path) -> None:
    for name in ("FACTS.JSON", "facts[1].json", "facts.json[2]"):
        (tmp_path / name).write_text(ARRAY, encoding="utf-8")
    assert read_back(tmp_path / "FACTS.JSON") == EXPECTED
    assert read_back(tmp_path / "facts[1].json") == EXPECTED
    assert len(load_facts(f"{tmp_path / 'FACTS.JSON'}[1]")) == 1
    with pytest.raises(ValueError, match=r"the ending '.json\[2\]' is unknown"):
        load_facts(str(tmp_path / "facts.json[2]"))


def test_a_huge_cell_is_read(tmp_path: Path) -> None:
    (path := tmp_path / "facts.csv").write_text(f"prompt,target\nA?,{'x' * 300_000}\n")
    assert len(load_facts(path)["target"][0]) == 300_000


def test_parquet_of_every_shape(tmp_path: Path) -> None:
    path = tmp_path / "facts.parquet"
    table = pa.table(
        {
            "prompt": pa.array(["A?", "B?"]).dictionary_encode(),
            "target": pa.array(["x", "y"], pa.large_string()),
            "paraphrases": pa.array([["A1?", None], None]),
            "portability": pa.array([[{"prompt": "P?", "answer": "z"}], []]),
            "score": pa.array([float("nan"), 1.0]),
            "deep": pa.array([[[{"a": [1]}]], None]),
            "attributes": pa.array([[(1, "one")], None], pa.map_(pa.int64(), pa.string())),
        }
    )
    pyarrow.parquet.write_table(table, path)
    facts = load_facts(path)
    assert (facts["prompt"][:], facts["target"][:]) == (["A?", "B?"], ["x", "y"])
    assert facts["paraphrases"][:] == [["A1?"], []]
    assert facts[0]["portability"] == [{"prompt": "P?", "answer": "z"}]
    pyarrow.parquet.write_table(pa.table([pa.array(["A?"])] * 2, names=["prompt", "prompt"]), path)
    with pytest.raises(ValueError, match=r"could not be read: it names a column twice: \['prompt', 'prompt'\]"):
        load_facts(path)
    pandas.DataFrame({0: ["A?"], 1: ["x"]}).to_parquet(path)
    assert load_facts(path, columns={"prompt": "0", "target": "1"})["target"][:] == ["x"]


FAULTS = {
    "facts.jsonl": [
        (b'{"prompt": "A?", "target": "x"}\n{"prompt": \n', r"line 2, column 12: Expecting value; correct that line"),
        (b'{"prompt": "A?", "prompt": "B?", "target": "x"}', r"line 1: the key 'prompt' stands twice in one object"),
        (b"\xff\xfe[\x00", r"it is not UTF-8 .* at byte 0\); save it as UTF-8"),
        (b'{"prompt": "A?", "target": "\xff"}', r"it is not UTF-8"),
        (DEEP.encode(), r"nested too deeply"),
        (b"[1]\n", r"must hold a list of records, one object a fact, but row 0 is \[1\]"),
        (b'{"prompt": "A?", "target": ' + b"9" * 5000 + b"}", r"line 1: .*(digit|4300)"),
        (b'{"prompt": "A?", "target": NaN}', r"'target' must hold strings, but row 0 hold\(s\) float, first nan"),
        (b'{"prompt": "A?", "target": "\\ud800"}', r"'target' holds half of a surrogate pair.*row 0.*Take it out"),
        (b'{"prompt": null, "target": "x"}', r"'prompt' must hold strings, but row 0 hold\(s\) NoneType"),
        (b'{"\\ud800": 1}', r"no known fact format has the columns \['\\ud800'\]"),
        (b"\n \n", r"holds no rows: write one object a fact"),
    ],
    "facts.json": [
        (b"[{", r"could not be read: Expecting property name"),
        (b'[{"prompt": "A?", "target": "x"}', r"Expecting ',' or '\]'"),
        (b'[{"prompt": "A?", "target": "x"},]', r"Expecting value"),
        (b'[{"prompt": "A?", "target": "x"}] 1', r"Extra data after the array"),
        (b'[{"prompt": "A?", "target": "x"}, 3]', r"must hold a list of records, .*row 1 is 3"),
        (b"null", r"must hold a list of records, .*row 0 is None"),
        (DEEP.encode(), r"nested too deeply"),
        (b'{"a":' * 50_000, r"nested too deeply"),
        (b"", "holds no rows"),
    ],
    "facts.csv": [
        (b"prompt,target\nA?,x,y\n", r"row 0 does not have as many cells as the first line has columns, 2"),
        (b"prompt,target\nA?\n", r"row 0 does not have as many cells"),
        (b"prompt,target,target\nA?,x,y\n", r"names a column twice"),
        (b'prompt,target\n"A?,x\n', r"could not be read: unexpected end of data"),
        (b"prompt,target\n\xff?,x\n", r"it is not UTF-8"),
        (b"", r"it is empty; its first line must name the columns"),
    ],
    "facts.jsonl.gz": [
        (gzip.compress(LINES.encode() * 500)[:-20], r"its gzip stream is torn or none at all.*compress it again"),
        (LINES.encode(), r"its gzip stream is torn or none at all"),
        (b"", r"holds no rows|torn"),
    ],
    "facts.parquet": [(b"PAR1", "could not be read"), (b"", "could not be read"), (b"x" * 100, "could not be read")],
    "facts.parquet.gz": [(b"", r"ending '.gz' is unknown; use .json, .jsonl, .csv or .parquet; .json.gz")],
}


@pytest.mark.parametrize(
    ("name", "content", "pattern"),
    [(name, *fault) for name, faults in FAULTS.items() for fault in faults],
    ids=[f"{name}-{i}" for name, faults in FAULTS.items() for i in range(len(faults))],
)
def test_a_fault_is_one_sentence(tmp_path: Path, name: str, content: bytes, pattern: str) -> None:
    (path := tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"(?s)`source` .*{name}.*({pattern})") as error:
        load_facts(path)
    assert type(error.value) is ValueError


def test_one_key_twice_among_many_is_found_at_once(tmp_path: Path) -> None:
    keys = ", ".join(f'"{i}": 1' for i in range(200_000))
    (path := tmp_path / "facts.jsonl").write_text(f'{{{keys}, "199999": 2}}')
    with pytest.raises(ValueError, match="the key '199999' stands twice"):
        load_facts(path)


def test_values_too_deep_or_too_large_to_show_are_named_by_type() -> None:
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    for value in (deep, 10**5000, {"a": deep}):
        with pytest.raises(ValueError, match=r"too large to show") as error:
            load_facts([{"prompt": "A?", "target": value}])
        assert type(error.value) is ValueError


@pytest.mark.parametrize(
    "source", ["", ".", "nothing.json", "~nobody/x.csv", "a\0b", "x" * 5000, "a/b/c/d", "./a/b", "[" * 9]
)
def test_what_is_no_file_is_said(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"`source` .*(does not exist|is a folder)\. Give a file.*ORG/NAME"):
        load_facts(source)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_no_regular_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "link.json").symlink_to("pipe.json")
    for source in (tmp_path / "pipe.json", tmp_path / "link.json", "/dev/null", "/dev/zero"):
        with pytest.raises(ValueError, match=r"`source` .* is no regular file but a pipe.*Write its facts to a file"):
            load_facts(source)
    (tmp_path / "loop.json").symlink_to("loop.json")
    with pytest.raises(ValueError, match=r"`source` .* is no regular file: its symbolic links lead in a circle"):
        load_facts(tmp_path / "loop.json")


@pytest.mark.parametrize("source", ["locked/facts.json", "locked/facts"])
def test_a_file_in_a_folder_that_may_not_be_entered(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`locked/facts` could be a dataset on the Hub too; it is not looked for there."""
    real = os.stat

    def refuse(path: object, *args: object, **options: object) -> os.stat_result:
        if path == source:
            raise PermissionError(13, "Permission denied", path)
        return real(path, *args, **options)

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(ValueError, match=r"`source` 'locked/facts.*' may not be read: a folder on its path"):
        load_facts(source)


@pytest.mark.skipif(os.name == "nt" or getattr(os, "geteuid", int)() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (path := tmp_path / "facts.json").write_text(ARRAY, encoding="utf-8")
    path.chmod(0)
    with pytest.raises(ValueError, match="could not be read: .*Permission denied"):
        load_facts(path)
