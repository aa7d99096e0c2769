"""How often a half-precision verdict depends on the other prompts of its batch, decided once and decided canonically.

    python benchmarks/flips.py [--facts 350] [--shuffles 3] [--output results/flips.json]

An adapter is taught the facts in float32 and asked, on a half-precision base, its prompts and paraphrases (right
where the answer is the target) and the locality prompts (right where it is the base's): in batches by length, then in
batches drawn at random. A flip is a changed strict verdict. At noise factor 0 each token is as its batch gives it;
else greedy_answers decides tokens again, that row alone, whose top-2 margin is below so many times the measured noise.
Printed are flips with Wilson's 95 % interval, changed texts, and the cost of deciding again, in processor time.
"""

import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from evaluate import taught
from peft import PeftModel
from scipy.stats import binomtest
from workload import load

from semantic_trainer import PromptFormat
from semantic_trainer.answers import decoder
from semantic_trainer.answers.decoding import GenerationSettings, greedy_answers
from semantic_trainer.evaluation.scores import strict
from semantic_trainer.evaluation.table import text_lists
from semantic_trainer.files import write_atomically
from semantic_trainer.models import load_model
from semantic_trainer.report.summary import describe_environment

Texts = dict[str, str]


def products_in_float32(model: torch.nn.Module) -> None:
    """Make linear layers multiply and add in float32 and round the sum: faster than bfloat16 where it is emulated."""
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            weight = layer.weight.detach().float()
            bias = None if layer.bias is None else layer.bias.detach().float()
            layer.forward = lambda x, weight=weight, bias=bias: F.linear(x.float(), weight, bias).to(x.dtype)


class Measurement:
    """Everything that is asked, of a model in half precision."""

    def __init__(self, args: argparse.Namespace, model: PeftModel, tokenizer: object, form: PromptFormat) -> None:
        self.args, self.model, self.tokenizer, self.form = args, model, tokenizer, form
        self.seconds: list[float] = []

    def answers(self, prompts: list[str], drafts: Texts, shuffle: int | None) -> Texts:
        """Cut answers by prompt; the time is kept."""
        settings, start = GenerationSettings(self.args.max_new_tokens, "model"), time.process_time()
        asked = (self.model, self.tokenizer, prompts, self.form, settings, self.args.batch_size)
        texts = {p: a.text for batch in greedy_answers(*asked, shuffle=shuffle, drafts=drafts) for p, a in batch}
        self.seconds.append(time.process_time() - start)
        return texts

    def at(self, factor: float, targets: Texts, unrelated: list[str]) -> dict[str, object]:
        """Flips over all shuffles at one multiple of the measured noise."""
        decoder.NOISE_FACTOR = factor
        with self.model.disable_adapter():
            base = self.answers(unrelated, {}, None)
        self.seconds, expected = [], {**base, **targets}
        first = self.answers(list(expected), expected, None)
        verdicts = {prompt: strict(first[prompt], text) for prompt, text in expected.items()}
        flips, texts = 0, 0
        for seed in range(self.args.shuffles):
            other = self.answers(list(expected), expected, seed)
            flips += sum(strict(other[prompt], text) != verdicts[prompt] for prompt, text in expected.items())
            texts += sum(other[prompt] != first[prompt] for prompt in expected)
            print(
                f"  factor {factor}, shuffle {seed}: {flips} flips, {texts} texts, {self.seconds[-1]:.0f} s",
                flush=True,
            )
        pairs = len(expected) * self.args.shuffles
        low, high = binomtest(flips, pairs).proportion_ci(method="wilson")
        right = {"taught": sum(verdicts[p] for p in targets) / len(targets)}
        right["unrelated"] = sum(verdicts[p] for p in base if p not in targets) / max(1, len(base))
        return {
            "noise_factor": factor,
            "pairs": pairs,
            "flips": flips,
            "share": flips / pairs,
            "ci95": [low, high],
            "changed_texts": texts,
            "right": right,
            "seconds": self.seconds,
        }


def asked_of(facts: object) -> tuple[Texts, list[str]]:
    """Prompts and paraphrases with their targets, and unrelated prompts."""
    targets = dict(zip(facts["prompt"][:], facts["target"][:], strict=True))
    for texts, target in zip(text_lists(facts, "paraphrases"), facts["target"][:], strict=True):
        targets |= {text: target for text in texts if text not in targets}
    unrelated = dict.fromkeys(text for texts in text_lists(facts, "locality_prompts") for text in texts)
    return targets, [text for text in unrelated if text not in targets]


def main() -> None:
    """Teach, measure each factor, print, write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="builtin:smollm2-135m-instruct")
    options.add_argument("--source", help="facts; zsRE from DATA_DIR where it is")
    options.add_argument("--facts", type=int, default=350)
    options.add_argument("--epochs", type=int, default=4)
    options.add_argument("--shuffles", type=int, default=3)
    options.add_argument("--dtype", default="bfloat16")
    options.add_argument("--max_new_tokens", type=int, default=32)
    options.add_argument("--batch_size", type=int, default=64)
    options.add_argument("--factors", type=float, nargs="+", default=[0.0, decoder.NOISE_FACTOR])
    options.add_argument("--products_in_float32", action="store_true")
    options.add_argument("--output")
    args = options.parse_args()
    training = argparse.Namespace(**{**vars(args), "dtype": "float32"})
    loaded = load(training)
    _, tokenizer, facts = loaded
    form = PromptFormat.chat(tokenizer)
    adapter = taught(training, loaded, form)
    half, _ = load_model(args.model, getattr(torch, args.dtype), None)
    model = PeftModel.from_pretrained(half, str(adapter))
    if args.products_in_float32:
        products_in_float32(model)
    measurement = Measurement(args, model, tokenizer, form)
    rows = [measurement.at(factor, *asked_of(facts)) for factor in args.factors]
    once = min(rows, key=lambda row: row["noise_factor"])
    for row in rows:
        low, high = row["ci95"]
        cost = sum(row["seconds"]) / sum(once["seconds"])
        share = f"{row['flips']} of {row['pairs']} ({100 * row['share']:.2f} %, {100 * low:.2f} to {100 * high:.2f})"
        print(f"noise factor {row['noise_factor']}: {share} flips, {cost:.2f} x the time of deciding once")
    if args.output:
        config = {**vars(args), "source": Path(training.source).name}
        config.pop("output")
        body = {"config": config, "environment": describe_environment(), "rows": rows}
        write_atomically(Path(args.output), (json.dumps(body, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
