"""Time and weigh trainings of one adapter on the same facts: this project's trainer beside TRL's SFTTrainer.

    python benchmarks/train_step.py [--quick] [--facts 100] [--epochs 1] [--output results/bench.json]

LoRA (rank 8, all linear layers), batches of 10, the same initial adapter, tokens, order and learning rate: all three
are checked, and the losses of every step compared. Timed is `train()`, with tokenisation outside; TRL is measured
with and without gradient checkpointing, and the ratio is to the faster one. Memory is the peak of `train()` and of
what makes the trainer above the loaded model, each side in a process of its own. Then: the paper's weights beside
all-ones weights in the same path (on drawn distances: answering is timed by answers.py), and a training's matrix
products alone beside it.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable

import numpy as np
import torch
from products import Recorder, alone, flops
from side_by_side import OURS, Side, alternate, in_child, parser, peak_above, report, scenario, settle
from workload import common_options, load, long_system_prompt, our_trainer, training, trl_trainer

from semantic_trainer import PromptFormat
from semantic_trainer.batching.shared_prefix import common_head

TRL, CHECKPOINTING = "TRL SFTTrainer", "TRL SFTTrainer, gradient checkpointing"
WEIGHT_PAIRS, SHORT, TOP = 12, 10, 20
ROUNDING = {"float32": 1e-4, "bfloat16": 1e-2}  # of losses, relative
SPEED = {"chat": 4.0, "long_chat": 8.0, "cloze": 1.5}
TITLES = {
    "chat": "training, default system prompt",
    "long_chat": "training, 150-token system prompt",
    "cloze": "training, no shared head",
}


def form_of(kind: str, tokenizer: object) -> PromptFormat:
    """chat with the template's own system prompt, with one of 150 tokens, or bare texts without a common head."""
    if kind == "cloze":
        return PromptFormat.cloze()
    return PromptFormat.chat(tokenizer, long_system_prompt(tokenizer) if kind == "long_chat" else None)


def makers(loaded: tuple, form: PromptFormat, options: dict, copied: bool = True) -> dict[str, Callable]:
    """Name -> a function that makes the side's trainer, of a copy of the model, or once of the model itself."""
    model, *data = loaded
    take = copy.deepcopy if copied else (lambda once: once)
    return {
        OURS: lambda **ours: our_trainer(take(model), *data, form, options, **ours),
        TRL: lambda: trl_trainer(take(model), *data, form, options, checkpointing=False),
        CHECKPOINTING: lambda: trl_trainer(take(model), *data, form, options, checkpointing=True),
    }


def same_work(a: object, b: object) -> dict[str, bool]:
    """Whether two trainers see the same tokens and begin with the same adapter."""
    weights = [{n: p for n, p in t.model.named_parameters() if p.requires_grad} for t in (a, b)]
    same = weights[0].keys() == weights[1].keys()
    return {
        "same input_ids": a.train_dataset["input_ids"][:] == b.train_dataset["input_ids"][:],
        "same labels": a.train_dataset["labels"][:] == b.train_dataset["labels"][:],
        "same initial adapter": same and all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0]),
    }


def compare(kind: str, args: argparse.Namespace, loaded: tuple, options: dict) -> dict:
    """The two trainers with one prompt format."""
    make = makers(loaded, form_of(kind, loaded[1]), options)
    first = make[OURS]()
    rows, checks = first.train_dataset["input_ids"][:], same_work(first, make[TRL]())
    if args.quick and kind != "chat":
        del make[CHECKPOINTING]  # slower than without
    warm_up = 0 if args.quick and kind != "chat" else 1
    seconds, losses = alternate({name: training(side) for name, side in make.items()}, args.repeats, warm_up)
    off = np.abs(np.array(losses[OURS]) / np.array(losses[TRL]) - 1).tolist()
    checks |= {
        f"first loss equal ({ROUNDING[args.dtype]:g})": off[0] <= ROUNDING[args.dtype],
        "first, most and last loss off by": [off[0], max(off), off[-1]],
    }
    return scenario(
        TITLES[kind],
        seconds,
        (min(make.keys() - {OURS}, key=lambda name: np.median(seconds[name])), OURS),
        at_least=SPEED[kind],
        note="tokenisation is outside the clock",
        tokens={"mean": float(np.mean([*map(len, rows)])), "shared head": common_head(rows)},
        steps=len(off),
        checks=checks,
        losses=losses,
    )


