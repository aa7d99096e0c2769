"""The arms of a study: a weighting or a filter, and what else an arm changes, as one line of text."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import yaml

from ..distance.filtering import SemanticFilter
from ..distance.weighting import WEIGHTINGS
from ..facts.messages import suggest
from ..training.training_args import SemanticTrainingArguments
from ..tuners.arguments import ModelArguments, read_value

PLAIN = "plain"  # weighting "none", through the same loss as all other arms
FILTERS = ("filter", "random_filter")
BASES = (PLAIN, *(name for name in WEIGHTINGS if name not in ("none", "column")), *FILTERS)
FILTER_OPTIONS = tuple(f.name for f in fields(SemanticFilter))
MODEL_OPTIONS = tuple(
    f.name for f in fields(ModelArguments) if f.name not in ("model", "revision", "dtype", "load_in")
)
STUDY_OPTIONS = (
    *("output_dir", "seed", "weighting", "max_new_tokens", "answer_batch_size"),
    *("prompt_format", "system_prompt", "shots"),
)
LONGEST_NAME = 200  # of a folder; file systems take 255, and temporary names are longer


@dataclass(frozen=True)
class Arm:
    """One side of a comparison; made by `parse_arm`.

    Attributes:
        name: how it is called in files and tables.
        base: `plain`, a weighting, `filter` or `random_filter`.
        weighting: as in `SemanticTrainingArguments`.
        training, model, filter: options of the training, of model and adapter, and of the filter that it changes.
    """

    name: str
    base: str
    weighting: str
    training: dict[str, object] = field(default_factory=dict)
    model: dict[str, object] = field(default_factory=dict)
    filter: dict[str, object] = field(default_factory=dict)

    @property
    def filters(self) -> bool:
        """Whether part of its training facts is replaced."""
        return self.base in FILTERS

    @property
    def replace_share(self) -> float:
        """The share of facts that a filter's arm is to replace."""
        return wanted_share(self.filter)

    @property
    def is_plain(self) -> bool:
        """Whether its loss is plain and no facts are replaced."""
        return self.base == PLAIN


def wanted_share(chosen: Mapping[str, object]) -> float:
    """The share of facts to replace by options of a filter, which need not name it."""
    return float(chosen.get("replace_share", SemanticFilter.replace_share))


def parse_arm(text: str) -> Arm:
    """An arm from `[NAME:] BASE [OPTION=VALUE ...]`.

    BASE is `plain`, a weighting of `add_weights` (`paper`, `constant`, `shuffled`, `inverse`, ...), `filter` (Eq. 4)
    or `random_filter`, its control, both with the plain loss unless they name a `weighting`. An OPTION is one of
    training (`learning_rate=0.004`), of model and method (`method=adalora`), or of the filter (`replace_share=0.2`);
    VALUE is read as YAML, without blanks.
    The default NAME is made of the rest.

    Raises:
        ValueError: an unknown base or option, an option without effect, or a name that is no file name.

    Example:
        >>> parse_arm("tuned: plain learning_rate=0.004").training
        {'learning_rate': 0.004}
    """
    label, colon, rest = text.partition(":")
    words = (rest if colon and "=" not in label else text).split()
    if not words:
        raise ValueError(f"`arms` entry {text!r} names nothing. Write for example: plain, or paper gamma=0.5")
    base, options = words[0], words[1:]
    if base not in BASES:
        raise ValueError(f"`arms` entry {text!r}: {base!r} is unknown.{suggest(base, BASES)} Use {', '.join(BASES)}.")
    name = label.strip() if colon and "=" not in label else re.sub(r"[^\w.+-]+", "-", "-".join(words))
    check_name(name, f"`arms` entry {text!r}")
    weighting = "none" if base == PLAIN or base in FILTERS else base
    arm = Arm(name, base, weighting)
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise ValueError(f"`arms` entry {text!r}: options look like learning_rate=0.002, but {option!r} was found")
        options = _options_of(arm, key, text)
        if key in options:
            raise ValueError(f"`arms` entry {text!r} names `{key}` twice. Leave one of them out.")
        options[key] = _value(value, text)
    return arm


def check_name(name: str, where: str) -> None:
    """Raise a `ValueError` where a name of an arm or a setting cannot be a folder's within the study's own.

    Args:
        where: names the arm or setting in the error.
    """
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise ValueError(
            f"{where}: its name must be of letters, digits, `_`, `-`, `+` and `.`, and begin with one of the first "
            f"three, but {name!r} was found"
        )
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(
            f"{where}: its name must have at most {LONGEST_NAME} bytes, but has {len(name.encode())}. Begin an arm "
            "with a name of its own, as in: mine: plain learning_rate=0.002"
        )


def _options_of(arm: Arm, key: str, text: str) -> dict[str, object]:
    """The dictionary of an arm that an option belongs to."""
    training = [f.name for f in fields(SemanticTrainingArguments) if f.init and f.name not in STUDY_OPTIONS]
    training += ["weighting"] * arm.filters
    if key in FILTER_OPTIONS:
        if not arm.filters:
            raise ValueError(f"`arms` entry {text!r}: `{key}` has no effect but on {' and '.join(FILTERS)}")
        return arm.filter
    if key == "gamma" and arm.weighting == "none" and not arm.filters:
        raise ValueError(f"`arms` entry {text!r}: `gamma` has no effect on the plain loss")
    if key in MODEL_OPTIONS:
        return arm.model
    if key in training:
        return arm.training
    if key == "weighting":
        raise ValueError(f"`arms` entry {text!r}: a weighting is what an arm begins with, as in: paper gamma=0.5")
    if key in STUDY_OPTIONS:
        raise ValueError(f"`arms` entry {text!r}: `{key}` holds for all arms. Give it as --{key}, or in the recipe.")
    known = (*training, *MODEL_OPTIONS, *FILTER_OPTIONS)
    raise ValueError(f"`arms` entry {text!r}: `{key}` is no option of an arm.{suggest(key, known)}")


def _value(text: str, entry: str) -> object:
    try:
        return read_value(text)
    except yaml.YAMLError as error:
        raise ValueError(f"`arms` entry {entry!r}: {text!r} is no YAML value") from error


def parse_arms(texts: Sequence[str]) -> tuple[Arm, ...]:
    """Several arms; the first one is what the others are compared with.

    Raises:
        ValueError: none, or two of one name.
    """
    arms = tuple(map(parse_arm, texts))
    names = [arm.name for arm in arms]
    if not arms:
        raise ValueError("`arms` is empty. Name at least one, for example: --arms plain paper")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"`arms` has {twice[0]!r} twice. Name one of them, as in: {twice[0]}2: {twice[0]} ...")
    return arms
