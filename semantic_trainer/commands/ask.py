"""`semantic-trainer ask`: what the base and the tuned models answer, side by side, asked exactly as the run asked."""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:  # `--help` and a wrong RUN_DIR need none of them
    from ..answers.decoding import GenerationSettings
    from ..facts.prompts import PromptFormat
    from ..report.summary import RunSummary

logger = logging.getLogger(__name__)
BASE = "base"
PLACES = {"plain": "plain", "weighted": ""}  # where `run` leaves each adapter, seen from its folder
NEEDED = (
    *("model", "revision", "dtype", "max_new_tokens"),
    *("prompt_format", "prompt_text", "shots", "system_prompt"),
)


@dataclass(frozen=True)
class LoadedRun:
    """A finished run, ready to be asked.

    Attributes:
        model: `PeftModel` with one adapter an arm; its base answers with the adapters off.
        targets: prompts and paraphrases of the facts taught -> target.
    """

    model: object
    tokenizer: object
    form: "PromptFormat"
    settings: "GenerationSettings"
    arms: tuple[str, ...]
    targets: Mapping[str, str]


def build_parser() -> argparse.ArgumentParser:
    """The command's options; a wrong one is one sentence, not the whole usage."""
    parser = argparse.ArgumentParser(
        prog="semantic-trainer ask",
        description="Ask the base and the tuned models of a finished run, exactly as the run asked its facts.",
        epilog="Without a QUESTION, one question a line is read from standard input; ctrl-D ends.",
        allow_abbrev=False,
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="The output_dir of a finished run.")
    parser.add_argument("questions", metavar="QUESTION", nargs="*", help="What to ask, each in quotes.")
    parser.add_argument("--arm", choices=PLACES, help="Ask the base and this adapter only; by default both.")
    parser.add_argument(
        "--max_new_tokens", type=int, metavar="N", help="Longest answer in tokens; by default the run's own number."
    )
    parser.add_argument("--model", metavar="DIR", help="Where the run's base model is now, if it has moved.")
    parser.error = _raise
    return parser


def _raise(message: str) -> NoReturn:
    raise ValueError(message)


def main(argv: Sequence[str]) -> int:
    """Parse, check everything that needs no model, load, ask, print."""
    args = build_parser().parse_intermixed_args(list(argv))
    check_folder(args.run_dir)
    interactive = not args.questions and sys.stdin.isatty()
    questions = [] if interactive else check_questions(args.questions or sys.stdin.read().splitlines(), args.questions)
    run = load_run(args.run_dir, (args.arm,) if args.arm else tuple(PLACES), args.max_new_tokens, args.model)
    if interactive:
        converse(run)
    else:
        show(run, questions, ask(run, questions))
    return 0


def check_questions(lines: Sequence[str], on_command_line: Sequence[str]) -> list[str]:
    """Each question once, in order. Blank lines of a file are skipped, a blank argument is a mistake."""
    questions = list(dict.fromkeys(line.strip() for line in lines if line.strip() or on_command_line))
    if not questions:
        raise ValueError("standard input holds no question. Write one a line, or give them after RUN_DIR.")
    if "" in questions:
        raise ValueError('a QUESTION is empty. Give a text in quotes, as in: "Who leads Orlent Optics?"')
    return questions


def check_folder(folder: Path) -> None:
    """Raise where there is no folder; said before anything heavy is imported."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"RUN_DIR {str(folder)!r} is a file. Give the folder that `run` wrote to.")
    if not folder.exists():
        raise FileNotFoundError(f"RUN_DIR {str(folder)!r} does not exist. Give the output_dir of a finished run.")


def read_summary(folder: Path) -> "RunSummary":
    """The summary of a finished run, with everything that asking again needs.

    Raises:
        ValueError: the run has not ended, or its summary is torn, of another schema, or lacks an option.
    """
    from ..report.summary import SUMMARY_FILE, RunSummary
    from .output import CONFIG_FILE

    if not (folder / SUMMARY_FILE).exists():
        hint = "its run has not ended: repeat the `semantic-trainer run` command that began it, with --resume"
        if not (folder / CONFIG_FILE).exists():
            hint = "no run has written there: give the output_dir of a finished run"
        raise ValueError(f"RUN_DIR {str(folder)!r} holds no {SUMMARY_FILE}; {hint}.")
    try:
        summary = RunSummary.load(folder)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{folder / SUMMARY_FILE} is torn ({error}). Copy the run again, whole.") from error
    missing = [name for name in NEEDED if name not in summary.config]
    if missing:
        raise ValueError(f"{folder / SUMMARY_FILE} does not say how the run asked: its config lacks {missing}.")
    return summary


def check_adapter(folder: Path, arm: str) -> None:
    """Raise a `ValueError` where an adapter's files are missing or torn."""
    from safetensors import SafetensorError, safe_open

    config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    fix = "Copy the run again, whole, or repeat it with --overwrite."
    for file in (config, weights):
        if not file.is_file():
            raise FileNotFoundError(f"the {arm} adapter lacks its file {str(file)!r}. {fix}")
    try:
        json.loads(config.read_text(encoding="utf-8"))["peft_type"]
        with safe_open(weights, "np"):
            pass
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"the {arm} adapter in {str(folder)!r} is torn ({error}). {fix}") from error


