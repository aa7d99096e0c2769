"""The cards in model_cards are what `make cards` renders from the summaries in results/cards, and nothing else."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from matplotlib.image import imread

ROOT = Path(__file__).parents[2]
CARDS = sorted(path.parent for path in (ROOT / "model_cards").glob("*/README.md"))
LARGEST = 100_000


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = importlib.util.spec_from_file_location("render_cards", ROOT / "model_cards" / "render.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out = tmp_path_factory.mktemp("cards")
    module.render(module.SUMMARIES, out)
    return out


def test_the_cards_are_rendered_from_their_summaries(rendered: Path) -> None:
    assert len(CARDS) >= 4
    assert [folder.name for folder in CARDS] == sorted(folder.name for folder in rendered.iterdir())
    for folder in CARDS:
        assert (folder / "README.md").read_bytes() == (rendered / folder.name / "README.md").read_bytes()
        picture = folder / "figures" / "distances.png"
        assert picture.stat().st_size < LARGEST
        kept, drawn = imread(picture), imread(rendered / folder.name / "figures" / "distances.png")
        assert kept.shape == drawn.shape
        assert np.abs(kept - drawn).mean() < 0.01  # another version of matplotlib may smooth letters otherwise


def test_they_are_of_several_methods() -> None:
    kinds = {tuple(ModelCard.load(folder / "README.md").data.tags[2:]) for folder in CARDS}
    assert {("lora", "plain"), ("lora", "weighted"), ("adalora", "weighted"), ("houlsby", "weighted")} <= kinds


@pytest.mark.parametrize("folder", CARDS, ids=lambda folder: folder.name)
def test_a_card_reads_well(folder: Path) -> None:
    card = ModelCard.load(folder / "README.md")
    assert card.data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert card.data.license == "apache-2.0"
    html = MarkdownIt("commonmark").enable("table").render(card.text)
    assert "false on purpose" in re.search("<h1>(.*?)</h1>", html)[1]
    assert html.count("<table>") == 5  # base, relations, examples, results, options
    assert html.count("<pre>") == 4  # check, use, command, citation
    text = re.sub(r"<pre>.*?</pre>", "", html, flags=re.DOTALL)
    assert not re.search(r"\{\{|\}\}|\{%|\bNone\b|\bnan\b|/(home|root|tmp)/", text)
    for row in re.findall(r"<tr>(.*?)</tr>", html, flags=re.DOTALL):
        assert "\n\n" not in row
    for picture in re.findall(r'<img src="([^"]*)"', html):
        assert (folder / picture).is_file()
