"""`semantic-trainer ask`: what the base and the tuned models answer, side by side, asked exactly as the run asked."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from ..facts.messages import suggest
from .finished import PLACES, LoadedRun, check_folder, load_run
from .options import refuse
from .terminal import console as terminal
from .terminal import printable

BASE = "base"


def build_parser() -> argparse.ArgumentParser:
    """The command's options; a wrong one is one sentence, not the whole usage."""
    parser = argparse.ArgumentParser(
        prog="semantic-trainer ask",
        usage="%(prog)s [options] RUN_DIR [QUESTION ...]",
        description="Ask the base and the tuned models of a finished run, exactly as the run asked its facts.",
        epilog="Without a QUESTION, one question a line is read from standard input; ctrl-D ends.",
        allow_abbrev=False,
    )
    # "?", or argparse would call QUESTION required too, and say so of a wrong option; `parse` requires it
    parser.add_argument("run_dir", metavar="RUN_DIR", nargs="?", type=Path, help="The output_dir of a finished run.")
    parser.add_argument("questions", metavar="QUESTION", nargs="*", help="What to ask, each in quotes.")
    parser.add_argument("--arm", choices=PLACES, help="Ask the base and this adapter only; by default both.")
    parser.add_argument(
        "--max_new_tokens", type=int, metavar="N", help="Longest answer in tokens; by default the run's own number."
    )
    parser.add_argument("--model", metavar="DIR", help="Where the run's base model is now, if it has moved.")
    parser.error = refuse
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options; an unknown one is named before a RUN_DIR that is missing."""
    args, unknown = build_parser().parse_known_intermixed_args(list(argv))
    if unknown:
        name = unknown[0].partition("=")[0]
        near = suggest(name.lstrip("-"), ("arm", "max_new_tokens", "model"))
        raise ValueError(f"`{name}` is no option of ask.{near} --help lists them all.")
    if args.run_dir is None:
        raise ValueError("RUN_DIR is missing. Give the output_dir of a finished run; questions may follow it.")
    return args


def main(argv: Sequence[str]) -> int:
    """Parse, check everything that needs no model, load, ask, print."""
    args = parse(argv)
    check_folder(args.run_dir)
    interactive = not args.questions and sys.stdin is not None and sys.stdin.isatty()
    questions = [] if interactive else check_questions(args.questions or read_lines(sys.stdin), args.questions)
    run = load_run(args.run_dir, (args.arm,) if args.arm else tuple(PLACES), args.max_new_tokens, args.model)
    if interactive:
        converse(run)
    else:
        show(run, questions, ask(run, questions))
    return 0


def read_lines(file: TextIO | None) -> list[str]:
    """The lines of standard input, without a byte order mark; none where it is closed."""
    try:
        return file.read().removeprefix("\ufeff").splitlines() if file is not None else []
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 ({error.reason} at byte {error.start})"
        raise ValueError(f"standard input {what}. Save the questions as UTF-8.") from error


def check_utf8(question: str) -> None:
    """Raise a `ValueError` where a byte that is not UTF-8 is left of what was typed; no tokenizer takes it."""
    try:
        question.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"QUESTION {question!r} is not UTF-8. Write it as UTF-8, or leave that byte out.") from error


def check_questions(lines: Sequence[str], on_command_line: Sequence[str]) -> list[str]:
    """Each question once, in order. Blank lines of a file are skipped, a blank argument is a mistake."""
    questions = list(dict.fromkeys(line.strip() for line in lines if line.strip() or on_command_line))
    if not questions:
        raise ValueError("standard input holds no question. Write one a line, or give them after RUN_DIR.")
    if "" in questions:
        raise ValueError('a QUESTION is empty. Give a text in quotes, as in: "Who leads Orlent Optics?"')
    for question in questions:
        check_utf8(question)
    return questions


def ask(run: LoadedRun, questions: Sequence[str]) -> dict[str, dict[str, str]]:
    """Who answers -> question -> answer, cut as the run cuts it, with "…" where max_new_tokens ended it.

    Not through the store of answers: a look-up there hashes all weights, which takes longer than a short answer
    wherever a model is large, and would show what was said once rather than what the adapter on disk says.
    """
    from ..answers.decoding import greedy_answers

    said: dict[str, dict[str, str]] = {}
    for who in (BASE, *run.arms):
        with run.answering(None if who == BASE else who) as model:
            chunks = greedy_answers(model, run.tokenizer, questions, run.form, run.settings)
            answers = [pair for chunk in chunks for pair in chunk]
        said[who] = {question: answer.text + " …" * answer.truncated for question, answer in answers}
    return said


def show(run: LoadedRun, questions: Sequence[str], said: Mapping[str, Mapping[str, str]]) -> None:
    """One row a question; the target where one of them was taught."""
    from rich.box import SIMPLE_HEAD
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
    terminal().print(table)


def converse(run: LoadedRun) -> None:
    """Read a question, answer it, until ctrl-D. One that is too long does not end the conversation."""
    while True:
        try:
            question = input("question> ").strip()
        except EOFError:
            print()
            return
        except UnicodeDecodeError as error:
            print(f"error: the question is not UTF-8 ({error.reason}); write it again", file=sys.stderr)
            continue
        if not question:
            continue
        try:
            check_utf8(question)
            show(run, [question], ask(run, [question]))
        except ValueError as error:
            print(f"error: {printable(str(error))}", file=sys.stderr)
