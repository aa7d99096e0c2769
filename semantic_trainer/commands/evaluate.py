"""`semantic-trainer evaluate`: a published adapter on its base model again; does its table hold?"""

import argparse
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..facts.messages import suggest
from ..hub.card import card_values, contradictions, other_rows
from ..hub.plan import ADAPTER, MODEL, Upload, weights_sha256
from ..hub.pull import CARD
from .finished import PLACES
from .options import refuse
from .published import Published, find_facts, open_published
from .terminal import console as terminal
from .terminal import printable

if TYPE_CHECKING:  # --help needs none of them
    from datasets import Dataset

    from ..evaluation.replication import Replicated

logger = logging.getLogger(__name__)
HOLDS, FAILS = 0, 1  # as of `diff`; 2 is an error, as of every command
POINTS = 1.0


def build_parser() -> argparse.ArgumentParser:
    """The command's options; a wrong one is one sentence, not the whole usage."""
    parser = argparse.ArgumentParser(
        prog="semantic-trainer evaluate",
        usage="%(prog)s --adapter ORG/NAME [options]",
        description="Score a published adapter again, on its base model and its facts: does its table hold?",
        epilog="Exit status: 0 the table holds, 1 it does not, 2 it could not be checked.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--adapter", metavar="ORG/NAME", help="On the Hub, or a folder: a download of one, or a finished run's."
    )
    parser.add_argument("--revision", metavar="NAME", help="Branch, tag or commit on the Hub; main by default.")
    parser.add_argument("--arm", choices=PLACES, help="Which adapter of a run's own folder; weighted by default.")
    parser.add_argument(
        "--facts", nargs="+", default=[], metavar="SET", help="The run's fact sets, where none were published."
    )
    parser.add_argument("--data_dir", metavar="DIR", help="Folder of fact files given by their bare names.")
    parser.add_argument("--model", metavar="MODEL", help="The base model; by default the one the summary names.")
    parser.add_argument("--any_base", action="store_true", help="Go on where the base has other weights.")
    parser.add_argument(
        "--tolerance", type=float, default=POINTS, metavar="POINTS", help="Largest difference that holds; 1 point."
    )
    parser.add_argument(
        "--trust_remote_code", action="store_true", help="Run code that the base model's repository holds."
    )
    parser.error = refuse
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options; an unknown one is named."""
    parser = build_parser()
    args, unknown = parser.parse_known_args(list(argv))
    if unknown:
        name = unknown[0].partition("=")[0]
        near = suggest(name.lstrip("-"), vars(args))
        raise ValueError(f"`{name}` is no option of evaluate.{near} --help lists them all.")
    if not args.adapter:
        raise ValueError("`--adapter` is missing. Give ORG/NAME on the Hub, or the folder of an adapter.")
    if not 0 <= args.tolerance <= 100:
        raise ValueError(f"`--tolerance` is in points, from 0 to 100, but {args.tolerance} was passed.")
    return args


def main(argv: Sequence[str]) -> int:
    """Parse, pull, check, score again, print; 0 where the table holds and 1 where it does not."""
    args = parse(argv)
    published = open_published(args.adapter, args.revision, args.arm)
    facts = find_facts(published, args.facts, args.data_dir)
    from ..evaluation.replication import replicate
    from .rescoring import load_base, rescore

    found = findings(published)
    for finding in found:
        logger.warning("%s", finding)
    model, tokenizer = load_base(published, args.model, args.any_base, args.trust_remote_code)
    evaluations = rescore(published, facts, model, tokenizer)
    measured = {run: evaluation.summary for run, evaluation in evaluations.items()}
    rows = replicate(published.summary.runs, measured, args.tolerance / 100)
    show(rows, [*found, *changed_answers(published, evaluations[published.arm].table)])
    print(verdict(printable(published.name), rows, found))
    return FAILS if found or any(row.trouble for row in rows) else HOLDS


def findings(published: Published) -> list[str]:
    """What contradicts the summary before anything is measured: other weights, other numbers in the card."""
    found = []
    recorded = (published.summary.environment.get("published") or {}).get("sha256")
    pattern = MODEL[0] if published.full else ADAPTER[1]
    files = [Upload(path.name, path) for path in published.weights.glob(pattern)]
    if recorded and weights_sha256(files) != recorded:
        found.append("the weights are not those that were published with this summary: their sha256 is another one")
    if (recorded or published.from_hub) and (published.folder / CARD).is_file():
        found += card_findings(published)
    return found


def card_findings(published: Published) -> list[str]:
    """Where the card claims other numbers than the summary it was made of, in its metadata or its table."""
    from ..report.scores import result_rows

    text = (published.folder / CARD).read_text(encoding="utf-8", errors="replace")
    try:
        others = contradictions(card_values(text), published.summary.runs[published.arm])
    except ValueError as error:
        return [str(error)]
    rows = other_rows(text, result_rows(published.summary))
    named = list(dict.fromkeys([*(name.replace("_", " ") for name in others), *map(str.lower, rows)]))
    return [f"the card claims another {', '.join(named)} than the summary"] if named else []


def changed_answers(published: Published, table: "Dataset") -> list[str]:
    """How many answers are others than those published, where `facts.parquet` is there to say."""
    import pyarrow

    from .comparable import read_columns
    from .published import FACTS

    column, path = f"{published.arm}_answer", published.folder / FACTS
    if not path.is_file():
        return []
    try:
        kept = {row["prompt"]: row[column] for row in read_columns(path, ["prompt", column])}
    except (ValueError, TypeError, pyarrow.ArrowException) as error:
        return [f"its published answers cannot be read: {error}"]
    asked = list(zip(table["prompt"][:], table["new_answer"][:], strict=True))
    others = sum(kept.get(prompt) != answer for prompt, answer in asked)
    return [f"{others} of {len(asked)} answers are not the published ones"] if others else []


def show(rows: Sequence["Replicated"], found: Sequence[str]) -> None:
    """The table, and what else was found."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from ..report.scores import TITLES, format_score

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption_justify="left")
    table.caption = escape(printable(rows[0].measured["protocol"]))
    for name, side in (("", "left"), ("published", "right"), ("measured now", "right"), ("difference", "right")):
        table.add_column(name, justify=side, overflow="fold")
    table.add_column("", overflow="fold")
    for run in dict.fromkeys(row.run for row in rows):
        table.add_row(run)
        for row in (row for row in rows if row.run == run and (row.published["value"], row.trouble) != (None, "")):
            values = [format_score(score, row.metric, digits=0) for score in (row.published, row.measured)]
            cells = [f"  {TITLES[row.metric]}", *values, points(row), printable(row.trouble) or "holds"]
            table.add_row(*map(escape, cells))
    console = terminal()
    console.print(table)
    for finding in found:
        console.print(escape(printable(f"Also: {finding}.")), highlight=False)


def points(row: "Replicated") -> str:
    """A difference in points, of relative deviation in its own unit; a dash where there is none."""
    if row.difference is None:
        return "–"
    ratio = row.metric == "relative_deviation"
    return f"{row.difference:+.3f}" if ratio else f"{100 * row.difference:+.1f}"


def verdict(name: str, rows: Sequence["Replicated"], found: Sequence[str]) -> str:
    """Whether the published table holds, in one sentence.

    Args:
        found: of `findings`.
    """
    failed = list(dict.fromkeys(f"{row.metric.replace('_', ' ')} ({row.run})" for row in rows if row.trouble))
    if failed:
        return f"The published table of {name} does not hold: {', '.join(failed)}."
    if found:
        return f"The scores of {name} hold, but not all that was published is of one run."
    return f"The published table of {name} holds."
