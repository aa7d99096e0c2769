"""The stages one by one: each adds columns that can be looked at.

    python examples/stages.py

Teaches eight built-in facts to the built-in model for a few steps; takes about two minutes on two cores.
"""

import torch
from peft import LoraConfig, get_peft_model

from semantic_trainer import (
    EmbeddingTable,
    PromptFormat,
    SemanticTrainingArguments,
    SemanticWeightedTrainer,
    add_distances,
    add_old_answers,
    add_weights,
    evaluate_facts,
    load_facts,
)
from semantic_trainer.models import DEFAULT_MODEL, load_model

SHOTS = [("How many sides does a triangle have?", "Three"), ("What colour is a banana?", "Yellow")]


def main() -> None:
    """Load, ask, measure, weigh, train, evaluate."""
    model, tokenizer = load_model(DEFAULT_MODEL, torch.float32)
    prompt_format = PromptFormat.question_answer(SHOTS)
    facts = load_facts("builtin:counterfactual[8]")
    facts = add_old_answers(facts, model, tokenizer, prompt_format)
    facts = add_distances(facts, EmbeddingTable.from_model(model), tokenizer, prompt_format)
    for fact in add_weights(facts, gamma=1.0):
        print(f"{fact['distance']:.3f} {fact['weight']:.3f} {fact['prompt']} {fact['old_answer']} -> {fact['target']}")
    trainer = SemanticWeightedTrainer(
        model=get_peft_model(model, LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")),
        args=SemanticTrainingArguments("runs/stages", gamma=1.0, learning_rate=2e-3, max_steps=20, save_strategy="no"),
        train_dataset=facts,  # has distances: the trainer only tokenises
        processing_class=tokenizer,
        prompt_format=prompt_format,
    )
    trainer.train()
    summary = evaluate_facts(trainer.model, tokenizer, facts, prompt_format).summary
    for metric, score in summary.items():
        print(metric, score["value"], score["ci95"])


if __name__ == "__main__":
    main()
