"""Time per fact of old answers, training and evaluation from 100 to 10,000 facts: does it stay what it is?

    python benchmarks/scaling.py [--up_to 10000] [--repeats 5] [--tiny] [--output results/bench.json]

The facts are those of every JSON file in $DATA_DIR in a drawn order, without repeated prompts, then, where they do
not suffice, synthetic ones: real facts with the subject of another. The smallest size is timed on --repeats parts that
have no fact in common, and again after the largest; the others once. Every stage is the public one, asked as in the
demo, with stores that begin empty: add_old_answers; one epoch of training in batches of 10; evaluate_facts on prompt
and one paraphrase, after that epoch. With --clock processor the seconds are the process's own, which other work on
the machine moves little; with --tiny they are those of all but the model's products. The growth is each median
relative to that of the smallest size. Takes hours at 10,000 facts; not part of `make bench QUICK=1`.
"""

import argparse
import copy
import os
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from side_by_side import parser, report, scenario, settle
from transformers import LlamaConfig, LlamaForCausalLM
from workload import SHOTS, common_options, our_trainer, quiet

from semantic_trainer import PromptFormat, add_old_answers, evaluate_facts, load_facts
from semantic_trainer.models import load_model

SIZES = (100, 300, 1_000, 3_000, 10_000)
STAGES = ("old answers", "training", "evaluation")
GROWTH = 1.1
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def real_rows(args: argparse.Namespace) -> list[dict]:
    """Rows of all files, in a drawn order, one a prompt, with one paraphrase at most."""
    files = sorted(Path(os.environ.get("DATA_DIR", ".")).glob("*.json"))
    sources = [args.source] if args.source else [str(path) for path in files] or ["builtin:counterfactual"]
    rows = {}
    for source in sources:
        for row in load_facts(source, on_conflict="drop"):
            rows.setdefault(row["prompt"].strip(), row)
    kept = [
        {key: row[key] for key in ("prompt", "target", "subject")} | {"paraphrases": row["paraphrases"][:1]}
        for row in rows.values()
    ]
    random.Random(0).shuffle(kept)
    return kept


def synthetic_rows(rows: list[dict], n: int, seed: int = 0) -> list[dict]:
    """`n` new rows, each a real one with the subject of another put in its place; the target stays."""
    draw = random.Random(seed)
    with_subject = [row for row in rows if row["subject"] and row["subject"] in row["prompt"]]
    made, taken = [], {row["prompt"] for row in rows}
    if n and len({row["subject"] for row in with_subject}) < 2:
        raise ValueError("synthetic facts need at least two real ones with different subjects in their prompts.")
    while len(made) < n:
        row, other = draw.choice(with_subject), draw.choice(with_subject)["subject"]
        texts = [text.replace(row["subject"], other) for text in (row["prompt"], *row["paraphrases"])]
        if texts[0] not in taken:
            taken.add(texts[0])
            made.append({"prompt": texts[0], "target": row["target"], "subject": other, "paraphrases": texts[1:]})
    return made


def parts(rows: list[dict], size: int, repeats: int) -> list[Dataset]:
    """Up to `repeats` parts of `size` rows that have none in common."""
    number = min(repeats, len(rows) // size)
    return [Dataset.from_list(rows[i * size : (i + 1) * size]) for i in range(number)]


def tiny(tokenizer: object) -> torch.nn.Module:
    """A Llama of 2 layers and 32 dimensions, whose products take next to no time: what is left is everything else."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), num_key_value_heads=1, tie_word_embeddings=True, **sizes, **ids)
    )


def seconds_per_fact(
    model: torch.nn.Module, tokenizer: object, facts: Dataset, clock: str = "wall"
) -> dict[str, float]:
    """Stage -> seconds per fact, on a copy of the model."""
    form, model, now = PromptFormat.question_answer(SHOTS), copy.deepcopy(model), CLOCKS[clock]
    times = [now()]
    with tempfile.TemporaryDirectory() as folder:
        add_old_answers(facts, model, tokenizer, form, store_dir=f"{folder}/answers", dtype="model")
        times.append(now())
        trainer = our_trainer(model, tokenizer, facts, form, common_options(folder, 1))
        trainer.train()
        times.append(now())
        # The base's answers are in the store, as in a run.
        evaluate_facts(trainer.model, tokenizer, facts, form, store_dir=f"{folder}/answers", keep=False, dtype="model")
        times.append(now())
    return dict(zip(STAGES, (np.diff(times) / len(facts)).tolist(), strict=True))


def growth(found: dict[int, list[dict[str, float]]], real: int) -> list[dict]:
    """One row a stage and larger size: time per fact relative to the smallest size's."""
    smallest = min(found)
    rows = []
    for stage in STAGES:
        medians = {size: float(np.median([times[stage] for times in found[size]])) for size in found}
        for size in sorted(found)[1:]:
            measured = {f"{n:,} facts": [medians[n]] for n in (size, smallest)}
            made = max(0, size - real)
            note = f"seconds per fact; {f'{made:,} of the facts are synthetic' if made else 'real facts'}"
            ratio = (f"{size:,} facts", f"{smallest:,} facts")
            rows.append(scenario(f"{stage}, growth", measured, ratio, at_most=GROWTH, unit="s/fact", note=note))
    return rows


def main(argv: list[str] | None = None) -> None:
    """Time every size, print, write after each."""
    options = parser(__doc__)
    options.add_argument("--up_to", type=int, default=SIZES[-1], help="stop at this size")
    options.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    options.add_argument("--tiny", action="store_true", help="a tiny model with the same tokenizer: all but products")
    options.add_argument("--clock", choices=CLOCKS, default="wall")
    args = settle(options.parse_args(argv), facts=0, repeats=5)
    quiet()
    sizes = [size for size in sorted(args.sizes) if size <= args.up_to]
    rows = real_rows(args)
    real = len(rows)
    rows += synthetic_rows(rows, max(0, sizes[-1] - real))
    model, tokenizer = load_model(args.model, getattr(torch, args.dtype), None)
    model = tiny(tokenizer) if args.tiny else model
    seconds_per_fact(model, tokenizer, Dataset.from_list(rows[:10]))  # warm-up
    found: dict[int, list[dict[str, float]]] = {}
    for size in [*sizes, sizes[0]]:
        repeats = args.repeats if size == sizes[0] else 1
        made = [seconds_per_fact(model, tokenizer, part, args.clock) for part in parts(rows, size, repeats)]
        found[size] = found.get(size, []) + made
        print(size, made, flush=True)
        section = "scaling tiny" if args.tiny else "scaling"
        report(section, args, growth(found, real), seconds_per_fact=found, real_facts=real)


if __name__ == "__main__":
    main()
