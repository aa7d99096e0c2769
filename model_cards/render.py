"""Render the cards of this folder, and their pictures, from the summaries in results/cards: `make cards`.

Each run gives two cards, of its plain and of its weighted adapter. Nothing here is edited by hand.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from semantic_trainer.report.figures import distance_histogram, save_figure
from semantic_trainer.report.model_card import ARMS, PICTURE, create_model_card, write_text
from semantic_trainer.report.summary import RunSummary

ROOT = Path(__file__).parents[1]
SUMMARIES = ROOT / "results" / "cards"


def summaries(folder: Path = SUMMARIES) -> Iterator[tuple[str, RunSummary]]:
    """Name and summary of each run."""
    for path in sorted(folder.glob("*.json")):
        yield path.stem, RunSummary(**json.loads(path.read_text(encoding="utf-8")))


def render(summaries_folder: Path, out: Path) -> list[Path]:
    """Write `NAME-ARM/README.md` and its picture for each arm of each run; the folders written."""
    written = []
    for name, summary in summaries(summaries_folder):
        for arm in ARMS:
            folder = out / f"{name}-{arm}"
            save_figure(distance_histogram(summary.distances["histogram"]), folder / PICTURE)
            write_text(folder / "README.md", create_model_card(summary, folder.name, arm=arm))
            written.append(folder)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--summaries", type=Path, default=SUMMARIES, help="Folder of summaries.")
    parser.add_argument("--output_dir", type=Path, default=ROOT / "model_cards", help="Where the cards go.")
    args = parser.parse_args()
    for folder in render(args.summaries, args.output_dir):
        print(folder)


if __name__ == "__main__":
    main()
