"""`semantic-trainer ask`: a finished run is asked as it asked itself, and a folder that is none says so."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest

from semantic_trainer.cli import main
from semantic_trainer.commands import ask
from semantic_trainer.commands.finished import load_run, run_format
from semantic_trainer.facts.prompts import PromptFormat

QUICK_HELP = """
import sys
from semantic_trainer.cli import main
try:
    main(["ask", "--help"])
except SystemExit as end:
    assert not end.code
heavy = {"torch", "transformers", "datasets", "peft", "trl", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""
TAUGHT = "What is the capital of land 1?"
UNKNOWN = "Who wrote [/x] Emma?"


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is refused before the model is loaded."""
    monkeypatch.setattr("semantic_trainer.models.load_model", lambda *a, **k: pytest.fail("the model was loaded"))


def error_line(capsys: pytest.CaptureFixture) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    return line


def change_config(folder: Path, **options: object) -> None:
    path = folder / "semantic_summary.json"
    data = json.loads(path.read_text())
    data["config"] |= options
    path.write_text(json.dumps({**data, "config": {k: v for k, v in data["config"].items() if v != "gone"}}))


def test_help_needs_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", QUICK_HELP], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "RUN_DIR" in done.stdout


def test_answers_are_the_runs_own(finished: Path) -> None:
    """Asked alone or together, every prompt and paraphrase gets the answer that facts.parquet holds."""
    run = load_run(finished, ("plain", "weighted"))
    rows = pyarrow.parquet.read_table(finished / "facts.parquet").to_pylist()
    said = ask.ask(run, [row["prompt"] for row in rows])
    held = {"base": "old_answer", "plain": "plain_answer", "weighted": "weighted_answer"}
    for who, column in held.items():
        assert [said[who][row["prompt"]].removesuffix(" …") for row in rows] == [row[column] for row in rows]
    assert said["base"] != said["plain"] != said["weighted"]
    for row in rows[:3]:
        (paraphrase,) = row["paraphrases"]
        alone = ask.ask(run, [paraphrase])
        for arm in ("plain", "weighted"):
            assert [alone[arm][paraphrase].removesuffix(" …")] == row[f"{arm}_paraphrase_answers"]


@pytest.mark.usefixtures("wide")
def test_one_row_a_question_and_the_target_of_what_was_taught(finished: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["ask", str(finished), TAUGHT, UNKNOWN, TAUGHT]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines() if line.strip()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[0] == ["question", "base", "plain", "weighted", "target"]
    (taught,) = [row for row in cells if row[0] == TAUGHT]
    assert taught[-1] == "Berlin"
    (unknown,) = [row for row in cells if row[0] == UNKNOWN]
    assert unknown[-1] == "–"
    assert "chat with 0 shots, max_new_tokens 9, float32" in cells[-1][0]


def test_a_narrow_terminal_wraps(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(ask, "ask", lambda run, questions: {"base": {q: "[b] " + "x" * 500 for q in questions}})
    assert main(["ask", str(finished), TAUGHT]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert printed.count("x") >= 500
    assert "[b]" in printed


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("arm", ["plain", "weighted"])
def test_one_arm_only(arm: str, finished: Path, capsys: pytest.CaptureFixture) -> None:
    """An option may stand between questions."""
    assert main(["ask", str(finished), UNKNOWN, "--arm", arm, "Who painted Guernica?"]) == 0
    printed = capsys.readouterr().out
    assert printed.split()[:3] == ["question", "base", arm]
    assert "Guernica" in printed
    assert "target" not in printed


@pytest.mark.usefixtures("wide")
def test_questions_from_standard_input(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{TAUGHT}\n\n  {UNKNOWN} \n"))
    assert main(["ask", str(finished)]) == 0
    printed = capsys.readouterr().out
    assert TAUGHT in printed
    assert UNKNOWN in printed


@pytest.mark.usefixtures("wide")
def test_a_conversation(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """A question too long for the model, or a stray byte, is said and does not end it; ctrl-D does."""
    monkeypatch.setattr(sys, "stdin", Terminal(f"{TAUGHT}\n\n{'why ' * 600}\nWho\udcff?\n{UNKNOWN}\n"))
    assert main(["ask", str(finished)]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("question>") == 6
    assert printed.out.count("chat with 0 shots") == 2
    assert "Berlin" in printed.out
    long, stray = [line for line in printed.err.splitlines() if line.startswith("error:")]
    assert "context of 512 tokens" in long
    assert "is not UTF-8" in stray


@pytest.mark.usefixtures("wide")
def test_a_longer_answer_is_another_protocol(
    finished: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    assert main(["ask", str(finished), TAUGHT, "--max_new_tokens", "9"]) == 0
    assert "protocol" not in caplog.text
    assert main(["ask", str(finished), TAUGHT, "--max_new_tokens", "2"]) == 0
    assert "max_new_tokens is 2 here and was 9 in the run" in caplog.text
    printed = capsys.readouterr().out
    assert "max_new_tokens 2" in printed
    assert "…" in printed


def test_a_run_given_its_model_by_a_relative_path(
    spoilt: Path, model_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    change_config(spoilt, model=f"{model_dir.parent.name}/{model_dir.name}")
    monkeypatch.chdir(model_dir.parent.parent)
    assert main(["ask", str(spoilt), TAUGHT]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["ask", "run", TAUGHT, "--model", str(model_dir)]) == 0
    assert main(["ask", "run", TAUGHT]) == 2
    line = error_line(capsys)
    assert "base model" in line
    assert "--model DIR" in line


def test_the_text_is_the_runs_whatever_the_template_says_now(finished: Path, tokenizer: object) -> None:
    """A template that writes today's date, say."""
    config = json.loads((finished / "semantic_summary.json").read_text())["config"]
    changed = {**config, "prompt_text": config["prompt_text"].replace("<|im_start|>user", "<|im_start|>system\n1 May")}
    assert changed != config
    for one in (config, changed):
        form = run_format(one, tokenizer)
        assert form.prompt_text("{prompt}") == one["prompt_text"]
        assert form.kind == "chat"
    shots = {"prompt_format": "question_answer", "shots": ["What is {prompt}? => A hole"], "system_prompt": None}
    form = PromptFormat.question_answer([("What is {prompt}?", "A hole")])
    assert run_format({**shots, "prompt_text": form.prompt_text("{prompt}")}, tokenizer) == form


def test_without_facts_there_are_no_targets(
    spoilt: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    (spoilt / "facts.parquet").write_bytes(b"PAR1 torn")
    assert main(["ask", str(spoilt), TAUGHT]) == 0
    assert "facts.parquet cannot be read" in caplog.text
    assert "target" not in capsys.readouterr().out


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def tear(name: str, keep: int = 100) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep])


