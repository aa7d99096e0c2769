"""Self-paced weights beside all-ones weights: what four epochs pay for the pass before step 1 and the table of losses.

    python benchmarks/pacing.py [--facts 100] [--repeats 5] [--output results/bench.json]

The same trainer, facts, steps and adapter, alternating, asked as in the demo. At most 5 % is allowed.
"""

import copy
import tempfile

from side_by_side import alternate, parser, report, scenario, settle
from workload import SHOTS, common_options, load, our_trainer, training

from semantic_trainer import PromptFormat

EPOCHS = 4


def main(argv: list[str] | None = None) -> None:
    """Time both, print, write."""
    args = settle(parser(__doc__).parse_args(argv), facts=100, repeats=5)
    model, tokenizer, facts = load(args)
    form = PromptFormat.question_answer(SHOTS)
    with tempfile.TemporaryDirectory() as folder:
        options = common_options(folder, EPOCHS)

        def side(weighting: str) -> object:
            how = (tokenizer, facts, form, options)
            return training(lambda: our_trainer(copy.deepcopy(model), *how, weighting=weighting))

        seconds, losses = alternate({name: side(name) for name in ("self_paced", "none")}, args.repeats)
    checks = {
        "the losses differ": losses["self_paced"] != losses["none"],
        "as many steps": len(losses["self_paced"]) == len(losses["none"]),
    }
    ratio = ("self_paced", "none")
    report("pacing", args, [scenario("self-paced weights, 4 epochs", seconds, ratio, at_most=1.05, checks=checks)])


if __name__ == "__main__":
    main()
