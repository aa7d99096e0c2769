"""Time the base model's answers: greedy_answers beside model.generate with left padding, in file order.

    python benchmarks/answers.py [--quick] [--facts 100] [--dtype float32] [--output results/bench.json]

Three prompt formats, at most 32 new tokens, the same end of an answer (EOS or a newline), tokenisation inside the
clock on both sides, each side with the fastest batch size of a small sweep. No drafts: nothing is known of these
answers before. In float32 the texts must be the same but where less than 1e-4 decided. In bfloat16 they may differ,
which is counted; a processor without bfloat16 instructions answers a few prompts only.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from decoding import LIMIT, SWEEP, agreement, best_size, by_generate, ours, smallest_margin
from side_by_side import OURS, alternate, parser, report, scenario, settle
from workload import SHOTS, load

from semantic_trainer import PromptFormat

GENERATE = "model.generate"
FEW = 4  # prompts where bfloat16 has no instructions


def formats(tokenizer: object) -> dict[str, PromptFormat]:
    """Name -> prompt format."""
    return {
        "chat": PromptFormat.chat(tokenizer),
        "chat, two shots": PromptFormat.chat(tokenizer, shots=SHOTS),
        "question_answer, two shots": PromptFormat.question_answer(SHOTS),
    }


def slow_bfloat16(dtype: str) -> bool:
    """Whether bfloat16 was asked for on a processor that has no instructions for it."""
    return dtype == "bfloat16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()


def compare(name: str, args: argparse.Namespace, loaded: tuple, form: PromptFormat) -> dict:
    """Both sides with one prompt format."""
    model, tokenizer, facts = loaded
    prompts = list(dict.fromkeys(facts["prompt"][:]))
    sides: dict[str, Callable] = {
        OURS: lambda size: ours(model, tokenizer, prompts, form, size),
        GENERATE: lambda size: by_generate(model, tokenizer, prompts, form, size),
    }
    sizes = (32,) if args.quick else sorted({32, *(size for size in SWEEP if size <= len(prompts))})
    swept = {name: best_size(answer, sizes) for name, answer in sides.items()}
    best = {name: (lambda name=name: partial(sides[name], swept[name][0])) for name in sides}
    seconds, answers = alternate(best, args.repeats, warm_up=0)
    margin = partial(smallest_margin, model, tokenizer, form=form)
    return scenario(
        f"old answers, {args.dtype}, {name}",
        seconds,
        (GENERATE, OURS),
        at_least=2.0,
        note="tokenisation is inside the clock on both sides"
        + ("; few prompts: no bfloat16 instructions here" if slow_bfloat16(args.dtype) else ""),
        prompts=len(prompts),
        sweep={side: {"best": size, "seconds": found} for side, (size, found) in swept.items()},
        checks={"texts": agreement(answers[OURS], answers[GENERATE], margin), "max_new_tokens": LIMIT},
    )


def main(argv: list[str] | None = None) -> None:
    """Run the prompt formats, print, write."""
    args = settle(parser(__doc__).parse_args(argv), facts=100, repeats=5)
    if slow_bfloat16(args.dtype):
        args.facts = min(args.facts, FEW)
    loaded = load(args)
    forms = formats(loaded[1])
    rows = [compare(name, args, loaded, forms[name]) for name in (list(forms)[:1] if args.quick else forms)]
    report("answers", args, rows)


if __name__ == "__main__":
    main()
