"""`semantic-trainer budget`: the learning rate, rank and batch size that make the most facts stick."""

import json
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path

from ..facts.messages import counted
from ..facts.sets import FactsArguments
from ..files import check_writable, write_atomically
from ..study.arms import PLAIN
from ..study.averages import in_points
from ..study.budget import CURVE, LEARNING_RATES, METRICS, Budget, Candidate, candidates, order, search
from ..study.budget_runs import BudgetRuns
from ..study.executors import EXECUTORS, check_executor
from ..study.settings import Setting, locate
from ..study.worker import quietly
from ..training.training_args import SemanticTrainingArguments, decisive_options
from ..tuners.arguments import ModelArguments
from ..tuners.methods import LOW_RANK
from .checks import check_budget, check_steps
from .defaults import EPOCHS, compared
from .options import parse, part_of
from .run import RunArguments
from .searched import NAME, check_search, describe_search, write_search
from .terminal import console as terminal

logger = logging.getLogger(__name__)
BATCH_SIZES, RANKS = (5, 10), (8, 32)
SAMPLE = 100
SUMMARY, FIGURE, RECOMMENDED = "budget.json", "budget.png", "recommended.yaml"


@dataclass
class BudgetArguments(RunArguments):
    """Facts, model and method as of `run`, what may be spent on one run, and what is tried."""

    data_dir: str | None = field(default=None, metadata={"help": "Folder of fact files given by their bare names."})
    seconds: float | None = field(
        default=None,
        metadata={"help": "Budget of one training in seconds, on this machine; None takes num_train_epochs."},
    )
    facts_per_run: int | None = field(
        default=None,
        metadata={"help": f"Facts a run is taught; None takes all, or {SAMPLE} if there are more."},
    )
    learning_rates: list[float] | None = field(
        default=None, metadata={"help": "Where the search begins; None takes the method's usual ones."}
    )
    batch_sizes: list[int] | None = field(default=None, metadata={"help": "Facts a step; None takes 5 and 10."})
    ranks: list[int] | None = field(
        default=None, metadata={"help": "Of a low-rank adapter, lora_alpha in proportion; None takes 8 and 32."}
    )
    threads: int | None = field(default=1, metadata={"help": "CPU threads a worker."})
    workers: int = field(default=1, metadata={"help": "Processes, each with a model of its own in memory."})
    executor: str = field(default="processes", metadata={"help": f"{' or '.join(EXECUTORS)}: where workers live."})


def main(argv: Sequence[str]) -> int:
    """Parse, search, print, write."""
    types = (BudgetArguments, SemanticTrainingArguments)
    args, training_args = parse(argv, NAME, types, {"num_train_epochs": EPOCHS})
    check_budget(args, training_args)
    budget, setting = find_budget(args, training_args)
    write_budget(Path(training_args.output_dir), budget, setting, args.data_dir)
    print_budget(budget, setting, training_args.output_dir, teaches_all(setting, args.data_dir))
    return 0


def find_budget(args: BudgetArguments, training_args: SemanticTrainingArguments) -> tuple[Budget, Setting]:
    """The setting at which the most facts stick, and what it is expected to buy.

    Args:
        args: facts, model, method, what is tried and on how many facts a run.
        training_args: `num_train_epochs` is the budget where `args.seconds` is `None`; `weighting` (`None` is
            `paper`) is compared with plain training, at the best of the last few settings, and `none` leaves it out.
            `output_dir` keeps every run; a search that was interrupted goes on there.

    Returns:
        What was found, and the study's setting without arms of it.

    Raises:
        ValueError: an option out of its range, a budget of less than one epoch, or a folder that holds a run or
            another search.

    Example:
        >>> args = BudgetArguments(facts=["builtin:invented"], ranks=[8], batch_sizes=[10])
        >>> find_budget(args, SemanticTrainingArguments("runs/budget", num_train_epochs=4))[0].best.learning_rate
        0.004
    """
    folder = Path(training_args.output_dir)
    check_writable(folder, "`output_dir`", "Choose another folder.")
    check_executor(args.executor)
    training_args = compared(training_args)
    weighting = None if training_args.weighting == "none" or training_args.gamma == 0.0 else training_args.weighting
    setting = create_setting(args, training_args)
    rates = args.learning_rates or LEARNING_RATES[args.method]
    sizes = args.batch_sizes or BATCH_SIZES
    check_steps(training_args, setting.per_run, "batch_sizes", max(sizes))
    ranks = (args.ranks or RANKS) if args.method in LOW_RANK else (None,)
    tried = {"weighting": weighting, "learning_rates": sorted(rates), "batch_sizes": sizes, "ranks": ranks}
    wanted = describe_search(setting, args.data_dir, args.threads or 1, tried | {"seconds": args.seconds})
    check_search(folder, wanted)
    search_runs = BudgetRuns(setting, folder, args.data_dir, args.threads or 1, args.workers, args.executor)
    costs = search_runs.costs(min(rates), list(product(sizes, ranks)), args.lora_alpha)
    epochs = {shape: _epochs(args, training_args, cost, setting.per_run) for shape, cost in costs.items()}
    grid = candidates(sorted(rates), sizes, ranks, epochs, args.lora_alpha / args.lora_r)
    curve = CURVE if args.method != "adalora" else tuple(factor for factor in CURVE if factor >= 1)  # needs its steps
    announce(search_runs, len(grid), *search_runs.expected(grid, costs, weighting, curve))
    write_search(folder, wanted)
    return search(grid, search_runs.measure, weighting, curve), setting


