"""What a step's gradients must be, fact by fact; nothing in it is the project's."""

import math

import torch

GAMMA = 1.5
SHOT = ("How many legs has a spider?", "Eight")


def text_before(question: str) -> str:
    shot, answer = SHOT
    return f"Question: {shot}\nAnswer: {answer}\n\nQuestion: {question}\nAnswer:"


def weight(distance: float) -> float:
    """Eqs. 5 and 6."""
    return 1 + GAMMA * (1 - math.sin(math.pi * min(distance, 1.0)))


def weighted_mean_loss(model: torch.nn.Module, tokenizer: object, facts: list[dict]) -> torch.Tensor:
    """Weighted losses of all answer tokens, EOS included, over the number of these tokens; a forward for each fact."""
    total, count = torch.zeros(()), 0
    for fact in facts:
        prompt = tokenizer(text_before(fact["prompt"]))["input_ids"]
        answer = [*tokenizer(" " + fact["target"])["input_ids"], tokenizer.eos_token_id]
        logits = model(torch.tensor([prompt + answer])).logits[0]
        for i, token in enumerate(answer):
            nll = logits[len(prompt) + i - 1].logsumexp(0) - logits[len(prompt) + i - 1, token]
            total = total + weight(fact["distance"]) * nll
        count += len(answer)
    return total / count


def adalora_penalty(model: torch.nn.Module) -> torch.Tensor:
    """Mean over the factors of how far their vectors are from orthonormal, times the config's weight."""
    factors = [
        p if "lora_A" in name else p.T for name, p in model.named_parameters() if "lora_A" in name or "lora_B" in name
    ]
    norms = [((v @ v.T - torch.eye(len(v))) ** 2).sum().sqrt() for v in factors]
    return model.peft_config["default"].orth_reg_weight * sum(norms) / len(norms)


def gradients(model: torch.nn.Module, tokenizer: object, facts: list[dict], adalora: bool) -> dict[str, torch.Tensor]:
    """Of one optimizer step on all these facts; AdaLoRA's penalty is counted once in it."""
    model.zero_grad()
    loss = weighted_mean_loss(model, tokenizer, facts)
    (loss + adalora_penalty(model) if adalora else loss).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