def peak(args: argparse.Namespace, kind: str, side: str) -> float:
    """MB of one training above the loaded model; for a process of its own."""
    torch.set_num_threads(args.threads or torch.get_num_threads())
    model, tokenizer, facts = load(args)
    for parameter in model.parameters():
        parameter.detach().sum()  # every page of a mapped checkpoint is there before
    with tempfile.TemporaryDirectory() as folder:
        options, form = common_options(folder, args.epochs), form_of(kind, tokenizer)
        make = makers((model, tokenizer, facts), form, options, copied=False)[side]
        return peak_above(lambda: training(make)()())


def memory(kind: str, args: argparse.Namespace) -> list[dict]:
    """Peak memory of each side, ours relative to TRL's in both of its ways."""
    others = (TRL,) if args.quick else (TRL, CHECKPOINTING)
    found = {side: [in_child(peak, args, kind, side)] for side in (OURS, *others)}
    name, note = f"{TITLES[kind]}: peak memory", "above the loaded model"
    return [
        scenario(name, {s: found[s] for s in (OURS, other)}, (OURS, other), at_most=0.6, unit="MB", note=note)
        for other in others
    ]


def weights(args: argparse.Namespace, loaded: tuple, options: dict) -> dict:
    """The paper's weights beside all-ones weights."""
    model, tokenizer, facts = loaded
    facts = facts.select(range(min(len(facts), SHORT)))
    facts = facts.add_column("distance", np.random.default_rng(0).uniform(0, 1.2, len(facts)).tolist())
    make = makers((model, tokenizer, facts), form_of("chat", tokenizer), options)[OURS]

    def side(weighting: str) -> Side:
        return training(lambda: make(weighting=weighting))

    seconds, losses = alternate({name: side(name) for name in ("paper", "none")}, max(args.repeats, WEIGHT_PAIRS))
    checks = {"the losses differ": losses["paper"] != losses["none"], "as many steps": len(losses["paper"])}
    return scenario("weights by distance", seconds, ("paper", "none"), at_most=1.05, checks=checks, losses=losses)


def products(args: argparse.Namespace, loaded: tuple, options: dict) -> dict:
    """A training beside its matrix products alone, and what the training's time went to."""
    make = makers(loaded, form_of("chat", loaded[1]), options)[OURS]
    with Recorder() as recorder:
        losses = training(make)()()
    seconds, _ = alternate({"training": training(make), "its products": alone(recorder.products)}, args.repeats)
    run = training(make)()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        run()
    rows = sorted(profiler.key_averages(), key=lambda row: -row.self_cpu_time_total)[:TOP]
    return scenario(
        "the training step, its matrix products alone",
        seconds,
        ("its products", "training"),
        at_least=0.15,
        note="wanted: 0.3; operands are shared by products of one layout; the step has the start of train() in it",
        checks={"steps": len(losses), "products": len(recorder.products)},
        gigaflops=flops(recorder.products) / 1e9,
        profile=[{"name": r.key, "self_seconds": r.self_cpu_time_total / 1e6, "calls": r.count} for r in rows],
    )


def main(argv: list[str] | None = None) -> None:
    """Run the scenarios, print, write."""
    options = parser(__doc__)
    options.add_argument("--epochs", type=int, default=1)
    args = settle(options.parse_args(argv), facts=100, repeats=5)
    loaded = load(args)
    with tempfile.TemporaryDirectory() as folder:
        common = common_options(folder, args.epochs)
        rows = []
        for kind in TITLES:
            rows.append(compare(kind, args, loaded, common))
            if not args.quick or kind == "chat":
                rows += memory(kind, args)
        rows += [weights(args, loaded, common), products(args, loaded, common)]
    report("train_step", args, rows)


if __name__ == "__main__":
    main()
