"""What a command trains with where nothing else is said: settings that were searched for, not Trainer's defaults."""

from dataclasses import replace

from ..training.training_args import SemanticTrainingArguments

# The best of a sweep on zsRE's dev half at 8 epochs (results/methods.json), where Trainer's 5e-5 teaches an adapter
# nothing. For your own facts and budget: `semantic-trainer budget`.
LEARNING_RATES = {"lora": 4e-3, "dora": 4e-3, "adalora": 1e-2, "ia3": 1e-2, "houlsby": 1e-3, "full": 2e-4}
EPOCHS, BATCH_SIZE = 8, 10


def run_defaults(method: str) -> dict[str, object]:
    """Training options of a method.

    Example:
        >>> run_defaults("houlsby")["learning_rate"]
        0.001
    """
    rate = LEARNING_RATES.get(method, LEARNING_RATES["lora"])  # an unknown one is refused elsewhere
    return {"learning_rate": rate, "num_train_epochs": EPOCHS, "per_device_train_batch_size": BATCH_SIZE}


def compared(args: SemanticTrainingArguments) -> SemanticTrainingArguments:
    """Arguments of a command that compares a weighting with plain training: the paper's, where none is named."""
    return replace(args, weighting="paper") if args.weighting is None else args
