"""`semantic-trainer study`: repeated, paired runs from a recipe, gone on with at any time, and their tables."""

import logging
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..facts.messages import counted
from ..study.figures import check_figures, write_figures
from ..study.results import check_results
from ..study.runner import Study, parse_shard, run_study
from ..study.settings import is_file_name
from ..study.tables import check_tables, write_tables
from .recipe import ONCE, read_recipe, split_words

logger = logging.getLogger(__name__)
# On results; a token is nobody's business besides
WITHOUT_EFFECT = (*(name for name in ONCE if name != "threads"), "hub_token")


def main(argv: Sequence[str]) -> int:
    """Parse, run what is missing, print how the time was spent, write tables and figures."""
    settings, options, folder = read_recipe(argv)
    tables, figures = options.tables or [], options.figures or []
    check_tables(tables, settings)
    check_figures(figures, settings)
    if options.script and not options.only_tables:
        raise ValueError(
            f"`script`: the runs of this recipe are made by another command, python {options.script} with the same "
            "options. Here their tables are written: add --only_tables true."
        )
    if options.only_tables:
        check_results(folder, settings)
    else:
        study = Study(settings, folder, options.data_dir, options.threads or 1)
        spent = run_study(study, options.workers, parse_shard(options.shard), options.executor)
        print(describe_time(spent))
    arms = {setting.name: [arm.name for arm in setting.arms] for setting in settings}
    if options.shard and not any(any((folder / name / first).glob("*.json")) for name, (first, *_) in arms.items()):
        print("nothing to show yet: this shard has no runs, or others' come first")
        return 0
    warn_of_lacking(folder, arms)
    bare = any(is_file_name(name) for setting in settings for name in setting.facts.facts)
    command = recipe_command(argv, options.script) + (" --data_dir DATA" if bare else "")
    for path in write_tables(folder, arms, tables, command):
        print(path)
    for path in write_figures(folder, arms, figures, command):
        print(path)
    return 0


def warn_of_lacking(folder: Path, arms: Mapping[str, Sequence[str]]) -> None:
    """Say of which arms of a setting there are no runs: tables and figures are without them."""
    for setting, names in arms.items():
        lacking = [arm for arm in names if not any((folder / setting / arm).glob("*.json"))]
        if lacking:
            logger.warning("%s: no runs yet of %s", setting, ", ".join(lacking))


def recipe_command(argv: Sequence[str], script: str | None = None) -> str:
    """The command without what makes no difference to its results, and folders by their names alone.

    Args:
        script: who makes the runs, where it is not `study`.

    Example:
        >>> recipe_command(["--workers", "2", "--config", "/home/me/table3.yaml", "--arms", "plain", "paper gamma=2"])
        "semantic-trainer study --config table3.yaml --arms plain 'paper gamma=2'"
    """
    groups: list[list[str]] = []
    for word in split_words(argv):
        if word.startswith("--") or not groups:
            groups.append([])
        groups[-1].append(Path(word).name if Path(word).is_absolute() else word)
    kept = [words for words in groups if words[0].lstrip("-") not in WITHOUT_EFFECT]
    who = ["python", script] if script else ["semantic-trainer", "study"]
    return shlex.join([*who, *(word for words in kept for word in words)])


def describe_time(spent: Mapping[str, float]) -> str:
    """How many runs were made, and the share of the time that was spent on neither training nor decoding."""
    if not spent["runs"]:
        return "every run is finished already"
    rest = 1 - (spent["training"] + spent["decoding"]) / spent["total"]
    runs = counted(spent["runs"], "run")
    return (
        f"{runs}: training {spent['training']:.0f} s, decoding {spent['decoding']:.0f} s; "
        f"{100 * rest:.1f} % of the workers' time was spent on anything else"
    )
