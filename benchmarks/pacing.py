"""Self-paced weights beside all-ones weights: what four epochs pay for the pass before step 1 and the table of losses.

    python benchmarks/pacing.py [--facts 100] [--repeats 5] [--output results/bench.json]

The same trainer, facts, steps and adapter, alternating, asked as in the demo. At most 5 % is allowed. Once the trainer
makes that pass itself, once it finds the losses in the column `target_loss`.
"""

import copy
import tempfile

from datasets import Dataset
from side_by_side import alternate, parser, report, scenario, settle
from workload import SHOTS, common_options, load, our_trainer, training

from semantic_trainer import PromptFormat
from semantic_trainer.evaluation.forward import teacher_forced

EPOCHS = 4


def main(argv: list[str] | None = None) -> None:
    """Time both, print, write."""
    args = settle(parser(__doc__).parse_args(argv), facts=100, repeats=5)
    model, tokenizer, facts = load(args)
    form = PromptFormat.question_answer(SHOTS)
    with tempfile.TemporaryDirectory() as folder:
        options = common_options(folder, EPOCHS)

        known = teacher_forced(model, tokenizer, facts["prompt"][:], facts["target"][:], form)[1]
        sides = {
            "self_paced": (facts, "self_paced"),
            "self_paced, losses known": (facts.add_column("target_loss", known), "self_paced"),
            "none": (facts, "none"),
        }

        def side(rows: Dataset, weighting: str) -> object:
            how = (tokenizer, rows, form, options)
            return training(lambda: our_trainer(copy.deepcopy(model), *how, weighting=weighting))

        seconds, losses = alternate({name: side(*how) for name, how in sides.items()}, args.repeats)
    found = []
    for name, title in (("self_paced", ""), ("self_paced, losses known", ", losses known")):
        checks = {
            "the losses differ": losses[name] != losses["none"],
            "as many steps": len(losses[name]) == len(losses["none"]),
        }
        measured = {side: seconds[side] for side in (name, "none")}
        ratio = (name, "none")
        found.append(scenario(f"self-paced weights{title}, 4 epochs", measured, ratio, at_most=1.05, checks=checks))
    report("pacing", args, found)


if __name__ == "__main__":
    main()
