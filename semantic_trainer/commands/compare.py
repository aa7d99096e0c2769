"""`semantic-trainer compare`: two finished runs, or the two arms of one, on the facts that both were taught."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import check_writable
from .finished import check_folder
from .options import refuse
from .terminal import console as terminal

if TYPE_CHECKING:  # --help needs none of them
    from .comparable import Comparison

LESS_IS_BETTER = ("deviation",)
PLAIN, WEIGHTED = "plain", "weighted"


def build_parser() -> argparse.ArgumentParser:
    """The command's options; a wrong one is one sentence, not the whole usage."""
    parser = argparse.ArgumentParser(
        prog="semantic-trainer compare",
        description="Compare two finished runs, fact by fact: B minus A with 95 % intervals and p-values.",
        epilog="With one RUN its plain arm is A and its weighted arm is B. The difference is one of these adapters; "
        "for a difference of methods repeat both with several seeds.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs", metavar="RUN", type=Path, nargs="+", help="The output_dir of one or two finished runs."
    )
    parser.add_argument("--arm_a", metavar="ARM", help="Of A; plain with one RUN, weighted with two.")
    parser.add_argument("--arm_b", metavar="ARM", default=WEIGHTED, help="Of B; weighted by default.")
    parser.add_argument(
        "--output",
        metavar="FILE.png",
        type=Path,
        default=Path("compare.png"),
        help="The figure; compare.png by default.",
    )
    parser.error = refuse
    return parser


def main(argv: Sequence[str]) -> int:
    """Parse, check everything that needs no library, read, compare, draw, print."""
    args = build_parser().parse_intermixed_args(list(argv))
    sides = choose_sides(args.runs, args.arm_a, args.arm_b)
    check_output(args.output)
    from ..report.comparison_figure import differences_figure
    from ..report.figures import save_figure
    from .comparable import compare_arms, read_arm

    labels = name_sides(sides)
    a, b = (
        read_arm(folder, arm, option, label)
        for (folder, arm), option, label in zip(sides, ("--arm_a", "--arm_b"), labels, strict=True)
    )
    found = corrected(compare_arms(a, b))
    save_figure(differences_figure(titled(found), *labels), args.output)
    show(found, *labels)
    print(f"Drawn to {args.output}.")
    return 0


def choose_sides(runs: Sequence[Path], arm_a: str | None, arm_b: str) -> list[tuple[Path, str]]:
    """Folder and arm of A and of B.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: more than two runs, or one arm of one run twice.
    """
    if len(runs) > 2:
        raise ValueError(f"give one or two RUNs, not {len(runs)}: compare them pair by pair.")
    for folder in runs:
        check_folder(folder)
    one = runs[0].resolve() == runs[-1].resolve()
    arm_a = arm_a or (PLAIN if one else WEIGHTED)
    if one and arm_a == arm_b:
        raise ValueError(f"A and B are both the arm {arm_a!r} of RUN {str(runs[0])!r}. Give two arms or two RUNs.")
    return [(runs[0], arm_a), (runs[-1], arm_b)]


def check_output(path: Path) -> None:
    """Raise, before any work, where the figure cannot be written."""
    if path.suffix.lower() != ".png":
        raise ValueError(f"`--output` {str(path)!r} must end in .png, the one format that is written.")
    if path.is_dir():
        raise IsADirectoryError(f"`--output` {str(path)!r} is a folder. Give a file in it.")
    check_writable(path.parent, "`--output`, its folder", "Choose another file with --output.")


def name_sides(sides: Sequence[tuple[Path, str]]) -> list[str]:
    """What to call A and B: as short as tells them apart."""
    (folder_a, arm_a), (folder_b, arm_b) = sides
    if folder_a.resolve() == folder_b.resolve():
        return [arm_a, arm_b]
    names = [folder.resolve().name for folder, _ in sides]
    if names[0] == names[1]:
        names = [str(folder) for folder, _ in sides]
    return names if arm_a == arm_b else [f"{name} {arm}" for name, (_, arm) in zip(names, sides, strict=True)]


def corrected(found: Sequence["Comparison"]) -> list["Comparison"]:
    """The same comparisons, their p-values corrected for the number of metrics that are defined."""
    from ..evaluation.comparison import adjust

    adjusted = iter(adjust([c.difference for c in found if c.difference]))
    return [replace(c, difference=next(adjusted)) if c.difference else c for c in found]


def titled(found: Sequence["Comparison"]) -> dict[str, object]:
    """Title of a metric -> its difference, of the metrics that are defined."""
    return {title(c.metric): c.difference for c in found if c.difference}


def title(metric: str) -> str:
    """As in every table, and which way is better where that is not up."""
    from ..report.scores import TITLES

    return TITLES[metric] + " (less is better)" * (metric in LESS_IS_BETTER)


def show(found: Sequence["Comparison"], a: str, b: str) -> None:
    """The one table, and the one sentence."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from ..evaluation.comparison import format_p

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=escape(caption(found)), caption_justify="left")
    table.add_column("", overflow="fold")
    for name in (a, b, "B − A [95 %], points", "p", "facts"):
        table.add_column(escape(name), justify="right", overflow="fold")
    for c in found:
        values = ["–" if side["value"] is None else f"{100 * side['value']:.1f} %" for side in (c.a, c.b)]
        difference, p = "–", "–"
        if c.difference:
            difference, p = c.difference.points(), format_p(c.difference.p_value).removeprefix("p ").removeprefix("= ")
        table.add_row(title(c.metric), *values, escape(difference), p, str(c.a["n"]))
    console = terminal()
    console.print(table)
    console.print(escape(verdict(found, a, b)), highlight=False)


def caption(found: Sequence["Comparison"]) -> str:
    """How the numbers came about."""
    tests = dict.fromkeys(c.difference.test for c in found if c.difference)
    number = sum(c.difference is not None for c in found)
    return f"{found[0].a['protocol']}. {'; '.join(tests)}; p-values corrected for {number} metrics (Holm)."


def verdict(found: Sequence["Comparison"], a: str, b: str) -> str:
    """One sentence: where B is better or worse than A, and where nothing is known."""
    parts: dict[str, list[str]] = {"better": [], "worse": [], "unknown": []}
    for c in (c for c in found if c.difference):
        way = "better" if (c.difference.value > 0) != (c.metric in LESS_IS_BETTER) else "worse"
        name = c.metric.replace("_", " ")
        evident = c.difference.evident
        parts[way if evident else "unknown"].append(f"{name} ({c.difference.describe()})" if evident else name)
    said = [f"is {way} than {a} in {' and '.join(parts[way])}" for way in ("better", "worse") if parts[way]]
    unknown = f"no evidence of a difference in {', '.join(parts['unknown'])}" if parts["unknown"] else ""
    if not said:
        return f"Between {a} and {b} there is {unknown}."
    return "; ".join(filter(None, (f"{b} {' and '.join(said)}", unknown))) + "."
