"""Time accuracy and generality of a converged adapter: answers checked against drafts beside model.generate.

    python benchmarks/evaluate.py [--quick] [--facts 100] [--epochs 10] [--output results/bench.json]

The adapter is trained first and kept in the temporary folder for the next run. The targets are the drafts of prompts
and paraphrases; `generate` answers batches in file order, each side with the fastest batch size of a small sweep. A
third side is EasyEdit's way: one prompt at a time without a cache, on every few prompts, scaled to all. At most 32
new tokens, one end of an answer, tokenisation inside the clock. In float32 the verdicts must be the same.
"""

import argparse
import hashlib
import json
import os
import tempfile
from functools import partial
from pathlib import Path

from decoding import SWEEP, Answers, agreement, best_size, by_generate, ours, smallest_margin
from peft import PeftModel
from side_by_side import OURS, alternate, parser, report, scenario, settle
from workload import SHOTS, common_options, load, our_trainer

from semantic_trainer import PromptFormat
from semantic_trainer.evaluation.evaluator import expected_answers
from semantic_trainer.evaluation.scores import strict
from semantic_trainer.evaluation.table import text_lists

GENERATE, ONE_BY_ONE = "model.generate", "one prompt at a time, no cache (scaled)"
SUBSET = 20


def taught(args: argparse.Namespace, loaded: tuple, form: PromptFormat) -> Path:
    """The folder of an adapter that has learnt the facts: kept from an earlier run, or trained now."""
    model, tokenizer, facts = loaded
    what = [args.model, args.dtype, args.epochs, facts["prompt"][:], facts["target"][:], form.to_dict()]
    key = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / "semantic-trainer-bench" / key
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            trainer = our_trainer(model, tokenizer, facts, form, common_options(temporary, args.epochs))
            trainer.train()
            trainer.model.save_pretrained(f"{temporary}/adapter")
            trainer.model.unload()
            os.replace(f"{temporary}/adapter", folder)
    return folder


def compare(
    kind: str,
    args: argparse.Namespace,
    model: PeftModel,
    tokenizer: object,
    form: PromptFormat,
    prompts: list[str],
    some: list[str],
    drafts: dict[str, str],
) -> list[dict]:
    """Both ratios; `some` of the prompts are those that are asked one at a time."""

    def verdict(prompt: str, answer: object) -> bool:
        return strict(answer.raw, drafts[prompt])

    def fast(size: int) -> Answers:
        return ours(model, tokenizer, prompts, form, size, drafts)

    def batches(size: int) -> Answers:
        return by_generate(model, tokenizer, prompts, form, size)

    sizes = (32,) if args.quick else SWEEP
    swept = {OURS: best_size(fast, sizes), GENERATE: best_size(batches, sizes)}
    sides = {
        OURS: lambda: partial(fast, swept[OURS][0]),
        GENERATE: lambda: partial(batches, swept[GENERATE][0]),
        ONE_BY_ONE: lambda: lambda: by_generate(model, tokenizer, some, form, 1, use_cache=False),
    }
    seconds, answers = alternate(sides, args.repeats, warm_up=0)
    seconds[ONE_BY_ONE] = [value * len(prompts) / len(some) for value in seconds[ONE_BY_ONE]]
    margin = partial(smallest_margin, model, tokenizer, form=form)
    right = sum(verdict(prompt, answer) for prompt, answer in answers[OURS].items())
    rows = []
    for other, bar in ((GENERATE, 5.0), (ONE_BY_ONE, 20.0)):
        how = agreement(answers[OURS], answers[other], margin, verdict)
        texts = agreement(answers[OURS], answers[other], margin)
        more = {"checks": {"verdicts": how, "texts": texts, "right": right}, "prompts": len(prompts)}
        if other == GENERATE:
            more["sweep"] = {side: {"best": size, "seconds": found} for side, (size, found) in swept.items()}
        else:
            more["note"] = f"timed on {len(some)} prompts and scaled"
        name = f"accuracy and generality of a converged adapter, {kind}"
        rows.append(scenario(name, {side: seconds[side] for side in (OURS, other)}, (other, OURS), bar, **more))
    return rows


def main(argv: list[str] | None = None) -> None:
    """Train, time the three sides, print, write."""
    options = parser(__doc__)
    options.add_argument("--epochs", type=int, default=10)
    args = settle(options.parse_args(argv), facts=100, repeats=5)
    loaded = load(args)
    tokenizer, facts = loaded[1:]
    forms = {"default system prompt": PromptFormat.chat(tokenizer)}
    if not args.quick:
        forms["two shots, as in the demo"] = PromptFormat.question_answer(SHOTS)
    drafts = expected_answers(facts, {})
    asked = [*facts["prompt"][:], *(text for texts in text_lists(facts, "paraphrases") for text in texts)]
    prompts = list(dict.fromkeys(asked))
    some = prompts[:: max(1, len(prompts) // SUBSET)]
    rows = []
    for name, form in forms.items():
        model = PeftModel.from_pretrained(loaded[0], str(taught(args, loaded, form)))
        rows += compare(name, args, model, tokenizer, form, prompts, some, drafts)
        model.unload()
    report("evaluate", args, rows)


if __name__ == "__main__":
    main()
