"""Strange texts in Markdown: shown as they are, so that none breaks a table, opens HTML or hides what stands there."""

import html
import re
import unicodedata

SPECIAL = re.compile(r"([\\`*\[\]|~$]|(?<!\w)_|_(?!\w))")
JOINERS = "\u200c\u200d"  # invisible too, but part of words
WIDTH = 120


def as_text(value: object, width: int = WIDTH) -> str:
    r"""One line of a Markdown text or table cell: no markup, no HTML, no invisible characters, cut to `width`.

    Example:
        >>> as_text("a|b <script>\n*c*")
        'a\\|b &lt;script&gt; \\*c\\*'
    """
    visible = "".join(" " if unicodedata.category(c)[0] in "CZ" and c not in JOINERS else c for c in str(value))
    short = " ".join(visible.split())
    short = short if len(short) <= width else short[: width - 1] + "…"
    return SPECIAL.sub(r"\\\1", html.escape(short, quote=False))


def as_answer(value: str | None) -> str:
    """An answer in a table; that it is empty is said."""
    return as_text(value) or "*(empty)*"


def as_code(text: object) -> str:
    """A name between backticks, whatever it holds."""
    return f"`{' '.join(str(text).replace('`', chr(39)).split())}`".replace("|", "\\|")


def as_block(text: str, language: str = "") -> str:
    """A fenced block that the text cannot end."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
