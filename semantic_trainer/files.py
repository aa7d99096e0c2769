"""Where the cache is, and how every file of ours is written: whole or not at all, and nothing left lying about."""

import errno
import os
import platform
import re
import shutil
from pathlib import Path

SUFFIX = ".tmp"
CACHE_FIX = "Set SEMANTIC_TRAINER_CACHE to a folder you may write to."


def cache_dir() -> Path:
    """`$SEMANTIC_TRAINER_CACHE`, by default `~/.cache/semantic-trainer`."""
    folder = os.environ.get("SEMANTIC_TRAINER_CACHE") or Path.home() / ".cache" / "semantic-trainer"
    try:
        return Path(folder).expanduser()
    except RuntimeError as error:  # ~somebody who is not there
        raise ValueError(f"SEMANTIC_TRAINER_CACHE {str(folder)!r}: {error} Give a folder that exists.") from error


def temporary_path(path: Path) -> Path:
    """A hidden name beside `path` that tells which process of which machine is writing: see `sweep`."""
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}{SUFFIX}")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: a temporary file beside it, then `os.replace`.

    Raises:
        OSError: the file cannot be written; the message names it and says why. What was there before stays.
    """
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"cannot write {str(path)!r}: {error.strerror or error}") from error


def place_atomically(source: Path, path: Path) -> None:
    """Have a file at `path` too, whole or not at all: a link to the same bytes where the disk can, else a copy.

    Raises:
        OSError: the file cannot be written.
    """
    temporary = temporary_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        try:
            os.link(source, temporary)
        except OSError:  # another disk, or one without links
            shutil.copyfile(source, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path, recursive: bool = False) -> None:
    """Delete temporary files and folders whose process was killed before it could; those of live processes stay."""
    import psutil

    name = re.compile(rf"\..+\.{re.escape(platform.node())}\.(\d+){re.escape(SUFFIX)}")
    for path in list(folder.rglob(f".*{SUFFIX}") if recursive else folder.glob(f".*{SUFFIX}")):
        match = name.fullmatch(path.name)
        if match and (int(match[1]) == os.getpid() or not psutil.pid_exists(int(match[1]))):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)  # another process may be sweeping too
            else:
                path.unlink(missing_ok=True)


def check_writable(folder: Path, argument: str, fix: str) -> None:
    """Raise an `OSError`, before any work, where files cannot be made in `folder` or below its nearest parent."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    where = f"{argument} {str(folder)!r}: {str(existing)!r}"
    if not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{where} is a file. {fix}")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"{where} cannot be written to. {fix}")


def disk_trouble(error: BaseException) -> bool:
    """Whether an error says that a disk is full or cannot be written to, whichever library raised it."""
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    if isinstance(error, OSError) and error.errno in codes:
        return True
    # safetensors quotes the system's words in an error of its own; torch.save may say no more than where it was.
    return any(sign in str(error) for sign in (*map(os.strerror, codes), "inline_container.cc", "iostream error"))
