"""Facts as Arrow columns over several chunks: order, row numbers, faults and drops are those of one list."""

import json
import logging
from pathlib import Path

import pytest

from semantic_trainer import load_facts
from semantic_trainer.facts import collecting
from semantic_trainer.facts.checks import check_facts
from semantic_trainer.facts.collecting import FactRows, join_tables, to_dataset
from semantic_trainer.facts.readers import read_source


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "CHUNK", 7)


def rows(n: int = 50) -> list[dict]:
    """Facts with a repeat, a conflict, an empty target and a taught locality prompt in chunks of their own."""
    made = [{"prompt": f"Q{i}?", "target": f"A{i}", "locality_prompts": [f"L{i}?", f"M{i}?"]} for i in range(n)]
    made[20] = made[3]
    made[30] = {**made[4], "target": "other"}
    made[40] = {**made[40], "target": "."}
    made[48]["locality_prompts"] = ["L?", "Q1?", "Q4?", "Q1?"]
    return made


def test_chunks_change_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (path := tmp_path / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    with caplog.at_level(logging.WARNING):
        facts = load_facts(path, on_conflict="drop")
    assert facts["prompt"][:] == [f"Q{i}?" for i in range(50) if i not in (4, 20, 30, 40)]
    assert facts["locality_prompts"][-2] == ["L?", "Q4?"]
    for said in ("one prompt, several targets: 2 (rows 4, 30)", "repeats an earlier row: 1 (row 20)"):
        assert said in caplog.text
    assert "empty target: 1 (row 40)" in caplog.text
    assert "locality prompt is itself taught: 2 (rows 48, 48)" in caplog.text
    assert check_facts(rows()) == check_facts(FactRows(read_source(rows())))


def test_a_fault_in_a_later_chunk_has_its_number_in_the_file() -> None:
    made = rows()
    made[31] = {"prompt": 3, "target": "x"}
    with pytest.raises(ValueError, match=r"'prompt' must hold strings, but row 31 hold\(s\) int"):
        load_facts(made)
    made[31] = {"prompt": "A?", "target": "x", "subject": "\udc00"}
    with pytest.raises(ValueError, match=r"'subject' holds half of a surrogate pair.*row 31"):
        load_facts(made)


def test_several_sources_name_their_rows() -> None:
    table = join_tables([read_source(rows(50)), read_source(rows(50))], ["a.json", "b.json"])
    check = check_facts(FactRows(table))
    assert check.n == 100
    assert check.labels[0] == "0 of a.json"
    assert check.labels[53] == "3 of b.json"
    assert len(to_dataset(table, check)) == 50 - 4


def test_a_dataset_with_gaps_is_read_in_its_order() -> None:
    facts = load_facts(rows(), on_conflict="drop")
    assert load_facts(facts.select([9, 2, 5]))["prompt"][:] == [facts[i]["prompt"] for i in (9, 2, 5)]


def test_the_fingerprint_is_the_content(tmp_path: Path) -> None:
    (path := tmp_path / "facts.json").write_text(json.dumps(rows()))
    first, again = (load_facts(path, on_conflict="drop")._fingerprint for _ in range(2))
    assert first == again
    changed = [*rows()[:-1], {**rows()[-1], "paraphrases": ["P?"]}]
    assert load_facts(changed, on_conflict="drop")._fingerprint != first
