"""What is shown on a terminal: texts of others as they are, but nothing that commands the terminal."""

import logging
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a wrong option needs no rich
    from rich.console import Console

# Invisible, and part of words: joiners, and the marks of writing from left to right or from right to left.
KEPT = "\n\u200c\u200d\u200e\u200f"
COMMANDS = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control and format characters, surrogates, separators of lines


def printable(text: str) -> str:
    r"""Without characters that could write anywhere on a terminal, or turn what is written around; "�" for each.

    Example:
        >>> printable("a\x1b[2Jb"), printable("東京 🎉\nb")
        ('a�[2Jb', '東京 🎉\nb')
    """
    return "".join("�" if unicodedata.category(c) in COMMANDS and c not in KEPT else c for c in text)


def console() -> "Console":
    """A console of rich that takes every text through `printable`: cells, captions, lines."""
    from rich.console import Console

    class Printable(Console):
        def render_str(self, text: str, **options: object) -> object:
            return super().render_str(printable(text), **options)

    return Printable()


class PrintableFormatter(logging.Formatter):
    """Log lines without control characters: they name files, columns and reasons that others have written."""

    def format(self, record: logging.LogRecord) -> str:
        """As `logging.Formatter`, through `printable`."""
        return printable(super().format(record))
