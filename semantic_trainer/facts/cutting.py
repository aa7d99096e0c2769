"""The cut: which part of an answer or a target is compared and embedded; and when two of them are equal."""

from collections.abc import Iterable

QUOTES = (('"', '"'), ("“", "”"), ("«", "»"))


def _unquoted(text: str, opening: str, closing: str) -> str:
    """The text without the pairs of one kind of quotes around the whole; as it was for `"Emma" and "Persuasion"`."""
    inner = text
    while len(inner) > 1 and inner.startswith(opening) and inner.endswith(closing):
        inner = inner[1:-1].strip()
    return text if {opening, closing} & set(inner) else inner


def cut(text: str) -> str:
    """The part of an answer that is compared and embedded.

    First non-blank line; then, until nothing changes: strip blanks, drop one final ".", drop a pair of quotes
    (" “ ” « ») around the whole.

    Example:
        >>> cut('\\n "Washington D.C.". \\nIt is ...')
        'Washington D.C'
    """
    line = next((line for line in text.split("\n") if line.strip()), "").strip()
    while True:
        shorter = line.removesuffix(".").strip()
        for opening, closing in QUOTES:
            shorter = _unquoted(shorter, opening, closing)
        if shorter == line:
            return line
        line = shorter


def strict(answer: str, target: str, aliases: Iterable[str] = ()) -> bool:
    """Whether the cut answer equals the cut target or one of its aliases (Eq. 2's indicator).

    Example:
        >>> strict(' "Rome".', "Rome"), strict("It is Rome", "Rome")
        (True, False)
    """
    if isinstance(aliases, str):
        raise TypeError(f"`aliases` must be a list of texts, but the text {aliases!r} was passed: [{aliases!r}]")
    return cut(answer) in {cut(target), *map(cut, aliases)}
