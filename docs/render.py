"""Make the tables and figures of all studies again from their raw results, and put the tables into the pages.

    python docs/render.py

A page takes a table between `<!-- table results/.../NAME.md -->` and `<!-- /table -->`, without its title.
"""

import re
from pathlib import Path

import yaml

from semantic_trainer.commands import study
from semantic_trainer.files import write_atomically

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- table (?P<path>\S+) -->\n)(?P<body>.*?)(<!-- /table -->)", re.DOTALL)


def recipes(root: Path = ROOT) -> list[Path]:
    """Recipes of studies that have results."""
    found = sorted(root.glob("examples/*/*.yaml"))
    recipe = {path: yaml.safe_load(path.read_text(encoding="utf-8")) for path in found}
    return [p for p, r in recipe.items() if "settings" in r and any((root / r["output_dir"]).rglob("[0-9]*.json"))]


def with_tables(page: str, root: Path = ROOT) -> str:
    """A page with its tables as they are in `root` now."""

    def filled(match: re.Match) -> str:
        body = (root / match["path"]).read_text(encoding="utf-8").split("\n", 2)[2]  # after its title
        return f"{match[1]}{body}{match[4]}"

    return BLOCK.sub(filled, page)


def main() -> None:
    """Make every table and figure, then every page."""
    for recipe in recipes():
        study.main(["--config", str(recipe.relative_to(ROOT)), "--only_tables", "true"])
    for path in sorted(ROOT.glob("docs/*.md")):
        page = path.read_text(encoding="utf-8")
        if with_tables(page) != page:
            write_atomically(path, with_tables(page).encode())
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
