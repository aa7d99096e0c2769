"""What is taken from the Hub: files of known names and safe kinds, all of one commit, and nothing else."""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from .plan import ADAPTER, FACTS, MODEL
from .trouble import PULL, explained
from .upload import check_repo_id

logger = logging.getLogger(__name__)
SUMMARY, CARD = "semantic_summary.json", "README.md"
# Kinds of files that can run code when they are read.
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".msgpack", ".h5")
LARGEST = {
    SUMMARY: 16_000_000,
    FACTS[0]: 4_000_000_000,
    CARD: 4_000_000,
    "adapter_config.json": 1_000_000,
    "config.json": 1_000_000,
}
LONGEST_NAME = 500


@dataclass(frozen=True)
class Pulled:
    """What `pull` brought.

    Attributes:
        folder: holds the files, in the cache of `huggingface_hub`.
        commit: which one it is of.
    """

    folder: Path
    commit: str


def pull(repo_id: str, revision: str | None = None, token: str | None = None) -> Pulled:
    """Fetch a published adapter or model, its summary, its card and, where they are there, its facts.

    Every name in the repository is looked at before anything is fetched. Weights are taken as safetensors alone;
    scripts, pickles and files of unknown names stay where they are. A second call fetches what is missing.

    Args:
        revision: branch, tag or commit; `None` is main.

    Raises:
        ValueError: a bad `repo_id`, a name that leads out of the repository, weights that are a pickle, a file that is
            too large for what it is, or no summary.
        HubError: the Hub refused or was not reached; in one sentence what happened and what to do.

    Example:
        >>> (pull("org/demo").folder / "adapter_model.safetensors").is_file()
        True
    """
    from huggingface_hub import HfApi

    check_repo_id(repo_id)
    api = HfApi(token=token)
    with explained(repo_id, revision, PULL):
        info = api.model_info(repo_id, revision=revision, files_metadata=True)
    sizes = {str(entry.rfilename): entry.size for entry in info.siblings or ()}
    names = choose(sizes, repr(repo_id))
    for name in names:
        check_size(name, sizes[name] or 0, f"{repo_id!r}")
    with explained(repo_id, revision, PULL):
        found = [Path(api.hf_hub_download(repo_id, name, revision=info.sha)) for name in names]
    for name, path in zip(names, found, strict=True):
        check_size(name, path.stat().st_size, f"{repo_id!r}")
    return Pulled(found[0].parent, info.sha)


def choose(names: Iterable[str], where: str) -> list[str]:
    """The files to take, the summary first.

    Args:
        names: of all files there are.
        where: names the repository or folder in errors.

    Raises:
        ValueError: a name leads out of the repository, the weights are a pickle or missing, or there is no summary.

    Example:
        >>> choose(["adapter_config.json", "adapter_model.safetensors", "semantic_summary.json", "run.py"], "'org/x'")
        ['semantic_summary.json', 'adapter_config.json', 'adapter_model.safetensors']
    """
    names = list(names)
    for name in names:
        if not is_safe(name):
            raise ValueError(
                f"{where} holds a file of the name {name[:LONGEST_NAME]!r}, which leads out of its folder or cannot "
                "be printed: nothing of it is read."
            )
    if SUMMARY not in names:
        raise ValueError(
            f"{where} holds no {SUMMARY}, so no table was published there that could be checked: it is not from "
            "`semantic-trainer push` or `run`."
        )
    weights = ADAPTER if ADAPTER[0] in names else MODEL
    check_weights(names, weights is ADAPTER, where)
    wanted = (SUMMARY, *weights, CARD, *FACTS)
    return list(dict.fromkeys(name for pattern in wanted for name in names if same_depth(name, pattern)))


def same_depth(name: str, pattern: str) -> bool:
    """Whether a name matches a pattern whose `*` does not reach into folders."""
    return name.count("/") == pattern.count("/") and fnmatch(name, pattern)


def check_weights(names: Sequence[str], adapter: bool, where: str) -> None:
    """Raise a `ValueError` where there are no weights as safetensors; pickles are named, and never opened."""
    pickles = sorted(name for name in names if name.lower().endswith(PICKLES))
    pattern = ADAPTER[1] if adapter else MODEL[0]
    if any(same_depth(name, pattern) for name in names):
        if pickles:
            logger.warning("%s holds %s, which can run code when it is read: it is not opened", where, pickles[0])
        return
    if pickles:
        raise ValueError(
            f"{where} has its weights in {pickles[0]}, a pickle, which can run any code when it is read: it is not "
            "opened. Ask its owner for safetensors."
        )
    raise ValueError(f"{where} holds no {pattern}: there are no weights to score.")


def is_safe(name: str) -> bool:
    """Whether a file's name stays within its folder, on any system, and can be printed.

    Example:
        >>> is_safe("figures/distances.png"), is_safe("../x"), is_safe("/etc/passwd"), is_safe("C:x")
        (True, False, False, False)
    """
    parts = name.split("/")
    return (
        0 < len(name) <= LONGEST_NAME
        and name.isprintable()
        and not re.search(r"[\\:]", name)
        and not PurePosixPath(name).is_absolute()
        and not any(part in ("", ".", "..") for part in parts)
    )


def check_size(name: str, size: int, where: str) -> None:
    """Raise a `ValueError` where a text is far larger than any that `run` writes."""
    largest = LARGEST.get(name)
    if largest is not None and size > largest:
        raise ValueError(f"{name} of {where} has {size:,} bytes, and would have at most {largest:,}: it is not read.")


def local_files(folder: Path) -> list[str]:
    """The names of a folder's own files, checked as those of a repository are; the files to read.

    Raises:
        ValueError: as `choose`, and where a file is too large.
    """
    names = choose((path.name for path in folder.iterdir() if path.is_file()), repr(str(folder)))
    for name in names:
        check_size(name, (folder / name).stat().st_size, repr(str(folder)))
    return names
