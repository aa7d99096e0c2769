"""Facts and old answers are published by one process and taken over by another with an empty cache, over HTTP."""

import copy
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
import huggingface_hub
import pytest
import torch
from datasets import Dataset, load_dataset
from huggingface_hub import DatasetCard
from transformers import AutoModelForCausalLM, AutoTokenizer

from semantic_trainer import PromptFormat, add_old_answers, load_facts, push_facts
from semantic_trainer.facts.answered import ANSWER_FEATURES
from semantic_trainer.facts.schema import FACT_COLUMNS
from semantic_trainer.hub.scan import LeakError
from semantic_trainer.hub.upload import HubError

from ..hub.server import TOKEN, Fault, Hub, environment, serve, use

COMMIT = "/api/datasets/org/mine/commit/"
NAME = "datasets/org/mine"
PUSH = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
from semantic_trainer import load_facts, push_facts
folder, facts = sys.argv[1:]
model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
how = {"max_new_tokens": 9, "base_model": "org/base", "license": "cc-by-4.0", "private": True}
print(push_facts(load_facts(facts), "org/mine", model, tokenizer, **how).commit_url)
"""
PULL = """
import json, logging, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
from semantic_trainer import add_old_answers, load_facts
from semantic_trainer.answers.decoder import Decoder

def refuse(*of):
    raise SystemExit("the model was asked")

