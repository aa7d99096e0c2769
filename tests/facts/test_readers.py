"""Reading facts: MEND zsRE, KnowEdit and tables, splits, samples, and what a wrong source is told."""

import json
import logging
from collections import Counter
from pathlib import Path

import pandas
import pytest
from datasets import Dataset, DatasetDict

from semantic_trainer import load_facts
from semantic_trainer.facts.schema import FACT_COLUMNS, fact_id

from ..conftest import DATA_DIR

MEND = [
    {
        "subject": "UniFirst",
        "src": "What is the product made by UniFirst?",
        "rephrase": "What will be the product of UniFirst?",
        "alt": "unmanned aircraft",
        "answers": ["uniform", "uniforms"],
        "loc": "nq question: who played in the big lebowski",
    },
    {
        "subject": "Emma",
        "src": "Who wrote Emma?",
        "rephrase": "Emma is by?",
        "alt": "Blake",
        "answers": [],
        "loc": "x",
    },
]
KNOWEDIT = [
    {
        "subject": "Epaspidoceras",
        "target_new": "Noctuidae",
        "prompt": "Which family does Epaspidoceras belong to?",
        "ground_truth": ["Aspidoceratidae"],
        "rephrase_prompt": "What family are Epaspidoceras?",
        "locality": {"A": [{"prompt": "L1", "ground_truth": ["x"]}], "B": [{"prompt": "L2", "ground_truth": ["y"]}]},
        "portability": {"Reasoning": [{"prompt": "P1", "ground_truth": "Owlet moths"}], "C": []},
    },
]
TABLE = [{"question": "Who leads Orlent Optics?", "answer": "Mira"}, {"question": "Where is Orlent?", "answer": "007"}]
COLUMNS = {"prompt": "question", "target": "answer"}
needs_data = pytest.mark.skipif(not DATA_DIR.is_dir(), reason=f"no real data: {DATA_DIR.name} is not there")


def write_json(path: Path, rows: object) -> Path:
    path.write_text(json.dumps(rows))
    return path


def write(folder: Path, ending: str) -> Path:
    """The table of two facts in a file of this ending."""
    path = folder / f"table{ending}"
    if ending == ".json":
        return write_json(path, TABLE)
    if ending == ".jsonl":
        path.write_text("\n\n".join(json.dumps(row) for row in TABLE) + "\n", encoding="utf-8")
    elif ending == ".csv":
        pandas.DataFrame(TABLE).to_csv(path, index=False)
    else:
        pandas.DataFrame(TABLE).to_parquet(path)
    return path


def test_mend_zsre_teaches_the_alternative(tmp_path: Path) -> None:
    facts = load_facts(write_json(tmp_path / "zsre.json", MEND))
    assert tuple(facts.column_names) == FACT_COLUMNS
    first = facts[0]
    assert first["prompt"] == MEND[0]["src"]
    assert first["target"] == "unmanned aircraft"
    assert first["ground_truth"] == "uniform"
    assert first["paraphrases"] == ["What will be the product of UniFirst?"]
    assert first["locality_prompts"] == ["who played in the big lebowski"]
    assert first["fact_id"] == fact_id(first["prompt"], first["target"])
    assert facts[1]["ground_truth"] is None


def test_knowedit_takes_every_group(tmp_path: Path) -> None:
    fact = load_facts(write_json(tmp_path / "knowedit.json", KNOWEDIT))[0]
    assert fact["target"] == "Noctuidae"
    assert fact["ground_truth"] == "Aspidoceratidae"
    assert fact["paraphrases"] == ["What family are Epaspidoceras?"]
    assert fact["locality_prompts"] == ["L1", "L2"]
    assert fact["portability"] == [{"prompt": "P1", "answer": "Owlet moths"}]


@needs_data
def test_real_zsre_has_two_empty_targets() -> None:
    path = DATA_DIR / "zsre_mend_1k.json"
    with pytest.raises(ValueError, match=r"2 of 1000 facts cannot be taught:\s+empty target: 2 \(rows \d+, \d+\)"):
        load_facts(path)
    facts = load_facts(path, on_conflict="drop")
    raw = {row["src"]: row["alt"] for row in json.loads(path.read_text(encoding="utf-8"))}
    assert len(facts) == 998
    assert all(raw[fact["prompt"]] == fact["target"] for fact in facts)
    assert not any(p.startswith("nq question") for fact in facts for p in fact["locality_prompts"])
    assert not {p for row in facts["locality_prompts"] for p in row} & set(facts["prompt"])


