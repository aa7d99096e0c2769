"""What `run` and `distances` refuse before anything is loaded."""

import logging
import math
from typing import TYPE_CHECKING

from transformers.integrations import get_reporting_integration_callbacks

from ..study.settings import FIXED
from ..training.checks import check_length, check_numbers
from ..training.training_args import SemanticTrainingArguments
from ..tuners.arguments import check_tuning
from ..tuners.methods import LOW_RANK
from .defaults import compared

if TYPE_CHECKING:
    from .budget import BudgetArguments
    from .recipe import StudyArguments

logger = logging.getLogger(__name__)
WITHOUT_EFFECT = {
    "eval_strategy": ("no", "`run` evaluates both arms at their end"),
    "load_best_model_at_end": (False, "`run` evaluates both arms at their end"),
    "push_to_hub": (False, "`run` only writes to its folder"),
    "resume_from_checkpoint": (None, "`run` finds its own checkpoints with --resume"),
}
SEARCHED = {"learning_rate": "learning_rates", "per_device_train_batch_size": "batch_sizes"}


def check_arms(training_args: SemanticTrainingArguments) -> None:
    """Refuse what `run` cannot do, and `distances` with its options, before anything is loaded."""
    if training_args.gamma == 0.0 or training_args.weighting == "none":
        raise ValueError(
            "`run` compares plain with weighted training, and `distances` shows the weights: leave `weighting` out or "
            "name another one, and give `gamma` above 0."
        )
    if training_args.weighting == "column":
        raise ValueError('`weighting="column"` is for your own script; `run` computes weights from distances.')
    check_numbers(training_args)
    check_length(training_args)
    _check_effect(training_args)
    if training_args.save_strategy == "best":
        raise ValueError(
            "`save_strategy=best` needs evaluations during training, which `run` does not make. Use epoch."
        )
    if training_args.save_only_model:
        raise ValueError("`save_only_model` keeps no optimizer, so `run` could not go on after a kill. Leave it out.")
    try:
        for callback in get_reporting_integration_callbacks(training_args.report_to):
            callback()  # most of them say only now what is missing
    except (RuntimeError, ImportError) as error:
        raise ValueError(f"`report_to` names what is not installed: {error}") from error


def warn_of_idle(training_args: SemanticTrainingArguments, command: str) -> None:
    """Say which options of training a study's runs do not read: a YAML of `run` may have them."""
    defaults = SemanticTrainingArguments(output_dir="")
    idle = [n for n in FIXED if n != "disable_tqdm" and getattr(training_args, n) != getattr(defaults, n)]
    if idle:
        logger.warning("%s: without effect on `%s`, whose runs are kept as one JSON each", ", ".join(idle), command)


def check_study(args: "StudyArguments", training_args: SemanticTrainingArguments) -> None:
    """Refuse what `study` cannot do, before anything is loaded."""
    _check_going_on(args, "study")
    if training_args.weighting is not None:
        raise ValueError("`weighting` is an arm's: name it in `arms`, as in: --arms plain paper")
    check_numbers(training_args)
    check_length(training_args)
    _check_effect(training_args, "study")
    warn_of_idle(training_args, "study")


def check_budget(args: "BudgetArguments", training_args: SemanticTrainingArguments) -> None:
    """Refuse what `budget` cannot do, before anything is loaded."""
    _check_going_on(args, "budget")
    if training_args.weighting == "column":
        raise ValueError('`weighting="column"` is for your own script; `budget` computes weights from distances.')
    _check_weighting(training_args)
    check_numbers(training_args)
    check_tuning(args)
    for name, instead in SEARCHED.items():
        if getattr(training_args, name) != SemanticTrainingArguments.__dataclass_fields__[name].default:
            raise ValueError(f"`{name}` has no effect on `budget`, which looks for the best. Give `{instead}`.")
    if training_args.max_steps > 0:
        raise ValueError("`max_steps` is no budget: smaller batches would see fewer facts. Give `num_train_epochs`.")
    if args.seconds is None and training_args.num_train_epochs <= 0:
        raise ValueError("`num_train_epochs` must be above 0, or `seconds` given: there would be nothing to spend")
    if args.seconds is not None and not (math.isfinite(args.seconds) and args.seconds > 0):
        raise ValueError(f"`seconds` must be finite and above 0, but {args.seconds} was passed")
    for name in ("learning_rates", "batch_sizes", "ranks"):
        values = getattr(args, name)
        if values is not None and not (values and all(math.isfinite(v) and v > 0 for v in values)):
            raise ValueError(f"`{name}` must be numbers above 0, but {values} was passed")
        if values and len(set(values)) < len(values):
            raise ValueError(f"`{name}` has a value twice: {values}")
    if args.method in LOW_RANK and args.lora_r != type(args).lora_r and args.lora_alpha == 2 * args.lora_r:
        raise ValueError("`lora_r` has no effect on `budget`, which looks for the best. Give `ranks`.")
    if args.ranks is not None and args.method not in LOW_RANK:
        raise ValueError(f"`ranks` has no effect on {args.method}. Leave it out.")
    for name in ("facts_per_run", "workers"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise ValueError(f"`{name}` must be at least 1, but {getattr(args, name)} was passed")
    _check_effect(training_args, "budget")
    warn_of_idle(training_args, "budget")


def _check_weighting(training_args: SemanticTrainingArguments) -> None:
    """Refuse options that the weighted arm of `budget` does not read, and weights that would all be 1."""
    training_args = compared(training_args)
    if training_args.gamma == 0.0 and training_args.weighting != "none":
        raise ValueError("`gamma` 0 is the plain loss. Leave it out, or give `weighting` none: only plain is trained.")
    idle = training_args.idle_options()
    if idle:
        raise ValueError(f"`{idle[0]}` has no effect on `weighting` {training_args.weighting}. Leave it out.")


def _check_effect(training_args: SemanticTrainingArguments, command: str | None = None) -> None:
    """Refuse options of training that do nothing here, or on a command whose runs are only evaluated at their end."""
    for name, (value, why) in WITHOUT_EFFECT.items():
        if getattr(training_args, name) != value:
            where = f"on `{command}`, which only evaluates at the end" if command else f"here: {why}"
            raise ValueError(f"`{name}` has no effect {where}. Leave it out.")


def _check_going_on(args: "StudyArguments | BudgetArguments", command: str) -> None:
    """Refuse options of `run` that do nothing on a command which goes on by itself."""
    for name in ("resume", "overwrite", "known_labels"):
        if getattr(args, name):
            raise ValueError(f"`{name}` has no effect on `{command}`, which goes on with what is there. Leave it out.")


def check_steps(
    training_args: SemanticTrainingArguments, facts: int, option: str = "per_device_train_batch_size", size: int = 0
) -> None:
    """Raise a `ValueError` where not one batch would be left of the facts.

    Args:
        option, size: what the batch size was given as, where that is not `training_args`' own.
    """
    batch = (size or training_args.per_device_train_batch_size) * training_args.world_size
    if training_args.dataloader_drop_last and facts < batch:
        raise ValueError(
            f"`dataloader_drop_last` would drop all {facts} facts: a batch takes {batch}. Leave it out, or lower "
            f"`{option}`."
        )
