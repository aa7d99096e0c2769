"""What a command trains with where nothing else is said: settings that were searched for, not Trainer's defaults."""

from dataclasses import replace

from ..training.training_args import SemanticTrainingArguments

EPOCHS = 8
# LoRA's are what `budget` found on the dev half of the built-in facts (results/defaults), the others' the best of a
# sweep on zsRE's dev half (results/methods.json). Trainer's 5e-5 teaches an adapter nothing. For your own facts and
# budget: `semantic-trainer budget`.
LEARNING_RATES = {"lora": 2e-3, "dora": 4e-3, "adalora": 1e-2, "ia3": 1e-2, "houlsby": 1e-3, "full": 2e-4}
BATCH_SIZES = {"lora": 5}
RANKS = {"lora": 32}
BATCH_SIZE = 10  # where neither says otherwise


def run_defaults(method: str) -> dict[str, object]:
    """Options of a method that differ from what Trainer and PEFT take.

    Example:
        >>> run_defaults("houlsby")["learning_rate"]
        0.001
    """
    return {
        "learning_rate": LEARNING_RATES.get(method, LEARNING_RATES["lora"]),  # an unknown one is refused elsewhere
        "num_train_epochs": EPOCHS,
        "per_device_train_batch_size": BATCH_SIZES.get(method, BATCH_SIZE),
        **({"lora_r": RANKS[method]} if method in RANKS else {}),
    }


def compared(args: SemanticTrainingArguments) -> SemanticTrainingArguments:
    """Arguments of a command that compares a weighting with plain training: the paper's, where none is named."""
    return replace(args, weighting="paper") if args.weighting is None else args