def other_schema(folder: Path) -> None:
    path = folder / "semantic_summary.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 99'))


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (remove("semantic_summary.json"), ["holds no semantic_summary.json", "has not ended", "--resume"]),
        (lambda folder: [f.unlink() for f in folder.glob("*.json")], ["no run has written there", "output_dir"]),
        (tear("semantic_summary.json"), ["semantic_summary.json", "torn"]),
        (other_schema, ["schema_version 99"]),
        (lambda folder: change_config(folder, prompt_text="gone"), ["['prompt_text']"]),
        (remove("adapter_model.safetensors"), ["weighted adapter", "adapter_model.safetensors"]),
        (tear("plain/adapter_model.safetensors"), ["plain adapter", "torn", "--overwrite"]),
        (tear("plain/adapter_model.safetensors", -1), ["plain adapter", "torn"]),
        (tear("adapter_config.json"), ["weighted adapter", "torn"]),
        (lambda folder: (folder / "adapter_config.json").write_text("[]"), ["weighted adapter", "torn"]),
        (lambda folder: shutil.rmtree(folder / "plain"), ["plain adapter", "adapter_config.json"]),
        (lambda folder: change_config(folder, model="/nowhere/model"), ["base model '/nowhere/model'", "--model DIR"]),
        (lambda folder: change_config(folder, model="no/where"), ["base model 'no/where'", "--model DIR"]),
    ],
)
def test_a_folder_that_cannot_be_asked(
    spoil: Callable[[Path], object], words: list[str], spoilt: Path, capsys: pytest.CaptureFixture
) -> None:
    spoil(spoilt)
    assert main(["ask", str(spoilt), TAUGHT]) == 2
    line = error_line(capsys)
    for word in words:
        assert word in line


