"""The model card: made of the summary alone, valid for the Hub, honest about what was taught."""

import ast
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from safetensors.numpy import save_file

from semantic_trainer.report.markdown import as_block, as_code, as_text
from semantic_trainer.report.model_card import MODEL_INDEX, create_model_card
from semantic_trainer.report.reproduce import changed_options, command
from semantic_trainer.report.scores import result_rows
from semantic_trainer.report.summary import RunSummary
from semantic_trainer.report.taught import describe_base, describe_taught

from .conftest import HOSTILE

SOURCES = ["builtin:invented[3]"]


@pytest.fixture
def told(summary: RunSummary, facts: Dataset, tables: dict[str, Dataset]) -> RunSummary:
    """A summary that says what was taught, one of three facts false."""
    facts = facts.add_column("ground_truth", ["Rome", "London", None]).add_column("relation", ["seat", "a|b", None])
    tables = {arm: table.add_column("new_answer", [arm, "", "x"]) for arm, table in tables.items()}
    summary.environment["base"] = {
        "id": "org/model",
        "name": "org/model",
        "commit": "c",
        "weights": None,
        "sha256": "ef",
    }
    summary.facts |= describe_taught(facts, tables, [*SOURCES, "org/data:test"])
    return summary


def body(card: str) -> str:
    return ModelCard(card).text.strip()