@needs_data
def test_real_knowedit_is_read_whole() -> None:
    path = DATA_DIR / "zsre_knowedit_900.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    kept, facts = {row["prompt"]: row["target_new"] for row in raw}, load_facts(path, on_conflict="drop")
    assert 0.95 * len(raw) < len(facts) <= len(raw)
    assert all(kept[fact["prompt"]] == fact["target"] for fact in facts)


@needs_data
def test_real_halves_are_disjoint_by_subject_and_everything_together() -> None:
    path = DATA_DIR / "zsre_mend_1k.json"
    every, dev, test = (load_facts(path, on_conflict="drop", split=s) for s in (None, "dev", "test"))
    assert not set(dev["subject"]) & set(test["subject"])
    assert sorted([*dev["fact_id"], *test["fact_id"]]) == sorted(every["fact_id"])
    assert abs(len(dev) - len(test)) < 150


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".csv", ".parquet"])
def test_tables_with_a_column_mapping_agree(tmp_path: Path, ending: str) -> None:
    facts = load_facts(write(tmp_path, ending), columns=COLUMNS)
    assert facts["prompt"][:] == [row["question"] for row in TABLE]
    assert facts["target"][:] == ["Mira", "007"]
    assert facts.features == load_facts(TABLE, columns=COLUMNS).features


def test_jsonl_keeps_a_line_separator_inside_a_text(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    row = {"prompt": "Who wrote\u2028Emma?", "target": "Jane Austen"}
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert load_facts(path)["prompt"][:] == [row["prompt"]]


def test_a_csv_cell_of_paraphrases_is_one_paraphrase_and_an_empty_one_none(tmp_path: Path) -> None:
    (path := tmp_path / "facts.csv").write_text(
        "prompt,target,paraphrases,subject\nA?,NA,B?,\nC?,1,,S\n", encoding="utf-8"
    )
    facts = load_facts(path)
    assert facts["target"][:] == ["NA", "1"]
    assert facts["paraphrases"][:] == [["B?"], []]


def test_lists_and_datasets_are_sources_and_loading_twice_changes_nothing(facts: Dataset) -> None:
    assert load_facts(facts).to_list() == facts.to_list()
    assert load_facts(facts.to_list()).to_list() == facts.to_list()


def test_conflicts_are_refused_or_dropped_and_said(caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"prompt": p, "target": t} for p, t in (("A?", "1"), ("A?", "2"), ("B?", "3"), ("B?", "3"), ("C?", " "))]
    with pytest.raises(ValueError, match=r"(?s)3 of 5.*several targets: 2 \(rows 0, 1\).*row 4.*on_conflict=\"drop\""):
        load_facts(rows)
    with caplog.at_level(logging.WARNING):
        facts = load_facts(rows, on_conflict="drop")
    assert facts["prompt"][:] == ["B?"]
    assert "one prompt, several targets: 2" in caplog.text
    assert "empty target: 1 (row 4)" in caplog.text


def test_taught_locality_prompts_are_dropped_and_said(caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"prompt": "A?", "target": "1", "locality_prompts": ["B?", "X?"]}, {"prompt": "B?", "target": "2"}]
    assert load_facts(rows)["locality_prompts"][:] == [["X?"], []]
    assert "locality prompt is itself taught: 1 (row 0)" in caplog.text


def test_split_is_by_subject_or_else_by_prompt() -> None:
    rows = [{"prompt": f"Q{i}?", "target": "x", "subject": f"S{i % 7}" if i % 2 else None} for i in range(60)]
    every, dev, test = (load_facts(rows, split=s) for s in (None, "dev", "test"))
    assert not {s for s in dev["subject"] if s} & {s for s in test["subject"] if s}
    assert sorted([*dev["prompt"], *test["prompt"]]) == sorted(every["prompt"])
    assert len(dev) * len(test) > 0
    with pytest.raises(ValueError, match="`split` must be None, 'dev' or 'test', but 'train' was passed"):
        load_facts(rows, split="train")


