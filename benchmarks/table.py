"""Write the page of the side-by-side benchmarks from their JSON.

python benchmarks/table.py results/bench.json docs/benchmarks.md [--distances results/distances.json]
"""

import argparse
import json
from pathlib import Path

from side_by_side import ratio_text

from semantic_trainer.files import write_atomically

HEAD = """# Benchmarks

Speed and memory of this project beside what one would use instead, alternating in one run with the same facts,
tokens, stop rule, dtype and threads. Every figure is a median with its quartiles; a ratio is the median over pairs,
with a bootstrap 95 % interval, which for two or three pairs is no more than their range. `make bench` runs every
section at its default size and writes this page; `make bench
QUICK=1` is the small one and writes to `runs/bench`. Each section names the command it was measured by; every single
timing, batch sizes tried, checks and a profile of the training step are in `results/bench.json`.
"""
COLUMNS = ("| what | measured | ratio | must be |", "|---|---|---|---|")


def number(value: float) -> str:
    """Three significant digits or so."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cell(values: dict, unit: str) -> str:
    """`14.2 s (14.1 to 14.5)`."""
    low, high = values["quartiles"]
    quartiles = f" ({number(low)} to {number(high)})" if len(values["all"]) > 1 else ""
    return f"{number(values['median'])} {unit}{quartiles}"


def check_text(value: object) -> str:
    """A check's outcome in a few words."""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, dict):
        return ", ".join(f"{name} {check_text(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(check_text, value))
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def rows_of(section: dict) -> list[str]:
    """Table rows of one benchmark."""
    lines = []
    for row in section["scenarios"]:
        ratio, unit = row["ratio"], row["unit"]
        bar = f"at least {ratio['at_least']:g}" if "at_least" in ratio else f"at most {ratio['at_most']:g}"
        sides = "<br>".join(f"{side}: {cell(values, unit)}" for side, values in row["measured"].items())
        what = f"{row['name']}<br>*{row['note']}*" if row.get("note") else row["name"]
        held = "" if ratio["holds"] else " **missed**"
        lines.append(f"| {what} | {sides} | {ratio['of']} / {ratio['to']}: {ratio_text(ratio)} | {bar}{held} |")
    return lines


def checks_of(section: dict) -> list[str]:
    """What was checked, one line a scenario."""
    checked = [row for row in section["scenarios"] if row.get("checks")]
    return [
        f"- {row['name']}: " + "; ".join(f"{name}: {check_text(value)}" for name, value in row["checks"].items())
        for row in checked
    ]


def profile_of(section: dict) -> list[str]:
    """The five kernels that take most of the training step."""
    rows = next((row["profile"] for row in section["scenarios"] if "profile" in row), [])
    shown = ", ".join(f"`{row['name']}` {row['self_seconds']:.2f} s in {row['calls']:,} calls" for row in rows[:5])
    return [f"Most of the training step's time went to {shown}.", ""] if shown else []


def command(name: str, config: dict) -> str:
    """What gives this section again, but for what is the default everywhere."""
    size = f" --facts {config['facts']}" if config["facts"] else ""
    dtype = "" if config["dtype"] == "float32" else f" --dtype {config['dtype']}"
    script = f"python benchmarks/{name.split()[0]}.py"
    if "sizes" in config:
        size += f" --sizes {' '.join(map(str, config['sizes']))} --clock {config['clock']}{' --tiny' * config['tiny']}"
    if config.get("threads"):
        size += f" --threads {config['threads']}"
    return f"{script}{size} --repeats {config['repeats']}{dtype} --output results/bench.json"


def setting(section: dict) -> str:
    """Facts, repeats, versions and machine, in a sentence or two."""
    config, environment = section["config"], section["environment"]
    machine, versions = environment["machine"], environment["versions"]
    names = ", ".join(f"{name} {versions[name]}" for name in ("torch", "transformers", "peft", "trl"))
    facts = f"{config['facts']} facts of {config['source'] or 'all files'}, " if config["facts"] else ""
    return (
        f"{facts}{config['repeats']} repeats, {config['dtype']}, {config['model']}; {names}; {machine['processor']}, "
        f"{machine['threads']} threads, load {environment['load'][0]:.1f} at the end."
    )


def distances(found: dict) -> list[str]:
    """A line for each number of rows of distances.py, and its ratio to the reference."""
    lines = [
        f"- {run['rows']:,} pairs: {run['seconds']} s, {run['megabytes']:.0f} MB; as Python lists "
        f"{run['megabytes_as_lists']:.0f} MB"
        for run in found["runs"]
    ]
    low, high = found["reference"]["ratio_range"]
    return [*lines, f"- pair by pair: {found['reference']['ratio_median']} times as long ({low} to {high})"]


def page(sections: dict, measured_distances: dict | None = None) -> str:
    """The whole page."""
    lines = [HEAD]
    for name, section in sections.items():
        lines += [f"## `{name}`", "", f"`{command(name, section['config'])}`:", setting(section), "", *COLUMNS]
        lines += [*rows_of(section), "", *profile_of(section)]
        checks = checks_of(section)
        lines += ["Checks:", "", *checks, ""] if checks else []
    if measured_distances:
        lines += ["## `distances`", "", *distances(measured_distances), ""]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Read the JSON, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("--distances", type=Path)
    args = parser.parse_args(argv)
    found = None
    if args.distances and args.distances.exists():
        found = json.loads(args.distances.read_text(encoding="utf-8"))
    sections = json.loads(args.results.read_text(encoding="utf-8"))
    write_atomically(args.page, page(sections, found).encode())


if __name__ == "__main__":
    main()
