"""Datasets on the Hub as sources: `ORG/NAME`, `ORG/NAME:SPLIT`, `ORG/NAME/CONFIG`, `ORG/NAME/CONFIG:SPLIT`."""

import logging
import re

from datasets import Dataset, DatasetDict

from .messages import readable, suggest

logger = logging.getLogger(__name__)
SOURCE = re.compile(r"(?P<name>[\w.-]+/[\w.-]+?)(?:/(?P<config>[\w.-]+))?(?::(?P<split>\w[\w.-]*))?")
# A name that ends like this, or starts like a path, is a file that does not exist, never a dataset.
FILE_ENDINGS = (".json", ".jsonl", ".csv", ".parquet", ".gz", ".tsv", ".txt", ".xlsx", ".zip", ".arrow", ".yaml")


def parse_hub_source(source: str) -> tuple[str, str | None, str | None] | None:
    """`"ORG/NAME/CONFIG:SPLIT"` -> name, config and split; `None` where it looks like a file.

    Example:
        >>> parse_hub_source("azhx/counterfact:test"), parse_hub_source("data/facts.json")
        (('azhx/counterfact', None, 'test'), None)
    """
    match = SOURCE.fullmatch(source)
    if not match or source.startswith((".", "/", "~")) or source.lower().endswith(FILE_ENDINGS):
        return None
    return match["name"], match["config"], match["split"]


def _explain(error: Exception, name: str) -> str:
    """What went wrong, and what to do, in one sentence."""
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled

    text = " ".join(str(error.__cause__ if isinstance(error, DatasetGenerationError) else error).split())
    if isinstance(error, GatedRepoError) or "is a gated dataset" in text:
        return "it is gated: ask for access on its page, then log in with `hf auth login`"
    if isinstance(error, DatasetNotFoundError):
        return "there is no such file here and no such dataset on the Hub, or it is private: check the name, or log in"
    if "Dataset scripts are no longer supported" in text:
        return "it needs a loading script, which is not run: use a copy of it in Parquet, or download and convert it"
    if "Config name is missing" in text or "BuilderConfig" in text:
        return f"{text.partition(' Example')[0]}; name a config as {name}/CONFIG"
    if isinstance(error, (ConnectionError, OfflineModeIsEnabled)):
        return f"there is no such file here, and the Hub was not reached ({text}): correct the path, or go online"
    return f"{text}: if its files are of another kind, download and convert them, and give the file"


def _one_split(splits: DatasetDict, source: str, name: str, split: str | None) -> Dataset:
    """The split that was named, the only one, or `train`."""
    names = list(splits)
    if split is not None and split not in names:
        raise ValueError(
            f"`source` {source!r} has no split {split!r}; found {readable(names)}.{suggest(split, names)} "
            f"Name one of them: {name}:{names[0]}"
        )
    if split is None and len(names) > 1:
        if "train" not in names:
            raise ValueError(
                f"`source` {source!r} has the splits {readable(names)} and none called train. Name one of them: "
                f"{name}:{names[0]}"
            )
        logger.info("%s: the split train of %s is read; %s:SPLIT names another", source, readable(names), name)
    return splits[split or ("train" if len(names) > 1 else names[0])]


def open_hub(source: str) -> Dataset:
    """A dataset on the Hub, downloaded into the cache of `datasets`; in a job, by the first process of a node.

    Raises:
        ValueError: it is not there, gated, not reached, needs a loading script, or the config or split is missing.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    from ..distribution import local_main_first

    name, config, split = parse_hub_source(source)
    try:
        with local_main_first():
            splits = load_dataset(name, config)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        raise ValueError(f"`source` {source!r} could not be loaded: {_explain(error, name)}.") from error
    return _one_split(splits, source, f"{name}/{config}" if config else name, split)
