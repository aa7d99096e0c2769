"""`semantic-trainer COMMAND`: finds the command and turns what a user did wrong into one clear sentence."""

import argparse
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module

from .commands import COMMANDS
from .commands.terminal import PrintableFormatter, printable
from .distribution import FirstProcessError, world_size
from .files import disk_trouble

# What a user can cause; anything else is our mistake and keeps its traceback.
USER_ERRORS = (ValueError, TypeError, OSError, ImportError)
BOOLEANS = ("true", "t", "yes", "y", "1", "false", "f", "no", "n", "0")
KEPT = ("run", "distances", "budget", "filter", "study")  # commands that go on from what they have finished


def build_parser() -> argparse.ArgumentParser:
    """The outer parser: only the command's name; its own options are parsed once it is known."""
    from . import __version__

    lines = "\n".join(f"  {name:<11}{text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="semantic-trainer",
        description="Teach facts to a language model with an adapter, and prove what was learnt.",
        epilog=f"commands:\n{lines}\n\nsemantic-trainer COMMAND --help lists a command's options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=", ".join(COMMANDS))
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def quiet_libraries() -> None:
    """Hide two warnings a user of the command line can do nothing about; in a script they stay."""
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*pin_memory.*", category=UserWarning)


def explain(error: Exception, go_on: str) -> str | None:
    """One sentence for what a user or a disk caused; `None` for our own mistakes."""
    plain = isinstance(error, OSError) and error.strerror and error.filename is None
    words = " ".join((error.strerror if plain else str(error)).split())
    if disk_trouble(error):
        return "; ".join(filter(None, (f"the disk is full or cannot be written to: {words}", go_on)))
    return words if isinstance(error, USER_ERRORS) else None


def without_flags(argv: Sequence[str]) -> Iterator[str]:
    """The command line without `--resume` and `--overwrite`, also written with a value, and without a token."""
    value_of_flag = False
    argv = [part for part in argv if not part.startswith("--hub_token=")]
    tokens = {i + shift for i, part in enumerate(argv) if part == "--hub_token" for shift in (0, 1)}
    for part in (part for i, part in enumerate(argv) if i not in tokens):
        flag = part.partition("=")[0] in ("--resume", "--overwrite")
        if not flag and not (value_of_flag and part.lower() in BOOLEANS):
            yield part
        value_of_flag = flag and "=" not in part


def how_to_go_on(argv: Sequence[str]) -> str:
    """What to type after a command was interrupted or could not write; nothing where nothing is kept."""
    if argv[0] not in KEPT:
        return ""
    resume = ["--resume"] if argv[0] == "run" else []
    options = list(without_flags(argv))
    again = shlex.join(["semantic-trainer", *options, *resume])
    how = f"with: {again}" if world_size() == 1 else " and ".join(["with the same launch", *resume])
    return f"what is finished is kept, go on {how}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 where it ended well, 2 after a user's or a disk's error, 130 after ctrl-C.

    Of several processes the first one speaks, and the others say which they are. `SEMANTIC_TRAINER_DEBUG=1` shows the
    traceback of a user's error.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    command = build_parser().parse_args(argv[:1]).command
    rank = int(os.environ.get("RANK") or 0)
    quiet_libraries()
    logged = logging.StreamHandler()
    logged.setFormatter(PrintableFormatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING if rank == 0 else logging.ERROR, handlers=[logged])
    logging.getLogger("semantic_trainer").setLevel(logging.INFO if rank == 0 else logging.ERROR)
    try:
        return import_module(f".commands.{command}", __package__).main(argv[1:]) or 0
    except KeyboardInterrupt:
        if rank == 0:
            print("; ".join(filter(None, ("\ninterrupted", how_to_go_on(argv)))), file=sys.stderr)
        return 130
    except FirstProcessError:
        return 2  # the first process says why
    except Exception as error:
        sentence = explain(error, how_to_go_on(argv))
        if sentence is None or os.environ.get("SEMANTIC_TRAINER_DEBUG"):
            raise
        who = f" (process {rank})" if rank else ""
        print(f"semantic-trainer {command}{who}: error: {printable(sentence)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
