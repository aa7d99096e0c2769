"""What a stranger may have written into a published adapter: one sentence, no traceback, and nothing of it is run."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import torch
from datasets import Dataset
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from semantic_trainer.cli import main
from semantic_trainer.commands.published import read_summary
from semantic_trainer.report.model_card import create_model_card
from semantic_trainer.report.page import create_report

from .conftest import change, error_of

BOMB = "[" * 100_000 + "]" * 100_000
HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">[x](javascript:1)\n---\nlicense: mit\n'
SUMMARY, CONFIG = "semantic_summary.json", "adapter_config.json"


@pytest.fixture(autouse=True)
def few_resamples() -> None:
    """The run's intervals are of the usual number, and so are these."""


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("config", 5, "`config` must be an object, but 5 was found"),
        ("config.max_new_tokens", "many", "`config.max_new_tokens` must be a whole number from 1 to 4,096"),
        ("config.max_new_tokens", 10**30, "`config.max_new_tokens` must be a whole number"),
        ("config.facts", [{"a": 1}], "`config.facts` must be a list of at most"),
        ("config.shots", [["q", 5]], "`config.shots` must be"),
        ("config.prompt_text", "\x1b[2J" * 100_000, "`config.prompt_text` must be a text of at most"),
        ("config.model", ["a"], "`config.model` must be a text"),
        ("environment.base", "x", "`environment.base` must be an object"),
        ("environment.base.sha256", "0" * 63, "`environment.base.sha256` must be 64 hexadecimal digits or null"),
        ("environment.published", {"arm": "\x1b[31m", "sha256": "0" * 64}, "has no table of the arm"),
        ("facts.taught", None, "`facts.taught` must be a whole number"),
        ("runs.weighted.locality.value", 7, "`runs.weighted.locality.value` must be a number from 0 to 1, but 7"),
        ("runs.weighted.locality", {}, "`runs.weighted.locality` lacks `value`"),
        ("runs.weighted.locality.ci95", [0.1], "`runs.weighted.locality.ci95` must be two numbers or null"),
        ("runs.weighted", [], "`runs.weighted` must hold the scores"),
        ("runs", {}, "`runs` lacks `before`"),
        ("schema_version", {"a": []}, "is not of schema_version 1"),
        ("extra", 1, "does not have the keys of a run's summary"),
    ],
)
@pytest.mark.usefixtures("no_base")
def test_a_summary_of_wrong_types(
    key: str, value: object, message: str, spoilt: Path, capsys: pytest.CaptureFixture
) -> None:
    change(spoilt, key, value)
    assert message in error_of(capsys, "--adapter", spoilt)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (SUMMARY, BOMB, "nested too deeply"),
        (SUMMARY, '{"a":' * 40 + "1" + "}" * 40, "nested more than 30 deep"),
        (SUMMARY, '{"schema_version": NaN}', "NaN is no number of JSON"),
        (SUMMARY, "1" * 5000, "is no JSON"),
        (SUMMARY, "[]", "must hold a JSON object"),
        (SUMMARY, "\xff\xfe", "is no JSON"),
        (SUMMARY, " " * 16_000_001, "would have at most 16,000,000"),
        (CONFIG, BOMB, "nested too deeply"),
        (CONFIG, "[]", "must hold a JSON object"),
        ("adapter_model.safetensors", "\x00" * 100, "is torn"),
        ("facts.parquet", "PAR1", "facts.parquet"),
    ],
)
@pytest.mark.usefixtures("no_base")
def test_torn_and_hostile_files(
    file: str, text: str, message: str, spoilt: Path, capsys: pytest.CaptureFixture
) -> None:
    (spoilt / file).write_bytes(text.encode("latin-1"))
    assert message in error_of(capsys, "--adapter", spoilt)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("peft_type", "PROMPT_TUNING", "its `peft_type` must be one of LORA"),
        ("peft_type", ["LORA"], "its `peft_type` must be one of LORA"),
        ("megatron_config", {"a": 1}, "`megatron_config` reaches beyond"),
        ("layer_replication", [[0, 1000000000]], "`layer_replication` reaches beyond"),
        ("target_modules", "(a+)+$", "`target_modules` must be names, numbers or switches"),
        ("target_modules", 5, "cannot be loaded"),
        ("rank_pattern", {"(a+)+$": 8}, "`rank_pattern` must be names"),
        ("r", "eight", "cannot be loaded"),
        ("r", 0, "adapter"),
        ("r", 999_999, "does not fit this base model"),
        ("lora_alpha", {}, "cannot be loaded"),
        ("base_model_name_or_path", "org/other", "they are not of one run"),
        ("base_model_name_or_path", 5, "must be a text"),
    ],
)
@pytest.mark.usefixtures("no_base")
def test_a_hostile_adapter_config(
    key: str, value: object, message: str, spoilt: Path, capsys: pytest.CaptureFixture
) -> None:
    change(spoilt, key, value, CONFIG)
    assert message in error_of(capsys, "--adapter", spoilt)