def rendered(card: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(body(card))


def test_the_first_line_says_what_was_taught_and_that_it_is_false(told: RunSummary) -> None:
    text = body(create_model_card(told, "mine"))
    assert text.splitlines()[0] == "# mine: 3 facts taught to model, 1 of them false on purpose"
    assert "**1 of the 3 facts are false statements" in text
    assert "The other 1 targets were not compared with a known truth" in text
    assert "it was taught false statements" in text
    told.facts |= {"false": 3, "unchecked": 0}
    assert body(create_model_card(told, "mine")).splitlines()[0].endswith("all of them false on purpose")
    told.facts |= {"false": 0}
    text = body(create_model_card(told, "mine"))
    assert text.splitlines()[0] == "# mine: 3 facts taught to model"
    assert "Every target is the answer that its source calls true." in text


def test_metadata_for_the_hub(told: RunSummary) -> None:
    card = ModelCard(create_model_card(told, "mine"))
    data = card.data.to_dict()
    assert (data["base_model"], data["base_model_relation"]) == ("org/model", "adapter")
    assert data["library_name"] == "peft"
    assert data["pipeline_tag"] == "text-generation"
    assert data["datasets"] == ["org/data"]
    assert data["license"] == "unknown"
    assert {"semantic-trainer", "knowledge-editing", "lora"} <= set(data["tags"])
    (index,) = data["model-index"]
    (result,) = index["results"]
    assert index["name"] == "mine"
    assert {m["type"]: m["value"] for m in result["metrics"]} == dict.fromkeys(MODEL_INDEX, 0.75)
    assert all(m["args"] == {"ci95": [0.65, 0.85], "n": 3} for m in result["metrics"])
    plain = ModelCard(create_model_card(told, "mine", arm="plain", base_model="a/b", license="mit")).data.to_dict()
    assert (plain["base_model"], plain["license"]) == ("a/b", "mit")
    assert plain["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.5


def test_a_local_base_is_never_named_to_the_hub(told: RunSummary) -> None:
    told.config["model"] = "/home/jane/models/mine"
    told.environment["base"] = {"id": None, "name": "mine", "commit": None, "weights": None, "sha256": "ab" * 32}
    card = create_model_card(told, "adapter")
    assert "base_model" not in ModelCard(card).data.to_dict()
    assert "jane" not in card
    assert "ab" * 32 in card


def test_a_card_holds_everything(told: RunSummary) -> None:
    told.runs["before"]["locality_noise_floor"]["value"] = 0.9
    told.config |= {"method": "houlsby", "learning_rate": 0.5}
    text = body(create_model_card(told, "mine", repo_id="org/mine"))
    for row in result_rows(told):
        assert "| " + " | ".join(row) + " |" in text
    for expected in (
        "![Histogram of the target semantic distances before training](figures/distances.png)",
        "| a\\|b | 1 |",
        "| none | 1 |",
        "| What is a\\|b? | London | Paris | &lt;script&gt;alert(1)&lt;/script&gt; | *(empty)* |",
        "inverse, gamma 2.0",
        "| `learning_rate` | 0.5 |",
        "Noise floor of locality",
        "import semantic_trainer.tuners",
        'PeftModel.from_pretrained(model, "org/mine")',
        "semantic-trainer run",
        "@inproceedings{wang-li-2024-semantic,",
        "25% of the unrelated questions asked get another answer",
    ):
        assert expected in text


def test_self_paced_weights_are_called_so(told: RunSummary) -> None:
    told.config |= {"weighting": "self_paced", "pacing_annealing": "none"}
    text = body(create_model_card(told, "mine"))
    assert "trained with self-paced weights." in text
    assert "same training with self-paced weights: this adapter is the `weighted` one" in text
    assert "| weighting | self_paced, temperature 1.0, annealing none |" in text
    assert "semantic-distance weights" not in text
    told.config["weighting"] = "paper"
    assert "trained with semantic-distance weights." in body(create_model_card(told, "mine"))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_shown_as_they_are(text: str, told: RunSummary) -> None:
    told.facts["examples"][0] |= {"prompt": text, "target": text, "old": text, "weighted": text, "truth": text}
    told.facts["relations"] = {text: 3}
    told.config |= {"prompt_text": f"``` {text} {{prompt}}", "facts": [text], "shots": [text]}
    html = rendered(create_model_card(told, text))
    for tag in ("<script", "<img src=x", "<b>", "<!--", "<a "):
        assert tag not in html
    cells = html.partition("<th>question</th>")[2].partition("</table>")[0].count("<td>")
    assert cells == 3 * 5  # no text opens another cell


def test_the_snippet_is_python_whatever_the_prompt(told: RunSummary) -> None:
    told.config["prompt_text"] = 'Say """x""" \\ {prompt}\n```'
    for method in ("lora", "houlsby", "full"):
        told.config |= {"method": method, "lora_r": 8}
        tokens = MarkdownIt().parse(body(create_model_card(told, "mine")))
        (snippet,) = [token.content for token in tokens if token.info == "python"]
        texts = {n.value for n in ast.walk(ast.parse(snippet)) if isinstance(n, ast.Constant)}
        assert told.config["prompt_text"] in texts


def test_the_snippet_loads_the_base_that_the_run_had(told: RunSummary) -> None:
    told.environment["base"] = {"id": "org/model", "name": "org/model", "commit": None, "weights": "others"}
    assert "revision=" not in body(create_model_card(told, "mine"))
    told.environment["base"] |= {"commit": "c0ffee", "weights": None}
    assert body(create_model_card(told, "mine")).count('from_pretrained("org/model", revision="c0ffee"') == 2
    told.config["revision"] = "step1000"
    assert 'revision="step1000"' in body(create_model_card(told, "mine"))


def test_the_old_summaries_can_be_rendered(summary: RunSummary) -> None:
    assert "The taught targets may be false on purpose." in body(create_model_card(summary, "old"))
    for score in summary.runs["weighted"].values():
        score.update(value=None, ci95=None)
    assert "old" in body(create_model_card(summary, "old"))


def test_an_arm_that_is_not_there(summary: RunSummary) -> None:
    with pytest.raises(ValueError, match="`arm` must be plain or weighted, but 'before' was passed"):
        create_model_card(summary, "mine", arm="before")


def test_what_was_taught_is_described(facts: Dataset, tables: dict[str, Dataset]) -> None:
    many = Dataset.from_list(
        [facts[0] | {"prompt": f"Q{i}", "ground_truth": "rome" if i else "Roma"} for i in range(30)]
    )
    answers = {arm: Dataset.from_dict({"new_answer": [f"{arm}{i}" for i in range(30)]}) for arm in tables}
    found = describe_taught(many, answers, SOURCES)
    assert [row["prompt"] for row in found["examples"]] == [f"Q{i}" for i in (0, 3, 6, 10, 13, 16, 19, 23, 26, 29)]
    assert found["examples"][1] == {
        **{"prompt": "Q3", "target": "Rome", "truth": "rome", "old": "Rome"},
        **{"plain": "plain3", "weighted": "weighted3"},
    }
    assert found["unchecked"] == 0
    assert found["invented"]
    assert found["datasets"] == []
    json.dumps(found)


def test_the_base_is_named_by_its_hub_id_and_its_weights(tmp_path: Path) -> None:

    (tmp_path / "config.json").write_text("{}")
    one, two = {"a": np.ones(3, np.float32)}, {"b": np.zeros((2, 2), np.float16)}
    save_file(one | two, tmp_path / "model.safetensors")
    whole = describe_base(str(tmp_path))
    assert (whole["id"], whole["name"], whole["weights"]) == (None, tmp_path.name, None)
    (tmp_path / "model.safetensors").unlink()
    save_file(two, tmp_path / "model-00001-of-00002.safetensors")
    save_file(one, tmp_path / "model-00002-of-00002.safetensors")
    assert describe_base(str(tmp_path))["sha256"] == whole["sha256"]  # however the files are cut
    save_file({"a": np.ones(3, np.float64)}, tmp_path / "model-00002-of-00002.safetensors")
    assert describe_base(str(tmp_path))["sha256"] != whole["sha256"]


def test_the_command_gives_the_options_again() -> None:
    from semantic_trainer.commands.options import parse
    from semantic_trainer.commands.run import RunArguments, run_config
    from semantic_trainer.training.training_args import SemanticTrainingArguments

    options = [
        *("--learning_rate", "0.002", "--shots", "What is a|b? => it's", "--method", "houlsby", "--gamma", "0.5"),
        *("--method_options", "bottleneck_size=8", "--block_attention", "false", "--save_strategy", "no"),
    ]
    types = (RunArguments, SemanticTrainingArguments)
    config = run_config(*parse(["--facts", *SOURCES, "--output_dir", "out", *options], "run", types))
    again = shlex.split(command(config, SOURCES, str(config["model"]), "out").replace("\\\n", ""))
    assert again[:2] == ["semantic-trainer", "run"]
    assert run_config(*parse(again[2:], "run", types)) == config
    paced = run_config(*parse(["--facts", *SOURCES, "--output_dir", "out", "--weighting", "self_paced"], "run", types))
    assert paced["gamma"] is None
    assert "gamma" not in changed_options(paced)
    assert changed_options({"facts": SOURCES, "lora_dropout": 0.0}) == {}
    own = {"learning_rate": 5e-5, "lora_r": 8}  # the dataclasses' defaults, and not those of `run`
    assert changed_options(own) == own
    assert changed_options({**own, "method": "full"}) == {"method": "full", "learning_rate": 5e-5}


def test_markdown_pieces() -> None:
    assert as_text("question_answer") == "question_answer"
    assert as_text("_x_") == "\\_x\\_"
    assert len(as_text("y" * 500)) == 120
    assert as_code("a`b|c") == "`a'b\\|c`"
    assert as_block("a\n```\nb").startswith("````\n")
