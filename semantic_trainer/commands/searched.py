"""Which search a folder holds, so that another one does not take it over."""

import json
from collections.abc import Mapping
from pathlib import Path

from ..files import write_atomically
from ..report.summary import SUMMARY_FILE
from ..study.arms import PLAIN, parse_arm
from ..study.results import differences, read_result
from ..study.settings import Setting, pool_hash
from ..study.worker import quietly

SEARCH_FILE = "search.json"
NAME = "budget"
TRIED = ("learning_rates", "batch_sizes", "ranks", "seconds")
VARIED = (  # what the runs of one search differ in
    *("learning_rate", "per_device_train_batch_size", "num_train_epochs"),
    *("lora_r", "lora_alpha", "weighting", "seed"),
)
Search = Mapping[str, object]


def describe_search(setting: Setting, data_dir: str | None, threads: int, tried: Search) -> dict[str, object]:
    """Everything that decides a search: the options of its runs, its facts, and what is tried.

    Args:
        tried: `weighting`, and those of `TRIED`.
    """
    with quietly():  # what there is to say of the facts has been said
        facts = pool_hash(setting.read_pool(data_dir))
    config = setting.config(setting.draws[0], parse_arm(PLAIN), facts, threads)
    return json.loads(json.dumps(config | dict(tried)))


def check_search(folder: Path, wanted: Search) -> None:
    """Refuse a folder of something else; a search that was interrupted or has ended goes on.

    Raises:
        ValueError: it holds a run, or a search with other options.
    """
    if (folder / SUMMARY_FILE).exists():
        raise ValueError(f"`output_dir` {str(folder)!r} holds a run ({SUMMARY_FILE}). Choose another `output_dir`.")
    differs = differences(*_compared(folder, wanted))
    if differs:
        raise ValueError(
            f"`output_dir` {str(folder)!r} holds another search: {', '.join(differs)}. Choose another `output_dir`."
        )


def write_search(folder: Path, search: Search) -> None:
    """Have the folder be this search's from here on."""
    write_atomically(folder / SEARCH_FILE, (json.dumps(search, indent=1, ensure_ascii=False) + "\n").encode())


def _compared(folder: Path, wanted: Search) -> tuple[Search, Search]:
    """Two configs that must be the same: of the search that is there, or of its first run where it says no more."""
    path = folder / SEARCH_FILE
    if path.exists():
        return _read_search(path), wanted
    first = next(iter(sorted((folder / NAME).glob("*/*.json"))), None)
    if first is None:
        return {}, {}
    held = {name: value for name, value in read_result(first)["config"].items() if name not in VARIED}
    return held, {name: value for name, value in wanted.items() if name not in (*VARIED, *TRIED)}


def _read_search(path: Path) -> dict[str, object]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        held = None
    if not isinstance(held, dict):
        raise ValueError(f"{str(path)!r} does not say which search this is. Choose another `output_dir`.")
    return held
