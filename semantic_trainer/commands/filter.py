"""`semantic-trainer filter`: replace facts by facts of a pool (Eq. 4): a plan, the new facts and a picture."""

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
from datasets import Dataset

from ..distance.columns import Columns
from ..distance.filter_plan import FilterPlan
from ..distance.filtering import SemanticFilter
from ..distance.random_filter import RandomFilter
from ..distribution import is_first
from ..facts.sets import read_fact_sets
from ..files import check_writable, write_atomically
from ..training.training_args import SemanticTrainingArguments
from .distances import DistancesArguments, measure
from .options import parse

logger = logging.getLogger(__name__)
PLAN_FILES, FACTS_FILE, FIGURE_FILE = ("plan.json", "plan.parquet"), "filtered_facts.parquet", "filter.png"
LONG_PLAN = 10_000  # swaps from which on a plan is easier to read as Parquet
QUANTILES = (0.1, 0.9)
CHOOSING = ("split", "limit")  # options of which facts are read: a measured set is taken whole


@dataclass
class FilterArguments(DistancesArguments):
    """Facts, the pool, and how they are filtered."""

    pool: list[str] = field(
        default_factory=list,
        metadata={"help": "Fact sets to replace by, as in --facts; Parquet with a column distance is not measured."},
    )
    exclude: list[str] = field(
        default_factory=list, metadata={"help": "Fact sets that must not enter: those of the evaluation."}
    )
    mean_range: list[float] | None = field(
        default=None,
        metadata={"help": "Lowest and highest mean distance; None: the 10th and 90th percentile of the pool."},
    )
    replace_share: float = field(default=0.6, metadata={"help": "Share of the facts to replace."})
    spread_weight: float = field(default=1.0, metadata={"help": "Weight of the spread in Eq. 4."})
    spread: str = field(default="variance", metadata={"help": "variance or std."})
    exclude_known: bool = field(default=False, metadata={"help": "Keep facts out that the base model knows."})
    exclude_flagged: bool = field(
        default=True, metadata={"help": "Keep facts out whose old answer is empty, truncated or a permutation."}
    )
    random: bool = field(default=False, metadata={"help": "The control: replace at random, by facts_seed."})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("pool", "exclude"):
            if isinstance(getattr(self, name), str):
                setattr(self, name, [getattr(self, name)])
        if self.mean_range is not None and len(self.mean_range) != 2:
            raise ValueError(f"`mean_range` must be two numbers, but {self.mean_range!r} was passed")


def main(argv: Sequence[str]) -> int:
    """Parse, check, measure what has no distances yet, plan, write, print. One YAML serves `run` too."""
    args, training_args = parse(argv, "filter", (FilterArguments, SemanticTrainingArguments))
    folder = Path(training_args.output_dir)
    check(args, folder)
    exclude = read_exclude(args)
    check_prompts(args, training_args)
    train, pool = (read_measured(args, training_args, name) for name in ("facts", "pool"))
    if not is_first():
        return 0
    train = train if isinstance(train, Dataset) else Columns(train, "facts").rows()
    names = shared_columns(train.column_names, Columns(pool, "pool").names)
    train = train.select_columns(names)
    plan = decide(args, train, pool, exclude)
    for path in write(plan, train, pool, folder):
        print(path)
    show(plan)
    return 0


def check(args: FilterArguments, folder: Path) -> None:
    """Refuse what would fail later, before anything is read."""
    for name in ("facts", "pool"):
        if not getattr(args, name):
            raise ValueError(f"`{name}` is empty: name at least one set, for example --{name} facts.parquet")
    make_filter(args, (0.0, 1.0))
    check_writable(folder, "`output_dir`", "Choose another folder.")
    there = [name for name in (*PLAN_FILES, FACTS_FILE, FIGURE_FILE) if (folder / name).exists()]
    if there and not args.overwrite:
        raise ValueError(
            f"`output_dir` {str(folder)!r} holds {there[0]} already. Add --overwrite to replace it, or choose another "
            "folder."
        )


def make_filter(args: FilterArguments, mean_range: tuple[float, float]) -> SemanticFilter:
    """The filter, or its control."""
    bounds = tuple(args.mean_range) if args.mean_range is not None else mean_range
    options = (bounds, args.spread_weight, args.replace_share, args.spread, args.exclude_known, args.exclude_flagged)
    return RandomFilter(*options, seed=args.facts_seed) if args.random else SemanticFilter(*options)


def is_measured(source: str) -> bool:
    """Whether a source is Parquet, a file or a folder, with a column `distance`."""
    path = Path(source)
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.suffix.lower() == ".parquet" else []
    return bool(files) and path.exists() and "distance" in Columns(source, "pool").names


