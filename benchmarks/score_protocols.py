"""One trained adapter, scored in every way: what strict, normalized, contains and teacher-forced tokens make of it.

    python benchmarks/score_protocols.py --data_dir DIR [--limit 200 --learning_rate 1e-3 --epochs 4]

Teaches the first facts of the dev half of MEND's zsRE to the built-in model in an under-trained regime, where the
scores have room to differ, and measures the noise floor of locality in float32 and bfloat16. Writes
results/score_protocols.json.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import set_seed

from semantic_trainer import (
    PromptFormat,
    SemanticTrainingArguments,
    SemanticWeightedTrainer,
    evaluate_facts,
    load_facts,
)
from semantic_trainer.answers import answer_prompts
from semantic_trainer.answers.decoding import GenerationSettings
from semantic_trainer.evaluation.statistics import score
from semantic_trainer.files import write_atomically
from semantic_trainer.models import DEFAULT_MODEL, load_model
from semantic_trainer.report.summary import describe_environment

SHOTS = [("How many sides does a triangle have?", "Three"), ("What colour is a banana?", "Yellow")]
SHOWN = ("knowledge_accuracy", "normalized", "contains", "token", "leak_gap", "generality", "locality")


def train(facts: object, form: PromptFormat, args: argparse.Namespace) -> tuple[object, object]:
    """A plain LoRA on all linear layers, `(PeftModel, tokenizer)`."""
    model, tokenizer = load_model(DEFAULT_MODEL, torch.float32)
    set_seed(args.seed)
    tuned = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    with tempfile.TemporaryDirectory() as folder:
        training = SemanticTrainingArguments(
            folder,
            weighting="none",
            learning_rate=args.learning_rate,
            num_train_epochs=args.epochs,
            per_device_train_batch_size=10,
            seed=args.seed,
            save_strategy="no",
        )
        SemanticWeightedTrainer(
            tuned, training, train_dataset=facts, processing_class=tokenizer, prompt_format=form
        ).train()
    return tuned, tokenizer


def noise_floor(facts: object, form: PromptFormat, seed: int) -> dict[str, object]:
    """The base against itself in bfloat16: the same prompts in batches by length and in reshuffled ones."""
    model, tokenizer = load_model(DEFAULT_MODEL, torch.bfloat16)
    groups = facts["locality_prompts"][:]
    prompts = [prompt for group in groups for prompt in group]
    settings = GenerationSettings(dtype="model")
    once, again = (
        answer_prompts(model, tokenizer, prompts, form, settings, keep=False, shuffle=shuffle)
        for shuffle in (None, seed)
    )
    rows = [[once[prompt].text == again[prompt].text for prompt in group] for group in groups]
    return score(rows, "base against itself in reshuffled batches, bfloat16")


def main() -> None:
    """Parse, train, score in every way, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output", type=Path, default=Path("results/score_protocols.json"))
    args = parser.parse_args()
    environment = describe_environment()
    facts = load_facts(args.data_dir / "zsre_mend_1k.json", on_conflict="drop", split="dev").select(range(args.limit))
    form = PromptFormat.question_answer(SHOTS)
    tuned, tokenizer = train(facts, form, args)
    summary = evaluate_facts(tuned, tokenizer, facts, form, noise_floor=True).summary
    summary["locality_noise_floor_bfloat16"] = noise_floor(facts, form, args.seed)
    for name in (*SHOWN, "locality_noise_floor", "locality_noise_floor_bfloat16", "next_token_kl"):
        found = summary[name]
        print(f"{name:30} {found['value']:.4f} {found['ci95']} n={found['n']}  {found['protocol']}")
    config = {name: value for name, value in vars(args).items() if name not in ("data_dir", "output")}
    data = {
        "config": {**config, "facts": "zsre_mend_1k.json, dev half"},
        "environment": environment,
        "summary": summary,
    }
    write_atomically(args.output, (json.dumps(data, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
