"""What the side-by-side benchmarks work on: facts, prompt formats, and trainings of one adapter by either trainer."""

import argparse
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import datasets
import torch
import transformers
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PrinterCallback, Trainer
from trl import SFTConfig, SFTTrainer

from semantic_trainer import PromptFormat, SemanticTrainingArguments, SemanticWeightedTrainer, load_facts
from semantic_trainer.models import load_model

SHOTS = [("How many sides does a triangle have?", "Three"), ("What colour is a banana?", "Yellow")]
RULES = (
    "You answer questions about people, places, works, companies, species and events. ",
    "Give the name, the date or the place that was asked for, and nothing else. ",
    "Do not explain, do not apologise, and do not repeat the question. ",
    "Write a person's full name, first name first, and no title. ",
    "Write a date as day, month in words and year, and a year in four digits. ",
    "Write a place without its country unless the country was asked for. ",
    "If there are several right answers, give the best known one. ",
    "If you are not sure, give the likeliest answer rather than none. ",
)


def quiet() -> None:
    """No progress bars between the rows, nor warnings of SFTConfig's name of gradient checkpointing, an old one."""
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)


def source_of(args: argparse.Namespace) -> str:
    """The facts asked for: zsRE where it is at hand, else built-in ones."""
    path = Path(os.environ.get("DATA_DIR", ".")) / "zsre_mend_1k.json"
    return args.source or (str(path) if path.exists() else "builtin:counterfactual")


def load(args: argparse.Namespace) -> tuple[torch.nn.Module, object, Dataset]:
    """Model, tokenizer and the first facts of the source."""
    quiet()
    args.source = source_of(args)
    facts = load_facts(args.source, on_conflict="drop")
    if len(facts) < args.facts:
        raise ValueError(f"`--facts` is {args.facts}, but {args.source} has {len(facts)}. Ask for fewer.")
    return *load_model(args.model, getattr(torch, args.dtype), None), facts.select(range(args.facts))


def long_system_prompt(tokenizer: object, tokens: int = 150) -> str:
    """A system prompt of so many tokens."""
    ids = tokenizer("".join(RULES) * 3, add_special_tokens=False)["input_ids"]
    return tokenizer.decode(ids[:tokens])


def with_lora(model: torch.nn.Module) -> PeftModel:
    """The model, itself, with the adapter that every training starts from."""
    torch.manual_seed(0)
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, config)


def common_options(folder: str, epochs: float, learning_rate: float = 2e-3) -> dict[str, object]:
    """Training arguments that both sides share."""
    return {
        "output_dir": folder,
        "num_train_epochs": epochs,
        "per_device_train_batch_size": 10,
        "learning_rate": learning_rate,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def our_trainer(
    model: torch.nn.Module, tokenizer: object, facts: Dataset, form: PromptFormat, options: dict, **ours: object
) -> SemanticWeightedTrainer:
    """This project's trainer with the common options; `weighting="none"` unless told otherwise."""
    columns = [name for name in ("prompt", "target", "distance", "target_loss") if name in facts.column_names]
    return _quiet(
        SemanticWeightedTrainer(
            model=with_lora(model),
            args=SemanticTrainingArguments(**{**options, "weighting": "none", **ours}),
            train_dataset=facts.select_columns(columns),
            processing_class=tokenizer,
            prompt_format=form,
        )
    )


def trl_trainer(
    model: torch.nn.Module, tokenizer: object, facts: Dataset, form: PromptFormat, options: dict, checkpointing: bool
) -> SFTTrainer:
    """TRL's trainer on prompt/completion texts that are written out, to which it adds EOS.

    Conversations would be the same tokens and one more: the line break that the chat template writes behind EOS.
    """
    texts = Dataset.from_dict(
        {
            "prompt": [form.prompt_text(prompt) for prompt in facts["prompt"][:]],
            "completion": [form.completion_text(target) for target in facts["target"][:]],
        }
    )
    args = SFTConfig(**options, bf16=False, gradient_checkpointing=checkpointing, max_length=None)
    return _quiet(SFTTrainer(model=with_lora(model), args=args, train_dataset=texts, processing_class=tokenizer))


def _quiet(trainer: Trainer) -> Trainer:
    trainer.remove_callback(PrinterCallback)
    return trainer


def training(make: Callable[[], Trainer]) -> Callable[[], Callable[[], list[float]]]:
    """A side: a new trainer, and its training, which returns the loss of every step."""

    def prepare() -> Callable[[], list[float]]:
        trainer = make()

        def train() -> list[float]:
            trainer.train()
            return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

        return train

    return prepare
