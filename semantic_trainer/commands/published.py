"""A published adapter, or a run's folder, opened: its files checked, its summary read, its facts found."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..hub.checks import check_summary, read_json
from ..hub.configs import check_adapter_config, check_index
from ..hub.plan import ADAPTER
from ..hub.pull import SUMMARY, local_files, pull
from ..hub.upload import check_repo_id
from .finished import PLACES

if TYPE_CHECKING:  # a wrong option needs none of them
    from datasets import Dataset

    from ..report.summary import RunSummary

logger = logging.getLogger(__name__)
AGAIN = "Ask its owner to publish it again, whole."
FACTS, CONFIG, INDEX = "facts.parquet", ADAPTER[0], "model.safetensors.index.json"


@dataclass(frozen=True)
class Published:
    """What somebody published.

    Attributes:
        name: what to call it.
        folder: holds summary, card and facts.
        weights: holds the adapter or model; another one for the plain arm of a run's own folder.
        from_hub: whether it was pulled: no path in it is followed then.
    """

    name: str
    folder: Path
    weights: Path
    summary: "RunSummary"
    arm: str
    from_hub: bool

    @property
    def full(self) -> bool:
        """Whether all weights of a model were tuned."""
        return self.summary.config.get("method") == "full"


def open_published(source: str, revision: str | None = None, arm: str | None = None) -> Published:
    """Pull it or find it here, and check everything that needs no model.

    Args:
        source: ORG/NAME, or a folder.
        arm: `weighted` or `plain`; `None` is the one that was published, of a run's own folder the weighted one.

    Raises:
        FileNotFoundError, ValueError: no such folder; names, kinds of files, a summary or a config that are refused.
        HubError: the Hub refused or was not reached.
    """
    here = Path(os.path.expanduser(source))
    local = here.is_dir()
    if not local and (here.exists() or source.startswith((".", "/", "~")) or source.count("/") != 1):
        raise FileNotFoundError(
            f"`--adapter` {source!r} is no folder that there is, and not ORG/NAME on the Hub. Give one of the two."
        )
    if not local:
        check_repo_id(source, "--adapter")
    if local and revision is not None:
        raise ValueError(f"`--revision` is of a repository, but `--adapter` {source!r} is a folder. Leave it out.")
    if local:
        local_files(here)
    folder = here if local else pull(source, revision).folder
    summary = read_summary(folder / SUMMARY, f"{SUMMARY} of {source!r}")
    arm = choose_arm(summary, arm, source)
    run = local and not summary.environment.get("published")  # as `run` left it: one folder an arm
    published = Published(source, folder, folder / PLACES[arm] if run else folder, summary, arm, not local)
    check_files(published)
    return published


def read_summary(path: Path, where: str) -> "RunSummary":
    """A summary that somebody else may have written, of the right types, or a `ValueError`."""
    from ..evaluation.evaluator import METRICS
    from ..report.summary import SCHEMA_VERSION, RunSummary

    data = read_json(path, where)
    if data.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"{where} is not of schema_version {SCHEMA_VERSION}, which this version reads.")
    check_summary(data, where, METRICS)
    return RunSummary.load(path.parent)


def choose_arm(summary: "RunSummary", arm: str | None, name: str) -> str:
    """Which of the table's arms the weights are."""
    said = (summary.environment.get("published") or {}).get("arm")
    if arm and said and arm != said:
        raise ValueError(f"`--arm` {arm!r}: {name!r} is the {said} adapter of its run. Leave the option out.")
    chosen = arm or said or "weighted"
    if chosen not in PLACES or chosen not in summary.runs:
        raise ValueError(f"{SUMMARY} of {name!r} has no table of the arm {chosen[:20]!r}.")
    return chosen


def check_files(published: Published) -> None:
    """Check the weights' files and configs; whether they are those that were published is not asked here."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    from ..tuners.methods import CONFIGS
    from ..tuners.saved import check_saved_adapter
    from .finished import check_model

    if published.full:
        check_model(published.weights, published.arm)
        read_json(published.weights / "config.json", f"config.json of {published.name!r}")
        if (published.weights / INDEX).is_file():
            check_index(published.weights / INDEX, f"{INDEX} of {published.name!r}")
        return
    where = f"{CONFIG} of {published.name!r}"
    if (published.weights / CONFIG).is_file():
        kinds = tuple(
            str(getattr(name, "value", name))
            for name, kind in PEFT_TYPE_TO_CONFIG_MAPPING.items()
            if kind in CONFIGS.values()
        )
        check_adapter_config(read_json(published.weights / CONFIG, where), kinds, where)
    with loading(f"the weights of {published.name!r}"):
        check_saved_adapter(published.weights, None, f"{published.arm} adapter", AGAIN)


@contextmanager
def loading(what: str, fix: str = AGAIN) -> Iterator[None]:
    """Turn whatever libraries raise at files that make no sense into a `ValueError` that names them.

    Each has exceptions of its own, down to a bare `Exception`; SEMANTIC_TRAINER_DEBUG=1 shows which one it was.
    """
    try:
        with warnings.catch_warnings():  # that the base has another name here, after its weights were compared
            warnings.filterwarnings("ignore", message=".*`base_model_name_or_path` was renamed", category=UserWarning)
            yield
    except (ValueError, OSError, ImportError):  # which speak for themselves
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{what} cannot be loaded ({reason}). {fix}") from error


def find_facts(published: Published, given: Sequence[str], data_dir: str | None) -> "Dataset":
    """The facts that the table is of: those given, those published, or those that the summary names.

    Raises:
        FileNotFoundError, ValueError: they are not found, or are not the run's.
    """
    from ..answers.store import text_hash
    from ..facts.answered import without_answers
    from ..facts.sets import FactsArguments, read_fact_sets
    from ..study.settings import locate

    config, table = published.summary.config, published.folder / FACTS
    options = {name: config[name] for name in ("facts_format", "columns", "split", "limit") if name in config}
    options["facts_seed"] = config.get("facts_seed", FactsArguments.facts_seed)
    if given:
        names, where = locate(given, data_dir), "`--facts`"
    elif table.is_file():
        names, where, options = [str(table)], f"{FACTS} of {published.name!r}", {}
    else:
        names, where = locate(named_facts(published), data_dir), f"{SUMMARY} of {published.name!r}: its fact sets"
    facts = without_answers(read_fact_sets(FactsArguments(facts=names, **options))[0])
    recorded = config.get("facts_hash")
    if recorded is None:
        logger.warning("the summary does not say which facts its table is of, so that these cannot be compared")
    elif text_hash(facts.to_list()) != recorded:
        raise ValueError(
            f"{where}: these are not the facts that the published table is of ({len(facts)} facts, published of "
            f"{published.summary.facts['taught']}; another facts_hash). Give those with --facts."
        )
    return facts


def named_facts(published: Published) -> list[str]:
    """The fact sets that a summary names: built-in ones, datasets on the Hub, bare file names; no paths.

    Raises:
        ValueError: it names a path, which is not followed: somebody else may have written it.
    """
    from ..facts.sources import parse_source
    from ..report.taught import hub_dataset

    for name in (names := published.summary.config["facts"]):
        bare = parse_source(name)[0]
        if bare.startswith("builtin:") or not set("/\\~") & set(bare) or (hub_dataset(bare) and ".." not in bare):
            continue
        raise ValueError(
            f"{published.name!r} publishes no {FACTS}, and its summary names the facts by a path, {bare[:80]!r}, "
            "which is not followed. Give them with --facts."
        )
    return list(names)
