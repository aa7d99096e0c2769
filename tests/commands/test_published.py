"""Which facts a published table is of."""

from pathlib import Path
from types import SimpleNamespace

from semantic_trainer import load_facts
from semantic_trainer.answers.store import text_hash
from semantic_trainer.commands.published import Published, find_facts
from semantic_trainer.facts.answered import without_answers

STAMP = " ".join(f"{part}:{'0123456789abcdef'}" for part in ("model", "tokenizer", "prompt_format", "generation"))


def test_facts_that_came_with_answers_are_those_that_a_run_was_taught(tmp_path: Path) -> None:
    row = {"prompt": "A?", "target": "A", "old_answer": "", "old_answer_truncated": False, "distance": 0.5}
    facts = load_facts([{**row, "answered_by": STAMP}])
    facts.to_parquet(path := tmp_path / "answered.parquet")
    config = {"facts_hash": text_hash(without_answers(facts).to_list())}  # as `run` records it
    summary = SimpleNamespace(config=config, facts={"taught": 1})
    published = Published("run", tmp_path, tmp_path, summary, "weighted", from_hub=False)
    assert find_facts(published, [str(path)], None)["prompt"] == ["A?"]
