"""`semantic-trainer COMMAND`: finds the command and turns what a user did wrong into one clear sentence."""

import argparse
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from .commands import COMMANDS

# What a user can cause; anything else is our mistake and keeps its traceback.
USER_ERRORS = (ValueError, TypeError, OSError, ModuleNotFoundError)


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 where it ended well, 2 after a user's error, 130 after ctrl-C.

    `SEMANTIC_TRAINER_DEBUG=1` shows the traceback of a user's error.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    command = build_parser().parse_args(argv[:1]).command
    quiet_libraries()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("semantic_trainer").setLevel(logging.INFO)
    try:
        return import_module(f".commands.{command}", __package__).main(argv[1:]) or 0
    except KeyboardInterrupt:
        kept = [option for option in argv if option not in ("--overwrite", "--resume")]
        again = shlex.join(["semantic-trainer", *kept, "--resume"])
        print(f"\ninterrupted; go on with: {again}" if command == "run" else "\ninterrupted", file=sys.stderr)
        return 130
    except USER_ERRORS as error:
        if os.environ.get("SEMANTIC_TRAINER_DEBUG"):
            raise
        print(f"semantic-trainer {command}: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
