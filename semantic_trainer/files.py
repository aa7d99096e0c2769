"""Where the cache is, and how every file of ours is written: whole or not at all."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """`$SEMANTIC_TRAINER_CACHE`, by default `~/.cache/semantic-trainer`."""
    return Path(os.environ.get("SEMANTIC_TRAINER_CACHE") or Path.home() / ".cache" / "semantic-trainer").expanduser()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: a temporary file beside it, then `os.replace`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