def create_setting(args: BudgetArguments, training_args: SemanticTrainingArguments) -> Setting:
    """The setting of the study that the search is, for as many facts a run as there are, or as were asked for."""
    facts, model = part_of(args, FactsArguments), part_of(args, ModelArguments)
    setting = Setting(NAME, facts, model, training_args, (), size=args.facts_per_run or SAMPLE, unrelated=0)
    found = len(setting.read_pool(args.data_dir))
    if args.facts_per_run is None:
        if found > SAMPLE:
            logger.warning(
                "%d facts: the search teaches %d of them a run, and what it expects holds for as many. Give "
                "--facts_per_run for more",
                *(found, SAMPLE),
            )
        setting = replace(setting, size=min(found, SAMPLE))
    return setting


def _epochs(
    args: BudgetArguments, training_args: SemanticTrainingArguments, cost: Mapping[str, float], facts: int
) -> float:
    """As many as the budget allows."""
    if args.seconds is None:
        return training_args.num_train_epochs
    epochs = math.floor(args.seconds / (cost["training"] * facts))
    if epochs < 1:
        raise ValueError(
            f"`seconds` is {args.seconds:g}, but one epoch of {facts} facts takes about "
            f"{cost['training'] * facts:.0f} s here. Give more, or lower `facts_per_run`."
        )
    return epochs


def announce(search_runs: BudgetRuns, settings: int, runs: int, made: int, seconds: float) -> None:
    """Say how long the search will take."""
    workers, facts = search_runs.workers, search_runs.setting.per_run
    there = f", of which {made} are there already" if made else ""
    print(
        f"{settings} settings, about {runs} runs of {facts} facts{there}: about {max(1, round(seconds / 60))} min "
        f"with {counted(workers, 'worker')}",
        file=sys.stderr,
        flush=True,
    )


