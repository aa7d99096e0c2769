"""`semantic-trainer facts`: validate and describe files of facts, without a model."""

from collections.abc import Sequence

from ..facts.readers import describe_relations
from ..facts.sets import read_fact_sets
from ..training.training_args import SemanticTrainingArguments
from .options import parse
from .run import RunArguments

SHOWN_FACTS = 5


def main(argv: Sequence[str]) -> int:
    """Parse, check, print."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    args, _ = parse(argv, "facts", (RunArguments, SemanticTrainingArguments))  # one YAML serves every command
    facts, check = read_fact_sets(args)
    console = Console()
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
    return 0