@pytest.mark.usefixtures("no_model")
def test_the_arm_that_is_not_asked_may_be_missing(spoilt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(spoilt / "plain")
    monkeypatch.setattr("semantic_trainer.models.load_model", lambda *args: (_ for _ in ()).throw(OSError("loaded")))
    with pytest.raises(OSError, match="loaded"):
        load_run(spoilt, ("weighted",))


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["RUN_DIR is missing"]),
        (["--nope"], ["`--nope` is no option of ask"]),
        (["RUN", "Who\udcff?"], ["QUESTION 'Who\\udcff?' is not UTF-8"]),
        (["nowhere", "Who?"], ["'nowhere' does not exist", "output_dir"]),
        (["a_file", "Who?"], ["'a_file' is a file"]),
        (["RUN", ""], ["QUESTION is empty"]),
        (["RUN", "Who?", "  "], ["QUESTION is empty"]),
        (["RUN"], ["standard input holds no question"]),
        (["RUN", "Who?", "--arm", "heavy"], ["--arm", "heavy", "plain", "weighted"]),
        (["RUN", "Who?", "--max_new_tokens", "0"], ["max_new_tokens", "at least 1"]),
        (["RUN", "Who?", "--max_new_tokens", "many"], ["max_new_tokens", "many"]),
        (["RUN", "Who?", "--arms", "plain"], ["`--arms` is no option of ask", "'arm'"]),
    ],
    ids=str,
)
def test_a_users_mistake_is_one_sentence(
    arguments: list[str],
    words: list[str],
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n \n"))
    Path("a_file").write_text("")
    assert main(["ask", *(str(finished) if argument == "RUN" else argument for argument in arguments)]) == 2
    line = error_line(capsys)
    for word in words:
        assert word in line


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        (None, "standard input holds no question"),
        (
            io.TextIOWrapper(io.BytesIO(b"Who\xff?\n"), "utf-8"),
            "standard input is not UTF-8 (invalid start byte at byte 3)",
        ),
        (
            io.TextIOWrapper(io.BytesIO(b"Who\xff?\n"), "utf-8", "surrogateescape"),
            "QUESTION 'Who\\udcff?' is not UTF-8",
        ),
    ],
    ids=["closed", "strict", "escaped"],
)
def test_standard_input_without_a_question(
    stdin: io.TextIOBase | None,
    words: str,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["ask", str(finished)]) == 2
    assert words in error_line(capsys)


def test_a_stray_byte_that_cannot_be_read_does_not_end_a_conversation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"Who\xff?\n"), "utf-8")
    monkeypatch.setattr(sys, "stdin", stdin)
    ask.converse(None)
    printed = capsys.readouterr()
    assert printed.out.count("question>") == 2
    assert printed.err.startswith("error: the question is not UTF-8")


def test_a_byte_order_mark_is_no_part_of_a_question() -> None:
    assert ask.read_lines(io.StringIO("\ufeffWho?\nWhere?\n")) == ["Who?", "Where?"]


@pytest.mark.usefixtures("no_model")
def test_an_adapter_for_another_model(
    finished: Path, model: object, tokenizer: object, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The base was replaced by one of another size."""
    from transformers import LlamaForCausalLM

    config = model.config
    config.intermediate_size = 32
    LlamaForCausalLM(config).save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    assert main(["ask", str(finished), TAUGHT, "--model", str(tmp_path / "other")]) == 2
    line = error_line(capsys)
    assert "the plain adapter in" in line
    assert "does not fit this base model" in line


@pytest.mark.usefixtures("no_model")
def test_an_adapter_for_a_model_of_the_same_size(
    finished: Path, model: object, tokenizer: object, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The base was tuned further: its weights have another sha256 than the run recorded."""
    model.model.norm.weight.data += 1e-3
    model.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    assert main(["ask", str(finished), TAUGHT, "--model", str(tmp_path / "other")]) == 2
    assert "is another one than the run's" in error_line(capsys)
