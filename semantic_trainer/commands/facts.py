"""`semantic-trainer facts`: validate and describe files of facts, without a model; publish them if asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..facts.answered import without_answers
from ..facts.readers import describe_relations
from ..facts.sets import read_fact_sets
from ..training.training_args import SemanticTrainingArguments
from .options import parse
from .publishing import PublishArguments, publish
from .run import RunArguments
from .terminal import console as terminal

SHOWN_FACTS = 5


@dataclass
class DescribeArguments(PublishArguments, RunArguments):
    """The options of `run`, so that one YAML serves both, and where to publish the facts."""

    def __post_init__(self) -> None:
        RunArguments.__post_init__(self)
        self.check_publishing()


def main(argv: Sequence[str]) -> int:
    """Parse, check, print."""
    from rich.markup import escape
    from rich.table import Table

    from ..report.publishing import facts_files

    args, _ = parse(argv, "facts", (DescribeArguments, SemanticTrainingArguments))  # one YAML serves every command
    facts, check = read_fact_sets(args)
    console = terminal()
    console.print(f"{check.n} facts read, {len(check.dropped)} to drop, {len(facts)} to teach", highlight=False)
    for line in check.describe():
        console.print(f"  {line}", highlight=False, markup=False)
    console.print(
        ", ".join(
            f"{name.replace('_', ' ')} {sum(map(len, facts[name][:]))}"
            for name in ("paraphrases", "locality_prompts", "portability")
        ),
        highlight=False,
    )
    relations = Table("relation", "facts")
    for relation, count in describe_relations(facts):
        relations.add_row(escape(relation), str(count))
    examples = Table("prompt", "target", "ground truth")
    for fact in facts.select(range(min(SHOWN_FACTS, len(facts)))):
        examples.add_row(*(escape(fact[name] or "") for name in ("prompt", "target", "ground_truth")))
    console.print(relations)
    console.print(examples)
    facts = without_answers(facts)
    publish(args, lambda: facts_files(facts, args.push, license=args.license), f"Upload {len(facts)} facts")
    return 0