def write_budget(folder: Path, budget: Budget, setting: Setting, data_dir: str | None = None) -> None:
    """The numbers, the picture, and a config of the best setting for `run`."""
    from ..report.budget_figure import budget_figure
    from ..report.themes import save_themes

    found = {
        "facts": setting.facts.facts,
        "split": setting.facts.split,
        "facts_per_run": setting.per_run,
        "method": setting.model.method,
        "best": vars(budget.best),
        "arm": budget.best.arm().name,
        "weighted_best": budget.weighted_best and vars(budget.weighted_best),
        "expected": budget.expected,
        "difference": {name: d and vars(d) for name, d in budget.difference.items()},
        "trials": budget.trials,
        "curve": budget.curve,
    }
    save_themes(partial(budget_figure, budget.trials, budget.curve), folder / FIGURE)
    write_atomically(folder / RECOMMENDED, recommended(setting, budget.best, data_dir).encode())
    write_atomically(folder / SUMMARY, (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())


def recommended(setting: Setting, best: Candidate, data_dir: str | None = None) -> str:
    """A YAML for `run`: the options that the search was given, and the best setting; fact sets as `run` finds them."""
    import yaml

    given = {
        name: value
        for arguments in (setting.facts, setting.model)
        for name, value in vars(arguments).items()
        if value != getattr(type(arguments)(), name)
    }
    defaults = decisive_options(SemanticTrainingArguments(output_dir=""))
    training = {n: v for n, v in decisive_options(setting.training).items() if v != defaults.get(n)}
    for name in ("weighting", "gamma"):  # `run` always compares, with the paper's where none is named
        if training.get(name) in ("none", "paper", 0.0):
            del training[name]
    given["facts"] = locate(setting.facts.facts, data_dir)
    options = given | training | best.options | {"output_dir": "runs/recommended"}
    head = "# The setting that made the most facts stick; semantic-trainer run --config recommended.yaml\n"
    return head + yaml.safe_dump(options, sort_keys=False, allow_unicode=True)


def teaches_all(setting: Setting, data_dir: str | None = None) -> bool:
    """Whether a run is taught every fact there is: draws then differ in nothing but their seeds."""
    with quietly():
        return len(setting.read_pool(data_dir)) <= setting.per_run


def print_budget(budget: Budget, setting: Setting, folder: str, same_facts: bool = False) -> None:
    """The best settings, and what the best is expected to buy; `same_facts` as of `sentences`."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    console = terminal()
    for title, rows in (("The ten best of all settings", budget.trials[:10]), ("Other budgets", budget.curve)):
        table = Table(title=f"{title}; per cent, 95 % intervals over runs", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name in ("arm", "lr", "batch", "rank", "epochs", "runs", "s/run", *METRICS):
            table.add_column(name.replace("_", " "), justify="left" if name == "arm" else "right")
        for row in rows:
            rank = "–" if row["rank"] is None else str(row["rank"])
            numbers = f"{row['learning_rate']:g}", str(row["batch_size"]), rank, f"{row['epochs']:g}", str(row["runs"])
            table.add_row(row["arm"], *numbers, f"{row['seconds']:.0f}", *(in_points(row[m]) for m in METRICS))
        console.print(table)
    for line in sentences(budget, setting, same_facts):
        console.print(line, highlight=False, markup=False)
    console.print(f"Written to {folder}: {SUMMARY}, {FIGURE}, {RECOMMENDED}.", highlight=False, markup=False)


def sentences(budget: Budget, setting: Setting, same_facts: bool = False) -> list[str]:
    """What was found, in words.

    Args:
        same_facts: whether all runs were taught the same facts: see `teaches_all`.
    """
    found = budget.expected[PLAIN]
    generality = found["generality"]  # undefined for facts without paraphrases
    in_brackets = "" if generality["value"] is None else f" (generality {in_points(generality)} %)"
    fresh = "new seeds on the same facts" if same_facts else "draws that had no part in choosing"
    facts = f"{setting.per_run} facts" if setting.per_run > 1 else "one fact"
    out = [
        f"Best: {_in_words(budget.best)}.",
        f"Of {facts} like these, plain training is expected to teach "
        f"{in_points(found['knowledge_accuracy'])} %{in_brackets}, from {fresh}.",
    ]
    if budget.weighted_best:
        out.append(_against(budget))
    return out + caveats(budget)


def caveats(budget: Budget) -> list[str]:
    """What speaks against taking the best for it: nothing was learnt, all taught the same, or a single run decided."""
    if all(row["loss"] is None for row in budget.trials):
        return ["Every training diverged. Search again with lower `learning_rates`, in another `output_dir`."]
    plain, best = [row for row in budget.trials if row["arm"] == PLAIN], vars(budget.best)
    others = [row for row in plain if any(row[name] != value for name, value in best.items())]
    out = []
    if others and len({order(row)[0] for row in plain}) == 1:
        out.append(
            f"All {len(plain)} settings taught {-order(plain[0])[0]} %, in whole per cent: the best was chosen by "
            "generality, then by the loss in training."
        )
    if others and max(row["runs"] for row in others) == 1:
        out.append(
            "One run of each setting decided, so that another may be as good. Four settings or more to begin with "
            "(`learning_rates`, `batch_sizes`, `ranks`) give the better ones further runs."
        )
    return out


def _against(budget: Budget) -> str:
    """The weighted arm's sentence: where it was tried, and what it gains."""
    arm = next(name for name in budget.expected if name != PLAIN)
    tried, where = sum(row["arm"] == arm for row in budget.trials), "plain's best setting"
    if tried > 1:
        where = f"the best of the {tried} settings they were tried at ({_in_words(budget.weighted_best)})"
    found = budget.difference["knowledge_accuracy"] or "not known"
    return f"{arm} weights, at {where}, against that, in points of accuracy: {found}."


def _in_words(candidate: Candidate) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in candidate.options.items())