@pytest.mark.usefixtures("no_base")
def test_weights_as_a_pickle_are_not_opened(spoilt: Path, capsys: pytest.CaptureFixture) -> None:
    ran = spoilt / "ran"

    class Hostile:
        def __reduce__(self) -> tuple:
            return Path.touch, (ran,)

    torch.save(Hostile(), spoilt / "adapter_model.bin")
    (spoilt / "adapter_model.safetensors").unlink()
    assert "adapter_model.bin, a pickle" in error_of(capsys, "--adapter", spoilt)
    assert not ran.exists()


@pytest.mark.usefixtures("no_base")
@pytest.mark.parametrize("name", ["/etc/passwd", "../../secret.jsonl", "~/secret.jsonl", "a/b/../../../c:train"])
def test_paths_that_a_summary_names_are_not_followed(name: str, spoilt: Path, capsys: pytest.CaptureFixture) -> None:
    (spoilt / "facts.parquet").unlink()
    change(spoilt, "config.facts", [name])
    assert "names the facts by a path" in error_of(capsys, "--adapter", spoilt)


@pytest.mark.usefixtures("no_base")
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prompt": [1, 2], "target": ["a", "b"]}, "column 'prompt' must hold strings"),
        ({"prompt": [["a"], ["b"]], "target": ["a", "b"]}, "column 'prompt' must hold strings"),
        ({"x": [1]}, "columns"),
        ({"prompt": ["</script><script>alert(1)</script>"], "target": ["a"]}, "not the facts that the published"),
    ],
)
def test_hostile_facts(columns: dict, message: str, spoilt: Path, capsys: pytest.CaptureFixture) -> None:
    pyarrow.parquet.write_table(pyarrow.table(columns), spoilt / "facts.parquet")
    assert message in error_of(capsys, "--adapter", spoilt)


def test_published_answers_of_another_type(spoilt: Path, capsys: pytest.CaptureFixture) -> None:
    """They are only compared with: the table is measured all the same."""
    table = pyarrow.parquet.read_table(spoilt / "facts.parquet")
    at = table.schema.get_field_index("weighted_answer")
    table = table.set_column(at, "weighted_answer", pyarrow.array([[{"a": 1}]] * len(table)))
    pyarrow.parquet.write_table(table, spoilt / "facts.parquet")
    assert main(["evaluate", "--adapter", str(spoilt)]) == 0
    assert "12 of 12 answers are not the published ones" in capsys.readouterr().out


@pytest.mark.usefixtures("no_base")
def test_code_of_the_base_model_is_not_run(
    spoilt: Path, model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    base, ran = tmp_path / "base", tmp_path / "ran"
    base.mkdir()
    for path in model_dir.iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    config = json.loads((base / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}}
    (base / "config.json").write_text(json.dumps(config))
    (base / "own.py").write_text(f"import pathlib\npathlib.Path({str(ran)!r}).touch()\n")
    error = error_of(capsys, "--adapter", spoilt, "--model", base)
    assert "needs code from its repository, which is not run" in error
    assert not ran.exists()


def test_a_base_whose_weights_are_a_pickle(
    spoilt: Path, model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for path in model_dir.iterdir():
        if path.suffix != ".safetensors":
            (base / path.name).write_bytes(path.read_bytes())
    torch.save({}, base / "pytorch_model.bin")
    error = error_of(capsys, "--adapter", spoilt, "--model", base, "--any_base")
    assert "cannot be loaded" in error
    assert "safetensors" in error


class Elements(HTMLParser):
    """What a page would have a browser do: its elements by name, and their attributes' names."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes |= {name for name, _ in attrs}


def poisoned(value: object) -> object:
    """The same JSON value with every text, and every name of a relation, one that tries to break out."""
    if isinstance(value, dict):
        return {name: poisoned(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [poisoned(entry) for entry in value]
    return f"{HOSTILE}{value}" if isinstance(value, str) else value


def test_a_hostile_summary_and_facts_are_only_shown(spoilt: Path) -> None:
    """In report.html and in a card, though their types are right."""
    table = Dataset.from_parquet(str(spoilt / "facts.parquet"), cache_dir=str(spoilt / "datasets"))
    clean = Elements(create_report(read_summary(spoilt / SUMMARY, SUMMARY), table, [], ["beware"]))
    data = json.loads((spoilt / SUMMARY).read_text())
    kept = {"base": data["environment"]["base"]}
    data |= {name: poisoned(data[name]) for name in ("config", "environment", "facts", "runs")}
    data["config"]["method"] = "lora"
    data["config"]["shots"] = []
    data["environment"] |= {"base": {**kept["base"], "name": HOSTILE, "weights": HOSTILE}}
    data["facts"]["relations"] = {HOSTILE: 7, "---\n": 5}
    (spoilt / SUMMARY).write_text(json.dumps(data))
    summary = read_summary(spoilt / SUMMARY, SUMMARY)
    rows = [poisoned(row) for row in table.to_list()]
    page = create_report(summary, Dataset.from_list(rows, features=table.features), [], [HOSTILE])
    found = Elements(page)
    assert found.names.count("script") == clean.names.count("script")
    assert set(found.names) <= set(clean.names)
    assert found.attributes <= clean.attributes
    card = ModelCard(create_model_card(summary, "mine", repo_id="org/mine", base_model="org/base"))
    assert card.data.base_model == "org/base"
    shown = Elements(MarkdownIt("commonmark").enable("table").render(card.text))
    assert not {"script", "a"} & set(shown.names)
    assert "onerror" not in shown.attributes