Decoder._answer = refuse
logging.basicConfig(level=logging.INFO)
folder = sys.argv[1]
model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
loaded = load_facts("org/mine")
answered = add_old_answers(loaded, model, tokenizer, max_new_tokens=9)
print(json.dumps([loaded.to_list(), answered.to_list()]))
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub that this process pushes to and pulls from, into an empty cache."""
    with serve() as server:
        use(server, monkeypatch)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
        yield server


@pytest.fixture
def mine(facts_file: Path) -> Dataset:
    return load_facts(facts_file)


def process(hub: Hub, home: Path, script: str, *argv: object) -> subprocess.CompletedProcess:
    """A process of its own, with an empty home."""
    home.mkdir()
    command = [sys.executable, "-c", script, *map(str, argv)]
    done = subprocess.run(command, env=environment(hub, home), cwd=home, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_one_process_answers_and_another_takes_over(
    hub: Hub, mine: Dataset, facts_file: Path, model_dir: Path, tmp_path: Path
) -> None:
    process(hub, tmp_path / "pusher", PUSH, model_dir, facts_file)
    assert hub.private == {NAME}
    assert sum(COMMIT in asked for asked in hub.asked) == 1
    assert sorted(hub.repos[NAME]["main"]) == ["README.md", "facts.parquet"]
    pulled = process(hub, tmp_path / "puller", PULL, model_dir)
    loaded, answered = json.loads(pulled.stdout)
    assert "the old answers of 12 facts came with them, and are taken over" in pulled.stderr
    assert [{name: row[name] for name in FACT_COLUMNS} for row in loaded] == mine.to_list()
    assert list(loaded[0]) == [*FACT_COLUMNS, *ANSWER_FEATURES]
    model, tokenizer = AutoModelForCausalLM.from_pretrained(model_dir), AutoTokenizer.from_pretrained(model_dir)
    own = add_old_answers(mine, model, tokenizer, max_new_tokens=9)
    for name in ("old_answer", "old_answer_truncated"):
        assert [row[name] for row in answered] == [row[name] for row in loaded] == own[name][:]
    assert all("answered_by" not in row and 0 <= row["distance"] <= 2 for row in answered)
    card = DatasetCard(hub.repos[NAME]["main"]["README.md"].decode())
    assert card.data.license == "cc-by-4.0"
    assert "| base model | `org/base` |" in card.text
    for place in (tmp_path, model_dir, Path.home()):
        assert not [name for name, data in hub.repos[NAME]["main"].items() if str(place).encode() in data]


def test_facts_alone_and_any_client_of_datasets(hub: Hub, mine: Dataset, tmp_path: Path) -> None:
    info = push_facts(mine.add_column("notes", ["mine"] * len(mine)), "org/mine", token=TOKEN, revision="dev")
    assert info.commit_url.startswith(f"{hub.url}/datasets/org/mine/commit/")
    assert hub.repos[NAME]["main"] == {}
    info = push_facts(mine, "org/mine", create_pr=True, commit_message="More")
    assert info.pr_url.endswith("/discussions/1")
    push_facts(mine, "org/mine")
    assert hub.repos[NAME]["main"] == hub.repos[NAME]["dev"]
    rows = load_dataset("org/mine", split="train", cache_dir=str(tmp_path / "empty"))
    assert rows.to_list() == mine.to_list()
    asked = len(hub.asked)
    push_facts(mine, "org/mine")  # what is there already
    assert not [path for path in hub.asked[asked:] if path.startswith("PUT")]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault("POST", COMMIT, 401), "the Hub knows no valid token of yours (401)"),
        (Fault("POST", COMMIT, 403), "your token may not write to 'org/mine' (403)"),
        (Fault("POST", COMMIT, 404), "the Hub has no 'org/mine'"),
        (Fault("POST", COMMIT, 429, 9, {"Retry_After": "77"}), "slow down (429): push again in 77 seconds"),
        (Fault("PUT", "/upload/", None, 99), "the connection to the Hub failed"),
    ],
)
def test_a_refusal_is_one_sentence_and_the_next_push_finishes(
    fault: Fault, sentence: str, hub: Hub, mine: Dataset
) -> None:
    hub.faults = [fault]
    with pytest.raises(HubError) as caught:
        push_facts(mine, "org/mine")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert hub.repos[NAME]["main"] == {}
    hub.faults = []
    push_facts(mine, "org/mine")
    assert sorted(hub.repos[NAME]["main"]) == ["README.md", "facts.parquet"]


def test_secrets_are_not_published(hub: Hub, mine: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_" + "StOrEd99" * 4)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("SOME_API_KEY", "service-key-0123456789")
    rows = mine.to_list()
    for secret in (TOKEN, "hf_" + "StOrEd99" * 4, "service-key-0123456789", f"see {Path.home()}/x"):
        for column, value in (("target", secret), ("paraphrases", [secret]), ("relation", secret)):
            spoilt = load_facts([*rows[:4], {**rows[4], column: value}])
            with pytest.raises(LeakError, match=rf"facts\.parquet was not published: \[4\]\.{column}") as caught:
                push_facts(spoilt, "org/mine")
            assert secret not in str(caught.value)
    with pytest.raises(LeakError, match="README.md was not published"):
        push_facts(mine, "org/mine", license=TOKEN)
    assert hub.asked == []


def test_what_is_refused_before_anything_is_sent(hub: Hub, mine: Dataset, model_dir: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(model_dir), AutoTokenizer.from_pretrained(model_dir)
    tuned = copy.deepcopy(model)
    with torch.no_grad():
        tuned.lm_head.weight[0, 0] += 1
    claimed = mine.add_column("old_answer", ["Rome"] * len(mine))
    for arguments, options, error, said in (
        ((mine, "mine"), {}, ValueError, "`repo_id` must be ORG/NAME"),
        ((mine.to_list(), "org/mine"), {}, TypeError, "must be a datasets.Dataset"),
        ((claimed, "org/mine"), {}, ValueError, r"has the column\(s\) old_answer: give `model`"),
        ((mine, "org/mine", str(model_dir)), {}, TypeError, "`model` must be a loaded model, but str"),
        ((mine, "org/mine", model, tokenizer), {}, ValueError, "was read from the local folder .*base_model="),
        ((mine, "org/mine", model), {"base_model": "org/base"}, ValueError, "`processing_class` is needed"),
        ((mine, "org/mine", model, tokenizer), {"base_model": "base"}, ValueError, "must be ORG/NAME"),
        ((mine.remove_columns("prompt"), "org/mine", model, tokenizer), {}, ValueError, "has no column 'prompt'"),
        (
            (mine, "org/mine", tuned, tokenizer),
            {"base_model": "org/base"},
            ValueError,
            "weight 'lm_head.weight' differs",
        ),
        (
            (claimed, "org/mine", model, tokenizer),
            {"base_model": "org/base", "max_new_tokens": 5},
            ValueError,
            r"column 'old_answer' says 'Rome' to 'What is the capital of land 0\?', but `model` answers",
        ),
    ):
        with pytest.raises(error, match=said):
            push_facts(*arguments, **options)
    assert hub.asked == []


def test_another_model_answers_anew_before_it_publishes(
    hub: Hub, mine: Dataset, model_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(model_dir), AutoTokenizer.from_pretrained(model_dir)
    how = {"max_new_tokens": 5, "base_model": "org/base"}
    push_facts(mine, "org/mine", model, tokenizer, **how)
    push_facts(load_facts("org/mine"), "org/again", model, tokenizer, **how)
    first, again = (hub.repos[f"datasets/org/{name}"]["main"]["facts.parquet"] for name in ("mine", "again"))
    assert first == again
    assert "asked again" not in caplog.text
    other = PromptFormat.question_answer()
    push_facts(load_facts("org/mine"), "org/other", model, tokenizer, prompt_format=other, **how)
    assert "of 12 of 12 facts were given by another prompt format: they are asked again" in caplog.text
    assert load_facts("org/other")["answered_by"][0] != load_facts("org/mine")["answered_by"][0]


def test_the_commands_publish(
    hub: Hub, call: Callable, mine: Dataset, wide: None, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    assert call("facts", "--dry_run", push="org/mine") == 0
    printed = capsys.readouterr().out
    assert "facts.parquet" in printed
    assert "Dry run: nothing was sent to org/mine" in printed
    assert hub.asked == []
    assert call("facts", push="org/mine", license="mit", branch="dev") == 0
    assert "Published org/mine: " in capsys.readouterr().out
    assert DatasetCard(hub.repos[NAME]["dev"]["README.md"].decode()).data.license == "mit"
    assert call("distances", "--private", push="org/told", base_model="org/base") == 0
    assert hub.private == {"datasets/org/told"}
    told = load_facts("org/told")
    assert told.column_names == [*FACT_COLUMNS, *ANSWER_FEATURES]
    assert call("facts", push="mine") == 2
    assert call("facts", "--private") == 2
    assert call("distances", push="org/mine", endpoint="http://127.0.0.1:1/v1") == 2
    error = capsys.readouterr().err
    for said in ("`push` must be ORG/NAME", "`private` says how to publish, but not where", "leave `endpoint` out"):
        assert said in error


def test_a_run_does_not_depend_on_what_came_along(
    hub: Hub, call: Callable, unbroken: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("distances", push="org/mine", base_model="org/base") == 0
    monkeypatch.setenv("SEMANTIC_TRAINER_CACHE", str(tmp_path / "empty"))
    assert call("run", facts=["org/mine"]) == 0
    assert (tmp_path / "out" / "facts.parquet").read_bytes() == unbroken


def test_a_trainer_measures_anew_what_is_anothers(
    hub: Hub, mine: Dataset, model_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from peft import LoraConfig, get_peft_model

    from semantic_trainer import SemanticTrainingArguments, SemanticWeightedTrainer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(model_dir), AutoTokenizer.from_pretrained(model_dir)
    push_facts(mine, "org/mine", model, tokenizer, max_new_tokens=5, base_model="org/base")
    facts = load_facts("org/mine")
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear"))

    def prepared(tokens: int, name: str) -> Dataset:
        args = SemanticTrainingArguments(
            str(tmp_path / name), gamma=1.0, max_new_tokens=tokens, use_cpu=True, report_to="none"
        )
        return SemanticWeightedTrainer(tuned, args, train_dataset=facts, processing_class=tokenizer).train_dataset

    with caplog.at_level(logging.WARNING):
        same = prepared(5, "same")
        assert "they are not used" not in caplog.text
        other = prepared(9, "other")
    assert "came with `train_dataset` are another generation's: they are not used" in caplog.text
    assert same["distance"][:] == facts["distance"][:]
    assert other["old_answer"][:] == add_old_answers(mine, tuned, tokenizer, max_new_tokens=9)["old_answer"][:]
    assert not (tmp_path / "same" / "prepared_facts.parquet").exists()
    assert (tmp_path / "other" / "prepared_facts.parquet").exists()