def test_rows_are_named_as_in_the_file_also_under_a_split() -> None:
    rows = [{"prompt": f"Q{i}?", "target": "x", "subject": f"S{i}"} for i in range(8)]
    rows += [{"prompt": "Q?", "target": "", "subject": f"S{i}"} for i in range(8)]
    with pytest.raises(ValueError, match="empty target") as error:
        load_facts(rows, split="dev")
    shown = str(error.value).split("(rows ")[1].split(")")[0]
    assert all(int(row) >= 8 for row in shown.split(", "))


def test_samples_are_seeded_and_even_over_relations(tmp_path: Path) -> None:
    sizes = (("a", 50), ("b", 5), ("c", 5))
    rows = [{"prompt": f"{r}{i}?", "target": "x", "relation": r} for r, n in sizes for i in range(n)]
    path = write_json(tmp_path / "facts.json", rows)
    sample = load_facts(f"{path}[9]")
    assert Counter(sample["relation"]) == {"a": 3, "b": 3, "c": 3}
    assert Counter(load_facts(f"{path}[20]")["relation"]) == {"a": 10, "b": 5, "c": 5}
    assert sample["prompt"][:] == load_facts(f"{path}[9]")["prompt"][:]
    assert sample["prompt"][:] != load_facts(f"{path}[9]", seed=1)["prompt"][:]
    with pytest.raises(ValueError, match="sample of 61 was asked for.*only 60 facts"):
        load_facts(f"{path}[61]")
    for source in ("builtin:counterfactual", path):
        with pytest.raises(ValueError, match=r"`source` .*\[0\]' asks for a sample of 0; .* must be at least 1"):
            load_facts(f"{source}[0]")


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"format": "mendzsre"}, r"`format` 'mendzsre' is unknown\. Did you mean 'mend_zsre'\?.*knowedit"),
        ({"format": "knowedit"}, r"format 'knowedit' needs the column\(s\).*target_new.*found \['question'"),
        ({"columns": {"question": "prompt"}}, r"'question' is no fact column.*Fact columns: prompt, target"),
        ({"columns": {"prompt": "questoin"}}, r"names 'questoin'; found.*Did you mean 'question'"),
        ({"on_conflict": "keep"}, r"`on_conflict` must be 'error' or 'drop', but 'keep' was passed"),
        ({}, r"no known fact format has the columns \['question', 'answer'\].*columns=\{'prompt'.*--columns prompt="),
    ],
)
def test_wrong_options_are_named(options: dict, pattern: str) -> None:
    with pytest.raises(ValueError, match=pattern):
        load_facts(TABLE, **options)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing.json' does not exist.*builtin:"):
        load_facts(tmp_path / "nothing.json")
    for name, text, pattern in (
        ("facts.txt", "A", r"ending '.txt' is unknown; use .json, .jsonl, .csv or .parquet"),
        ("empty.json", "[]", "holds no rows"),
        ("empty.jsonl", "", "holds no rows"),
        ("empty.csv", "", "could not be read"),
        ("header.csv", "prompt,target\n", "holds no rows"),
        ("empty.parquet", "", "could not be read"),
        ("torn.json", "[{", "torn.json' could not be read"),
        ("object.json", '{"data": []}', "must hold a list of records"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=pattern):
            load_facts(tmp_path / name)


def test_cells_that_are_no_text_are_named() -> None:
    with pytest.raises(ValueError, match=r"'target' must hold strings, but row 1 hold.*int, first 3.*Convert"):
        load_facts([{"prompt": "A?", "target": "1"}, {"prompt": "B?", "target": 3}])
    with pytest.raises(ValueError, match="'prompt' is empty in row 0"):
        load_facts([{"prompt": " ", "target": "1"}])
    with pytest.raises(TypeError, match=r"`source` must be one datasets.Dataset.*DatasetDict"):
        load_facts(DatasetDict({"train": Dataset.from_list(TABLE)}))


def test_a_mend_row_without_its_target_is_named() -> None:
    rows = [MEND[0], {k: v for k, v in MEND[1].items() if k != "alt"}]
    with pytest.raises(ValueError, match=r"(?s)1 of 2 facts cannot be taught.*empty target: 1 \(row 1\)"):
        load_facts(rows)
    assert load_facts(rows, on_conflict="drop")["target"][:] == [MEND[0]["alt"]]
