"""The recipe of a study: a YAML of options, its settings and scales, and the command line, which wins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from ..distance.filtering import SemanticFilter
from ..facts.messages import suggest
from ..study.arms import parse_arms
from ..study.executors import EXECUTORS
from ..study.measures import MEASURES, PROJECTION
from ..study.protocol import PROTOCOLS, parse_groups
from ..study.settings import Setting
from ..training.training_args import SemanticTrainingArguments
from ..tuners.arguments import ModelArguments
from .checks import check_study
from .options import parse, part_of, read_config
from .run import RunArguments
from .values import check_values

SCALES = ("smoke", "file", "paper")
ARM_TYPES = (SemanticTrainingArguments, ModelArguments, SemanticFilter)  # whose options an arm may change
ONCE = (
    "data_dir",
    "workers",
    "shard",
    "executor",
    "threads",
    "tables",
    "figures",
    "only_tables",
    "script",
    "output_dir",
)  # the same in all settings


@dataclass
class StudyArguments(RunArguments):
    """Facts, model and adapter as of `run`, and how often what is compared with what."""

    data_dir: str | None = field(default=None, metadata={"help": "Folder of fact files given by their bare names."})
    protocol: str = field(
        default="multi", metadata={"help": f"{' or '.join(PROTOCOLS)}: many facts a run, or one fact a run."}
    )
    runs: int = field(default=20, metadata={"help": "Paired runs of every arm, in each group."})
    facts_per_run: int = field(default=100, metadata={"help": "Facts a run is taught, under protocol multi."})
    groups: list[str] | None = field(
        default=None,
        metadata={"help": "Stratified sampling by distance, as in: short=0.1:0.3 long=0.6:1.0. None draws at random."},
    )
    arms: list[str] = field(
        default_factory=lambda: ["plain", "paper"],
        metadata={"help": 'What is compared, each "[NAME:] BASE [OPTION=VALUE ...]"; the first is the reference.'},
    )
    examples: int = field(default=0, metadata={"help": "Facts a run whose texts are kept, for Table 5."})
    unrelated: int | None = field(
        default=None, metadata={"help": "Locality prompts and onward questions a fact at most; None asks all."}
    )
    measures: list[str] | None = field(
        default=None,
        metadata={"help": f"{' and '.join(MEASURES)}, of each tuned model: for Table 2 and Figure 5."},
    )
    projection: str = field(default=PROJECTION, metadata={"help": "Which projection spectra are measured of."})
    layer: int | None = field(default=None, metadata={"help": "Its layer, from 0; None takes the last one."})
    tables: list[str] | None = field(default=None, metadata={"help": "Tables to write, as in: table3 table4."})
    figures: list[str] | None = field(
        default=None, metadata={"help": "Figures to draw, with their data, as in: figure3 figure8."}
    )
    only_tables: bool = field(
        default=False, metadata={"help": "Write tables and figures of the results that there are."}
    )
    script: str | None = field(
        default=None, metadata={"help": "Who makes the runs of this recipe, where it is not `study` itself."}
    )
    threads: int | None = field(
        default=1, metadata={"help": "CPU threads a worker; the last bits of a training depend on them."}
    )
    workers: int = field(default=1, metadata={"help": "Processes, each with a model of its own in memory."})
    shard: str | None = field(
        default=None, metadata={"help": "I/N: make only every N-th run, beginning with the I-th."}
    )
    executor: str = field(default="processes", metadata={"help": f"{' or '.join(EXECUTORS)}: where workers live."})
    scale: str = field(
        default="file", metadata={"help": "smoke (two minutes), file (the recipe as it is) or paper (its full size)."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("groups", "arms", "measures", "tables", "figures"):
            if isinstance(getattr(self, name), str):
                setattr(self, name, [getattr(self, name)])


def read_recipe(argv: Sequence[str]) -> tuple[tuple[Setting, ...], StudyArguments, Path]:
    """Settings, the options that hold for all of them, and the folder of the results.

    A recipe is a YAML of options; `settings` lists regimes by `name` that change some of them, `scales` maps `smoke`
    and `paper` to what changes at that size, its own `settings` among it. The command line wins over the scale, the
    scale over the recipe's settings, a setting over the rest.
    """
    recipe, rest = load_recipe(argv)
    scales, regimes = recipe.pop("scales", None) or {}, recipe.pop("settings", None) or [{}]
    scale = _option(rest, "--scale") or recipe.get("scale", "file")
    check_scales(scales)
    changes = dict(_scale(scales, scale))
    own = changes.pop("settings", None)  # a scale's own settings stand above it, the recipe's below
    regimes = own or regimes
    if not isinstance(regimes, list) or not all(map(are_options, regimes)):
        raise ValueError("`settings` must be a list of mappings, each with a `name` and the options that it changes")
    settings, parsed = [], []
    for number, regime in enumerate(regimes):
        options = {**recipe, **changes, **regime} if own else {**recipe, **regime, **changes}
        name = options.pop("name", "main" if len(regimes) == 1 else f"setting-{number}")
        args, training = parse(rest, "study", (StudyArguments, SemanticTrainingArguments), options)
        check_study(args, training)
        settings.append(create_setting("" if name is None else str(name), args, training))
        parsed.append((args, training))
    first, training = parsed[0]
    _check_once(parsed)
    names = [setting.name for setting in settings]
    if len(set(names)) < len(names):
        raise ValueError(f"`settings` has a name twice: {names}. Give each its own.")
    return tuple(settings), first, Path(training.output_dir)


def load_recipe(argv: Sequence[str]) -> tuple[dict[str, object], list[str]]:
    """The recipe of `--config`, and the rest of the command line."""
    argv = split_words(argv)
    path = _option(argv, "--config")
    if path is None:
        return {}, argv
    at = argv.index("--config")
    return read_config(Path(path)), [*argv[:at], *argv[at + 2 :]]


def split_words(argv: Sequence[str]) -> list[str]:
    """The command line with `--name=value` as two words."""
    return [part for word in argv for part in (word.split("=", 1) if word.startswith("--") else [word])]


def _option(argv: Sequence[str], name: str) -> str | None:
    """The word behind an option."""
    if name not in argv:
        return None
    following = argv[argv.index(name) + 1 :][:1]
    if not following or following[0].startswith("--"):
        raise ValueError(f"`{name}` needs a value after it")
    return following[0]


def check_scales(scales: object) -> None:
    """Raise a `ValueError` where `scales` of a recipe is no mapping of known sizes to what changes at them."""
    form = "as in: scales: {smoke: {runs: 1}}"
    if not isinstance(scales, dict):
        raise ValueError(f"`scales` must be a mapping of sizes to options, {form}; but {scales!r} was found")
    for name, changes in scales.items():
        if name not in SCALES:
            raise ValueError(f"`scales` names {name!r}.{suggest(str(name), SCALES)} Use {', '.join(SCALES)}.")
        if changes is not None and not are_options(changes):
            raise ValueError(f"`scales`: {name} must be a mapping of options, {form}; but {changes!r} was found")
        known = {"settings", *(f.name for kind in (StudyArguments, SemanticTrainingArguments) for f in fields(kind))}
        unknown = [option for option in changes or () if option not in known]
        if unknown:  # of a scale that is not asked for, nobody else would say so
            raise ValueError(f"`scales`: {name} has no option `{unknown[0]}`.{suggest(unknown[0], sorted(known))}")


def are_options(value: object) -> bool:
    """Whether a value of a YAML is a mapping of names."""
    return isinstance(value, dict) and all(isinstance(name, str) for name in value)


def _scale(scales: Mapping[str, Mapping[str, object]], scale: str) -> Mapping[str, object]:
    """What changes at this size."""
    if scale not in SCALES:
        raise ValueError(f"`scale` must be one of {', '.join(SCALES)}, but {scale!r} was passed")
    if scale != "file" and scale not in scales:
        raise ValueError(f"the recipe says nothing of `scale: {scale}`; it knows {', '.join(['file', *scales])}.")
    return scales.get(scale) or {}


def create_setting(name: str, args: StudyArguments, training: SemanticTrainingArguments) -> Setting:
    """A setting from its options."""
    from ..facts.sets import FactsArguments

    facts, model, arms = part_of(args, FactsArguments), part_of(args, ModelArguments), parse_arms(args.arms)
    for arm in arms:
        changed = {**arm.training, **arm.model, **arm.filter}
        check_values(changed, ARM_TYPES, texts_are_read=False, where=f"`arms` {arm.name!r}: ")
    return Setting(
        name=name,
        facts=facts,
        model=model,
        training=training,
        arms=arms,
        protocol=args.protocol,
        size=args.facts_per_run,
        runs=args.runs,
        groups=parse_groups(args.groups),
        examples=args.examples,
        measures=tuple(args.measures or ()),
        projection=args.projection,
        layer=args.layer,
        unrelated=args.unrelated,
    )


def _check_once(parsed: Sequence[tuple[StudyArguments, SemanticTrainingArguments]]) -> None:
    """Raise a `ValueError` where settings differ in what a study has once."""
    for name in ONCE:
        values = [getattr(training if name == "output_dir" else args, name) for args, training in parsed]
        if any(value != values[0] for value in values):
            raise ValueError(f"`{name}` holds for the whole study: take it out of `settings`.")
