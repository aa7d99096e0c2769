"""Make the tables and figures of all studies again from their raw results, and put the tables into the pages.

    python docs/render.py

A page takes a table or a figure between `<!-- table results/.../NAME.md -->` and `<!-- /table -->`, without its title;
a budget search is named by its `budget.json`, the trainers' own arguments by `arguments`.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import yaml
from transformers import TrainingArguments

from semantic_trainer import SemanticSFTConfig, SemanticTrainingArguments
from semantic_trainer.commands import study
from semantic_trainer.evaluation.comparison import Difference
from semantic_trainer.files import write_atomically
from semantic_trainer.study.averages import EMPTY, in_points
from semantic_trainer.study.budget import METRICS
from semantic_trainer.study.notes import commits, regime
from semantic_trainer.study.results import read_settings
from semantic_trainer.study.table import heads

ROOT = Path(__file__).parents[1]
RUN = "*[0-9][0-9][0-9][0-9].json"  # a run's file, of a group or of none
PICTURE = re.compile(r'(src|srcset)="')
BLOCK = re.compile(r"(<!-- table (?P<path>\S+) -->\n)(?P<body>.*?)(<!-- /table -->)", re.DOTALL)


def recipes(root: Path = ROOT) -> list[Path]:
    """Recipes of studies that have results."""
    found = sorted(root.glob("examples/*/*.yaml"))
    recipe = {path: yaml.safe_load(path.read_text(encoding="utf-8")) for path in found}
    return [p for p, r in recipe.items() if "settings" in r and any((root / r["output_dir"]).rglob(RUN))]


def with_tables(page: str, root: Path = ROOT) -> str:
    """A page with its tables as they are in `root` now."""

    def filled(match: re.Match) -> str:
        if match["path"] == "arguments":
            return match[1] + arguments_table() + match[4]
        path = Path(match["path"])
        text = (root / path).read_text(encoding="utf-8")
        body = search(json.loads(text), root / path.parent) if path.suffix == ".json" else text.split("\n", 2)[2]
        return match[1] + PICTURE.sub(rf'\1="../{path.parent.as_posix()}/', body) + match[4]

    return BLOCK.sub(filled, page)


def arguments_table() -> str:
    """What `SemanticTrainingArguments` adds to `TrainingArguments`, and which of it `SemanticSFTConfig` has too."""
    lines = ["| argument | default | | TRL's trainer |", "|---|---|---|---|"]
    stock, trl = ({f.name for f in fields(kind)} for kind in (TrainingArguments, SemanticSFTConfig))
    for f in fields(SemanticTrainingArguments):
        if f.name not in stock:
            has = "yes" if f.name in trl else ""
            lines.append(f"| `{f.name}` | `{f.default}` | {f.metadata['help'].replace('|', chr(92) + '|')} | {has} |")
    return "\n".join(lines) + "\n"


def search(found: Mapping, folder: Path) -> str:
    """The table of a budget search, and how its runs, which lie beside it, came about."""
    study = read_settings(folder, {"budget": sorted(path.name for path in (folder / "budget").iterdir())})
    notes = [regime("Best setting", {found["arm"]: study["budget"][found["arm"]]}), commits(study)]
    return search_table(found) + "".join(f"\n- {note}" for note in notes) + "\n"


def search_table(found: Mapping) -> str:
    """Every setting of a budget search, the best first, and what is expected of the best ones."""
    columns = ("arm", "learning rate", "batch", "rank", "epochs", "runs", "seconds", *heads(METRICS))
    lines = [columns, ["---"] * len(columns)]
    for row in [*found["trials"], *found["curve"]]:
        how = (EMPTY if row[name] is None else f"{row[name]:g}" for name in ("batch_size", "rank", "epochs", "runs"))
        scores = (in_points(row[metric]) for metric in METRICS)
        lines.append((row["arm"], f"{row['learning_rate']:g}", *how, f"{row['seconds']:.0f}", *scores))
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    expected = "; ".join(
        f"{arm}: {in_points(scores['knowledge_accuracy'])} % accuracy, {in_points(scores['generality'])} % generality"
        for arm, scores in found["expected"].items()
    )
    difference = found["difference"].get("knowledge_accuracy")
    against = f" Difference of accuracy: {Difference(**difference)} points." if difference else ""
    return f"{text}\n\nExpected, from draws that had no part in choosing: {expected}.{against}\n"


def main() -> None:
    """Make every table and figure, then every page."""
    os.chdir(ROOT)  # recipes name folders from there
    for recipe in recipes():
        study.main(["--config", str(recipe.relative_to(ROOT)), "--only_tables", "true"])
    for path in sorted(ROOT.glob("docs/*.md")):
        page = path.read_text(encoding="utf-8")
        if with_tables(page) != page:
            write_atomically(path, with_tables(page).encode())
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