def read_measured(args: FilterArguments, training_args: SemanticTrainingArguments, name: str) -> Dataset | list[str]:
    """The facts or the pool with distances: Parquet files that have them, or facts that the model is asked now."""
    sources = getattr(args, name)
    measured = [source for source in sources if is_measured(source)]
    if len(measured) == len(sources):
        idle = [n for n in CHOOSING if getattr(args, n) is not None and (name, n) != ("pool", "limit")]
        if idle:
            raise ValueError(
                f"`{idle[0]}` has no effect on `{name}` {measured[0]!r}, which is measured and taken whole. Leave it "
                "out, or write the rows you mean to a Parquet file of their own."
            )
        return sources
    if measured:
        others = [source for source in sources if source not in measured]
        raise ValueError(
            f"`{name}` {measured[0]!r} has a column `distance`, but {others[0]!r} has none. Give either measured "
            "sets or sets to be measured."
        )

    whole = {"limit": None} if name == "pool" else {}
    return measure(replace(args, facts=sources, **whole), training_args).remove_columns("weight")


def check_prompts(args: FilterArguments, training_args: SemanticTrainingArguments) -> None:
    """Refuse facts and a pool that `auto` would ask in two formats: their distances could not be compared."""
    unmeasured = [name for name in ("facts", "pool") if not all(map(is_measured, getattr(args, name)))]
    if training_args.prompt_format != "auto" or len(unmeasured) < 2:
        return
    asks = {}
    for name in unmeasured:
        prompts = read_fact_sets(replace(args, facts=getattr(args, name), limit=None))[0]["prompt"]
        asks[name] = any(prompt.rstrip().endswith("?") for prompt in prompts)
    if len(set(asks.values())) > 1:
        raise ValueError(
            f"`{'facts' if asks['facts'] else 'pool'}` has questions and the other set has none, so that "
            "`prompt_format=auto` would ask them in two formats, whose distances do not compare. Give --prompt_format."
        )


def read_exclude(args: FilterArguments) -> list[str]:
    """Ids of the facts that must not enter: all of these sets, whatever part of the others is filtered."""
    if not args.exclude:
        return []
    return read_fact_sets(replace(args, facts=args.exclude, limit=None, split=None))[0]["fact_id"][:]


def shared_columns(train: Sequence[str], pool: Sequence[str]) -> list[str]:
    """The columns of the new facts; what only one of the sets has is left out, which is said."""
    needed = [name for name in ("prompt", "target", "distance") if name not in train]
    if needed:
        raise ValueError(f"`facts` have no column {', '.join(map(repr, needed))}; found {list(train)}.")
    lost = [name for name in train if name not in pool]
    if lost:
        logger.warning("the pool does not have the columns %s: the new facts are without them", ", ".join(lost))
    return [name for name in train if name in pool]


def decide(args: FilterArguments, train: Dataset, pool: Dataset | list[str], exclude: list[str]) -> FilterPlan:
    """The plan; facts that are taught already never enter."""
    columns = Columns(pool, "pool")
    ids = [*exclude, *(train["fact_id"][:] if "fact_id" in train.column_names else [])]
    low, high = np.quantile(columns.numbers("distance"), QUANTILES)
    return make_filter(args, (float(low), float(high))).plan(train, pool, exclude_ids=ids)


def write(plan: FilterPlan, train: Dataset, pool: Dataset | list[str], folder: Path) -> list[Path]:
    """The new facts, the picture and, last, the plan."""
    from ..report.figures import save_figure
    from ..report.filter_figure import filter_figure

    final = plan.apply(train, pool)
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(final.with_format("arrow")[:], buffer)
    name, other = PLAN_FILES if len(plan) < LONG_PLAN else PLAN_FILES[::-1]
    write_atomically(folder / FACTS_FILE, buffer.getvalue())
    before, after = (np.asarray(rows["distance"][:], dtype=float) for rows in (train, final))
    figure = save_figure(filter_figure(plan, before, after), folder / FIGURE_FILE)
    (folder / other).unlink(missing_ok=True)  # another plan's
    return [folder / FACTS_FILE, figure, plan.save(folder / name)]


def show(plan: FilterPlan) -> None:
    """Print what was done, within which bounds, what could not enter and what did."""
    low, high = plan.settings["mean_range"]
    print(plan.describe())
    print(f"mean kept within ({low:.4f}, {high:.4f}); objective {plan.objective[0]:.4f} -> {plan.objective[-1]:.4f}")
    kept_out = ", ".join(f"{reason} {count}" for reason, count in plan.excluded.items() if count)
    print(f"of {plan.sizes['pool']} facts of the pool could not enter: {kept_out or 'none'}")
    shares = {"at distance 1 or more": "at_1_or_more", "known already": "known", "flagged": "flagged"}
    told = [f"{plan.shares[k]:.1%} {words}" for words, k in shares.items() if plan.shares.get(k) is not None]
    if told:
        print(f"of what was added: {', '.join(told)}")
