"""No secret and no path of this machine leaves it: every file is searched before anything is sent."""

import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..files import cache_dir
from .plan import Upload, is_path

# Shapes of tokens that services give out, and keys.
TOKEN = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}|\bapi_org_[A-Za-z0-9]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}"
    r"|\bsk-[\w-]{20,}|\bAKIA[0-9A-Z]{16}\b|\bxox[abprs]-[\w-]{10,}|\bglpat-[\w-]{16,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
SECRET_NAME = re.compile(
    r"TOKEN(?!IZER)|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY", re.IGNORECASE
)
SHORTEST = 8  # a shorter value of a variable called so is no secret, but a word like "true"
QUOTING = (".examples[", "facts.relations")  # keys of a summary that hold the facts' own words
# With blanks in it, of an option: a sentence may look like that
SPACED_PATH = re.compile(r"(?:~|/|[A-Za-z]:\\|\\\\)[^\n\0]*[\\/][^\n\0]*")
ROOTS = re.compile(  # the beginnings of paths that name users or disks
    r"(?<![\w:/.~-])(?:/(?:home|Users|root|tmp|mnt|media|private|scratch)/|[A-Za-z]:\\Users\\)[\w.\\/-]+"
)


class LeakError(ValueError):
    """A file that was to be published holds a secret, or a path of this machine."""


def secrets() -> list[tuple[str, str]]:
    """`(where it is kept, value)` of this user's secrets: variables of the environment, and the tokens `hf` keeps."""
    from huggingface_hub import constants, get_token

    found = [(f"the variable {name}", value) for name, value in os.environ.items() if SECRET_NAME.search(name)]
    found.append(("your token of the Hub", get_token() or ""))
    for file in (constants.HF_TOKEN_PATH, constants.HF_STORED_TOKENS_PATH):
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            continue
        found += [("a token that hf keeps", line.rpartition("=")[2].strip()) for line in lines if line[:1] != "["]
    return [(where, value) for where, value in found if len(value) >= SHORTEST]


def places(folder: Path) -> list[str]:
    """Paths of this machine that say who works where: the run's folder, the home, caches."""
    from huggingface_hub import constants

    known = {
        folder.resolve(),
        Path.home(),
        Path.cwd(),
        Path(tempfile.gettempdir()),
        cache_dir(),
        Path(constants.HF_HOME),
    }
    return sorted((str(path) for path in known if len(path.parts) > 1), key=len, reverse=True)


def texts(file: Upload) -> Iterator[tuple[str, str]]:
    """`(key, text)` of everything in a file that is no number: of JSON value by value, of Parquet cell by cell, of
    safetensors the header, else line by line.
    """
    if file.path.endswith(".safetensors"):
        yield "its header", safetensors_header(file).decode("latin-1")
        return
    data = file.read()
    if file.path.endswith(".json"):
        yield from _values(json.loads(data), "")
    elif file.path.endswith(".parquet"):
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(io.BytesIO(data))
        yield from _values(json.loads(json.dumps(table.to_pylist(), default=str)), "")
        yield from _values({str(k): str(v) for k, v in (table.schema.metadata or {}).items()}, "metadata")
    elif file.path.endswith(".png"):
        yield "bytes", data.decode("latin-1")
    else:
        for i, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            yield f"line {i}", line


def safetensors_header(file: Upload) -> bytes:
    """Names and metadata of the tensors, without their numbers; of what is no such file everything.

    The first 8 bytes say how long it is.
    """
    with io.BytesIO(file.content) if isinstance(file.content, bytes) else file.content.open("rb") as data:
        length = int.from_bytes(data.read(8), "little")
        return data.read(length) if length < file.size else file.read()


def _values(value: object, key: str) -> Iterator[tuple[str, str]]:
    """Every text within a JSON value, and the names of its entries, under the key that leads there."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield f"a name in {key or 'the file'}", name  # which is not repeated: it may be what is looked for
            yield from _values(entry, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for i, entry in enumerate(value):
            yield from _values(entry, f"{key}[{i}]")
    elif isinstance(value, str):
        yield key, value


def check_leaks(files: Sequence[Upload], folder: Path) -> None:
    """Search everything that is to be sent, the names of the files too; of weights all but the numbers.

    Args:
        files: what is to be published.
        folder: where they lie, a path that none of them may hold.

    Raises:
        LeakError: naming file and key, never the secret itself.
    """
    known, roots = secrets(), places(folder)
    for file in files:
        free = file.quotes or file.path.endswith((".safetensors", ".png", ".parquet"))
        if leak(file.path, known, roots):
            raise LeakError(
                "a file was not published: its name holds a secret or a path. Nothing was sent. Rename it."
            )
        for key, text in texts(file):
            what = leak(text, known, roots, free or any(part in key for part in QUOTING))
            if what:
                raise LeakError(
                    f"{file.path} was not published: {key} holds {what}. Nothing was sent. Take it out of the run, "
                    "or of the options it was made with, and push again."
                )


def leak(text: str, known: Sequence[tuple[str, str]], roots: Sequence[str], free: bool = False) -> str | None:
    """What must not go out in a text, in words; `None` where nothing.

    Args:
        free: the text is a question, an answer or bytes, which may look like a path and be none of this machine.
    """
    for where, value in known:
        if value in text:
            return f"a secret ({where})"
    if TOKEN.search(text):
        return "what looks like a token or a private key"
    for root in roots:
        if root in text and re.search(rf"(?<![\w.-]){re.escape(root)}(?![\w.-])", text):
            return "a path of this machine"
    if not free and (is_path(text) or ROOTS.search(text)):
        return "a path of this machine"
    return None


def without_paths(value: object) -> object:
    """The same JSON value, every text that is a path cut to its last part.

    Example:
        >>> without_paths({"facts": ["/data/mine.jsonl", "org/name"]})
        {'facts': ['mine.jsonl', 'org/name']}
    """
    if isinstance(value, dict):
        return {name: without_paths(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [without_paths(entry) for entry in value]
    if not isinstance(value, str) or not (is_path(value) or SPACED_PATH.fullmatch(value)):
        return value
    return re.split(r"[\\/]", value.rstrip("\\/"))[-1]