def find_base(model: str, revision: str | None) -> str:
    """The folder or Hub id to load the base from; its weights are not read yet.

    Raises:
        FileNotFoundError: it is not there, or no longer.
    """
    from transformers import AutoConfig

    from ..models import resolve_model

    try:
        source = resolve_model(model)
        AutoConfig.from_pretrained(source, revision=revision)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise FileNotFoundError(
            f"the run's base model {model!r} cannot be found ({reason}) A relative path counts from the folder you "
            "are in: ask from where the run was started, or say where the model is with --model DIR."
        ) from error
    return source


def read_targets(folder: Path) -> dict[str, str]:
    """Prompts and paraphrases of the facts taught -> target; without facts.parquet none, and a warning."""
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(folder / "facts.parquet").to_pylist()
    except (OSError, ValueError) as error:
        logger.warning("facts.parquet cannot be read, so no targets are shown: %s", error)
        return {}
    asked = {text.strip(): row["target"] for row in rows for text in row.get("paraphrases") or ()}
    return asked | {row["prompt"].strip(): row["target"] for row in rows}


def load_run(
    folder: Path, arms: tuple[str, ...], max_new_tokens: int | None = None, base: str | None = None
) -> LoadedRun:
    """Check a finished run's folder, then load its base, adapters and prompt format."""
    from ..answers.decoding import GenerationSettings
    from ..models import choose_dtype, load_model
    from .run import ANSWER_DTYPE

    config = read_summary(folder).config
    settings = GenerationSettings(config["max_new_tokens"] if max_new_tokens is None else max_new_tokens, ANSWER_DTYPE)
    for arm in arms:
        check_adapter(folder / PLACES[arm], arm)
    source = find_base(base or config["model"], config["revision"])
    if settings.max_new_tokens != config["max_new_tokens"]:
        logger.warning(
            "max_new_tokens is %d here and was %d in the run: these answers follow another protocol than its scores",
            settings.max_new_tokens,
            config["max_new_tokens"],
        )
    model, tokenizer = load_model(source, choose_dtype(config["dtype"], base_frozen=True), config["revision"])
    tuned = add_adapters(model, folder, arms, bool(config.get("use_cpu")))
    return LoadedRun(tuned, tokenizer, run_format(config, tokenizer), settings, arms, read_targets(folder))


def add_adapters(model: object, folder: Path, arms: tuple[str, ...], use_cpu: bool) -> object:
    """The base on the device that training would take, with one adapter an arm."""
    from accelerate import PartialState
    from peft import PeftModel

    model.to(PartialState(cpu=use_cpu).device)
    try:
        tuned = PeftModel.from_pretrained(model, folder / PLACES[arms[0]], adapter_name=arms[0])
        for arm in arms[1:]:
            tuned.load_adapter(folder / PLACES[arm], adapter_name=arm)
    except RuntimeError as error:  # tensors of another shape
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"the adapters in {str(folder)!r} do not fit this base model: {reason}") from error
    return tuned


def run_format(config: Mapping[str, object], tokenizer: object) -> "PromptFormat":
    """The run's prompt format. Its text is the one written down: a chat template may have changed, or hold a date."""
    from ..facts.prompts import PromptFormat, parse_shots

    shots = parse_shots(config["shots"])
    form = PromptFormat.resolve(config["prompt_format"], (), tokenizer, config["system_prompt"], shots)
    prefix, _, suffix = config["prompt_text"].rpartition("{prompt}")
    return replace(form, prefix=prefix, suffix=suffix)


def ask(run: LoadedRun, questions: Sequence[str]) -> dict[str, dict[str, str]]:
    """Who answers -> question -> answer, cut as the run cuts it, with "…" where max_new_tokens ended it.

    Not through the store of answers: a look-up there hashes all weights, which takes longer than a short answer
    wherever a model is large, and would show what was said once rather than what the adapter on disk says.
    """
    from ..answers.decoding import greedy_answers
    from ..answers.stage import adapters_off

    said: dict[str, dict[str, str]] = {}
    for who in (BASE, *run.arms):
        if who != BASE:
            run.model.set_adapter(who)
        with adapters_off(run.model) if who == BASE else nullcontext():
            chunks = greedy_answers(run.model, run.tokenizer, questions, run.form, run.settings)
            answers = [pair for chunk in chunks for pair in chunk]
        said[who] = {question: answer.text + " …" * answer.truncated for question, answer in answers}
    return said


def show(run: LoadedRun, questions: Sequence[str], said: Mapping[str, Mapping[str, str]]) -> None:
    """One row a question; the target where one of them was taught."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ..evaluation.evaluator import protocol_name

    known = any(question in run.targets for question in questions)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), leading=1, caption=protocol_name(run.form, run.settings))
    for name in ("question", *said, *(["target"] if known else [])):
        table.add_column(name, overflow="fold")
    for question in questions:
        cells = [question, *(answers[question] or "(empty)" for answers in said.values())]
        table.add_row(*map(escape, cells + ([run.targets.get(question, "–")] if known else [])))
    Console().print(table)


def converse(run: LoadedRun) -> None:
    """Read a question, answer it, until ctrl-D. One that is too long does not end the conversation."""
    while True:
        try:
            question = input("question> ").strip()
        except EOFError:
            print()
            return
        if not question:
            continue
        try:
            show(run, [question], ask(run, [question]))
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
