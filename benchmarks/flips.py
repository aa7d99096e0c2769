"""How often a half-precision answer depends on the other prompts of its batch, decided once and decided canonically.

    python benchmarks/flips.py FACTS.json [--facts 1000] [--shuffles 3] [--dtype bfloat16] [--output FILE]

Every prompt is answered in batches by length, then in batches drawn at random; a flip is an answer whose cut text is
not what it was in the first composition: the base model's strict locality against itself. At noise factor 0 each token
is as its batch gives it; else greedy_answers decides tokens again, that row alone, whose top-2 margin is below so many
times the measured noise. Printed are flips with Wilson's 95 % interval and the cost of deciding again.
"""

import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from scipy.stats import binomtest

from semantic_trainer import PromptFormat, load_facts
from semantic_trainer.answers import decoder
from semantic_trainer.answers.decoding import GenerationSettings, greedy_answers
from semantic_trainer.models import load_model
from semantic_trainer.report.summary import describe_environment

SHOTS = ["How many sides does a triangle have? => Three", "What colour is a banana? => Yellow"]


def products_in_float32(model: torch.nn.Module) -> None:
    """Make linear layers multiply and add in float32 and round the sum, several times faster here than bfloat16."""
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            weight = layer.weight.detach().float()
            bias = None if layer.bias is None else layer.bias.detach().float()
            layer.forward = lambda x, weight=weight, bias=bias: F.linear(x.float(), weight, bias).to(x.dtype)


def answers(
    model: object, tokenizer: object, prompts: list[str], form: PromptFormat, limit: int, seed: int | None, size: int
) -> tuple[dict[str, str], float]:
    """Cut answers by prompt, and the seconds they took."""
    settings, start = GenerationSettings(limit, "model"), time.process_time()
    found = greedy_answers(model, tokenizer, prompts, form, settings, size, shuffle=seed)
    texts = {prompt: answer.text for batch in found for prompt, answer in batch}
    return texts, time.process_time() - start


def measure(factor: float, args: argparse.Namespace, model: object, tokenizer: object, prompts: list[str]) -> dict:
    """Flips over all shuffles at one multiple of the measured noise; 0 decides nothing again."""
    decoder.NOISE_FACTOR = factor
    form = PromptFormat.resolve(args.prompt_format, prompts, tokenizer, shots=SHOTS)
    first, seconds = answers(model, tokenizer, prompts, form, args.max_new_tokens, None, args.batch_size)
    flips, times = 0, [seconds]
    for seed in range(args.shuffles):
        other, seconds = answers(model, tokenizer, prompts, form, args.max_new_tokens, seed, args.batch_size)
        flips += sum(first[prompt] != other[prompt] for prompt in prompts)
        times.append(seconds)
        print(f"  factor {factor}, shuffle {seed}: {flips} flips so far, {times[-1]:.0f} s", flush=True)
    pairs = len(prompts) * args.shuffles
    interval = binomtest(flips, pairs).proportion_ci(method="wilson")
    return {
        "noise_factor": factor,
        "flips": flips,
        "pairs": pairs,
        "share": flips / pairs,
        "ci95": [interval.low, interval.high],
        "seconds": times,
    }


def main() -> None:
    """Measure both ways in turn, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("facts_file")
    parser.add_argument("--facts", type=int, default=1000)
    parser.add_argument("--shuffles", type=int, default=3)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--prompt_format", default="question_answer")
    parser.add_argument("--max_new_tokens", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--factors", type=float, nargs="+", default=[0.0, decoder.NOISE_FACTOR])
    parser.add_argument("--products_in_float32", action="store_true")
    parser.add_argument("--output")
    args = parser.parse_args()
    model, tokenizer = load_model("builtin:smollm2-135m-instruct", getattr(torch, args.dtype), None)
    if args.products_in_float32:
        products_in_float32(model)
    prompts = list(dict.fromkeys(load_facts(args.facts_file, on_conflict="drop")["prompt"]))[: args.facts]
    rows = [measure(factor, args, model, tokenizer, prompts) for factor in args.factors]
    for row in rows:
        low, high = row["ci95"]
        cost = sum(row["seconds"]) / sum(rows[0]["seconds"])
        share = f"{row['flips']} of {row['pairs']} ({100 * row['share']:.2f} %, {100 * low:.2f} to {100 * high:.2f})"
        print(f"noise factor {row['noise_factor']}: {share} flips, {cost:.2f} x the time of deciding once")
    if args.output:
        config = {**vars(args), "facts_file": Path(args.facts_file).name}
        config.pop("output")
        body = {"config": config, "environment": describe_environment(), "rows": rows}
        Path(args.output).write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    main()
