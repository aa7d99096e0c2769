"""How a run can be made again, from its config: the options that are not at their default, and the command."""

import json
import shlex
from collections.abc import Mapping, Sequence

# Where it ran, what it was written down by, or what is said elsewhere: no options to choose again.
NOT_OPTIONS = ("facts_hash", "processes", "prompt_text", "facts", "model", "output_dir")
OWN_DEFAULTS = ("learning_rate", "num_train_epochs", "per_device_train_batch_size")  # `run` has, for each method


def default_options() -> dict[str, object]:
    """Option of `run` -> its default."""
    from ..facts.sets import FactsArguments
    from ..training.training_args import SemanticTrainingArguments
    from ..tuners.arguments import ModelArguments

    ours = vars(FactsArguments()) | vars(ModelArguments())
    theirs = SemanticTrainingArguments(output_dir="").to_dict()
    return theirs | ours | {"weighting": "paper", "gamma": 1.0, "known_labels": False, "threads": None}


def changed_options(config: Mapping[str, object]) -> dict[str, object]:
    """The options of a run that are not at their default, or whose default is a method's own; facts and model apart.

    Example:
        >>> changed_options({"lora_r": 8, "lora_dropout": 0.0, "facts": ["builtin:invented"]})
        {'lora_r': 8}
    """
    from ..tuners.methods import LOW_RANK

    defaults = default_options()
    ranked = ("lora_r", "lora_alpha") if config.get("method", "lora") in LOW_RANK else ()
    defaults |= dict.fromkeys((*OWN_DEFAULTS, *ranked))
    return {
        name: value
        for name, value in config.items()
        if name not in NOT_OPTIONS and name in defaults and value not in (defaults[name], None)
    }


def command(config: Mapping[str, object], facts: Sequence[str], model: str, output_dir: str) -> str:
    """The command that makes a run again.

    Args:
        facts: the fact sets as a reader can name them, without the folders they lay in; so `model`.

    Example:
        >>> print(command({"seed": 1, "learning_rate": 0.002}, ["mine.jsonl"], "org/model", "runs/mine"))
        semantic-trainer run \\
          --facts mine.jsonl \\
          --model org/model \\
          --seed 1 \\
          --learning_rate 0.002 \\
          --output_dir runs/mine
    """
    options = {"facts": facts, "model": model, **changed_options(config), "output_dir": output_dir}
    lines = [f"--{option} {shlex.join(words(value, option))}" for option, value in options.items()]
    return " \\\n  ".join(["semantic-trainer run", *lines])


def words(value: object, option: str = "") -> list[str]:
    """An option's value as the command line has it; mappings of Trainer's own as JSON, ours as NAME=VALUE."""
    if isinstance(value, Mapping):
        if option not in ("columns", "method_options"):
            return [json.dumps(value)]
        return [f"{name}={one}" for name, one in value.items()]
    if isinstance(value, (list, tuple)):
        return [str(one) for one in value]
    return [str(value).lower() if isinstance(value, bool) else str(value)]
