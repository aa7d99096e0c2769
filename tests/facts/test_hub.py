"""Datasets on the Hub as sources, loaded from a Hub on loopback by a process of its own."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from semantic_trainer import load_facts
from semantic_trainer.facts.hub import parse_hub_source

from ..hub.server import environment, serve


def lines(name: str) -> bytes:
    rows = ({"prompt": f"{name}{i}?", "target": str(i), "subject": name} for i in range(3))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


CARD = b"---\nconfigs:\n- config_name: one\n  data_files: a.jsonl\n- config_name: two\n  data_files: b.jsonl\n---\n"
DATASETS = {
    "org/single": {"test.jsonl": lines("single")},
    "org/several": {"train.jsonl": lines("train"), "test.jsonl": lines("test")},
    "org/no-train": {"validation.jsonl": lines("v"), "test.jsonl": lines("t")},
    "org/configs": {"README.md": CARD, "a.jsonl": lines("a"), "b.jsonl": lines("b")},
    "org/scripted": {"scripted.py": b"raise SystemExit(9)"},
    "org/torn": {"train.json": b"[{"},
    "org/empty": {"README.md": b"# Nothing yet"},
    "org/gated.v2": {"train.jsonl": lines("open")},
}
CASES = {
    "org/single": ["single0?", "single1?", "single2?"],
    "org/several": ["train0?", "train1?", "train2?"],
    "org/several:test": ["test0?", "test1?", "test2?"],
    "org/configs/two": ["b0?", "b1?", "b2?"],
    "org/configs/one:train": ["a0?", "a1?", "a2?"],
    "org/gated.v2": ["open0?", "open1?", "open2?"],
    "org/several:tset": r"has no split 'tset'; found test, train|train, test\. Did you mean 'test'\?.*org/several:t",
    "org/no-train": r"has the splits .*none called train\. Name one of them: org/no-train:(test|validation)",
    "org/configs": r"available configs: \['one', 'two'\]; name a config as org/configs/CONFIG",
    "org/configs/three": r"'three' not found\. Available: \['one', 'two'\]; name a config as org/configs/CONFIG",
    "org/scripted": r"it needs a loading script, which is not run: use a copy of it in Parquet",
    "org/gated": r"it is gated: ask for access",
    "org/none": r"no such file here and no such dataset on the Hub.*check the name, or log in",
    "org/torn": r"could not be loaded: .*download and convert",
    "org/empty": r"doesn't contain any data files: .*download and convert",
}
LOAD = """
import json, logging, sys
logging.basicConfig(level=logging.INFO)
from semantic_trainer import load_facts
found = {}
for source in [*json.loads(sys.argv[1]), "org/several[2]"]:
    try:
        found[source] = load_facts(source)["prompt"][:]
    except Exception as error:
        found[source] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str, list[str]]:
    """What each case gave, the log, and the paths that the Hub was asked for."""
    home = tmp_path_factory.mktemp("home")
    with serve({f"datasets/{name}": files for name, files in DATASETS.items()}) as server:
        server.gated = {"datasets/org/gated"}
        argv = [sys.executable, "-c", LOAD, json.dumps(list(CASES))]
        done = subprocess.run(
            argv, env=environment(server, home), cwd=home, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr, server.asked


@pytest.mark.parametrize("source", CASES)
def test_a_dataset_is_loaded_or_its_fault_is_said(source: str, loaded: tuple[dict, str, list[str]]) -> None:
    expected, found = CASES[source], loaded[0][source]
    if isinstance(expected, list):
        assert found == expected
    else:
        assert found.startswith(f"ValueError: `source` {source!r}")
        assert re.search(expected, found), found


def test_a_sample_and_the_log(loaded: tuple[dict, str, list[str]]) -> None:
    found, log, asked = loaded
    assert len(found["org/several[2]"]) == 2
    assert re.search(r"org/several: the split train of (test, train|train, test) is read; org/several:SPLIT", log)
    assert "org/single: 3 rows read as facts (by prompt, target)" in log
    assert any("org/single" in path for path in asked)


@pytest.mark.parametrize(
    ("source", "parsed"),
    [
        ("org/name", ("org/name", None, None)),
        ("org/name.v2:train", ("org/name.v2", None, "train")),
        ("org/name/config", ("org/name", "config", None)),
        ("org/name/config-1:test.v1", ("org/name", "config-1", "test.v1")),
        *(
            (source, None)
            for source in (
                "name",
                "facts.json",
                "data/facts.jsonl",
                "a/b.csv.gz",
                "./a/b",
                "../a",
                "/a/b",
                "~/a",
                "a/b/c/d",
            )
        ),
        *((source, None) for source in ("a\\b", "C:/a/b", "org/name:", "org/", "org/na me", "https://x/y")),
    ],
)
def test_what_looks_like_a_file_is_no_dataset(source: str, parsed: object) -> None:
    assert parse_hub_source(source) == parsed


def test_a_path_that_exists_goes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="'org/name' is a folder"):
        load_facts("org/name")


def test_offline_is_said() -> None:
    with pytest.raises(
        ValueError, match=r"`source` 'org/name'.*no such file here, and the Hub was not reached.*go online"
    ):
        load_facts("org/name")
