"""The text of the HTML page."""

import html
import json
import re
from pathlib import Path

import pytest
from datasets import Dataset

from semantic_trainer.evaluation.evaluator import METRICS
from semantic_trainer.evaluation.table import BESIDE
from semantic_trainer.report.figures import draw_run
from semantic_trainer.report.page import create_report
from semantic_trainer.report.page_data import page_data, to_island
from semantic_trainer.report.scores import TITLES, format_score
from semantic_trainer.report.summary import RunSummary


@pytest.fixture
def page(summary: RunSummary, facts: Dataset, joined: Dataset, tables: dict[str, Dataset], tmp_path: Path) -> str:
    return create_report(summary, joined, draw_run(tmp_path, facts, tables), ["a <warning>"])


def island(page: str) -> dict[str, list[dict]]:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def cells(page: str, metric: str) -> list[str]:
    """The texts of a metric's row, without markup."""
    (row,) = re.findall(rf'<tr data-metric="{metric}">.*?</tr>', page, re.S)
    found = re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)
    return [" ".join(html.unescape(re.sub(r"<[^>]+>", " ", cell)).split()) for cell in found]


def test_it_is_whole_and_asks_for_nothing(page: str) -> None:
    assert page.startswith("<!doctype html>")
    assert page.count("data:image/png;base64,") == 3
    assert not re.search(
        r"(?:src|href)=\"(?!data:|#)|@import|url\(|//[a-z]+\.", page.split('<script type="application')[0]
    )
    assert "default-src 'none'" in html.unescape(page)


def test_every_section_is_there(page: str) -> None:
    for name in ("results", "beside", "figures", "labels", "facts", "disturbed", "away"):
        assert f'<section id="{name}">' in page
        assert f'href="#{name}"' in page
    assert "Warning:</strong> a &lt;warning&gt;" in page


def test_every_number_is_the_summarys(page: str, summary: RunSummary) -> None:
    for metric in (*METRICS, *BESIDE):
        wanted = [format_score(scores[metric], metric) for scores in summary.runs.values()]
        assert cells(page, metric)[:3] == wanted
        assert TITLES[metric] in page
    assert cells(page, "knowledge_accuracy")[2] == "75.0 % [65.0, 85.0]"


def test_null_is_a_dash(page: str) -> None:
    assert cells(page, "deviation")[0] == "–"
    assert cells(page, "relative_deviation")[3] == "–"


def test_the_protocol_stands_with_each_metric(page: str) -> None:
    assert page.count("strict, greedy, question_answer with 0 shots") == len(METRICS) + len(BESIDE)


def test_metrics_an_older_run_lacks_are_dashes(summary: RunSummary, joined: Dataset) -> None:
    for scores in summary.runs.values():
        for name in BESIDE:
            del scores[name]
    assert cells(create_report(summary, joined, [], []), "token") == ["–"] * 3


def test_a_table_without_the_newer_columns(summary: RunSummary, facts: Dataset) -> None:
    page = create_report(summary, facts, [], [])
    assert [row["prompt"] for row in island(page)["facts"]] == facts["prompt"][:]
    assert 'id="labels"' not in page
    assert 'id="figures"' not in page


def test_hostile_texts_stay_texts(page: str, joined: Dataset) -> None:
    assert [row["prompt"] for row in island(page)["facts"]] == joined["prompt"][:]
    assert page.count("<script") == page.count("</script>") == 2
    for raw in ("<img src=x", "<!-- <script>", "\u2028", "\u2029", "a <warning>"):
        assert raw not in page


def test_hostile_options_stay_texts(summary: RunSummary, joined: Dataset) -> None:
    summary.config |= {"model": "<i>m</i>", "facts": ["<u>f</u>"], "prompt_format": "<s>p</s>", "dtype": "<em>1</em>"}
    page = create_report(summary, joined, [], ["<u>"])
    assert not re.search(r"<(?:i>m|u>f|s>p|em>|u>)", page)


def test_self_paced_weights_are_called_so(summary: RunSummary, joined: Dataset, tmp_path: Path) -> None:
    (tmp_path / "distances.png").write_bytes(b"")
    texts = {}
    for weighting in ("inverse", "self_paced"):
        summary.config |= {"weighting": weighting, "pacing_temperature": 0.5}
        page = create_report(summary, joined, [tmp_path / "distances.png"], [])
        texts[weighting] = page.split('<script type="application')[0]
    assert "<dd>inverse, gamma 2.0</dd>" in texts["inverse"]
    assert "<i>weighted</i> the one with inverse semantic-distance weights" in texts["inverse"]
    assert "The paper's formula gives most weight" in html.unescape(texts["inverse"])
    assert "<dd>self_paced, temperature 0.5, annealing linear</dd>" in texts["self_paced"]
    assert "<i>weighted</i> the one with self-paced weights" in texts["self_paced"]
    assert "own loss, not from its distance" in html.unescape(texts["self_paced"])
    assert not re.search("gamma|formula|semantic-distance weights", texts["self_paced"])


def test_an_island_is_json_without_markup() -> None:
    text = "</script> & <!-- \u2028 é"
    island = to_island({"a": text})
    assert not set("<>&\u2028") & set(island)
    assert json.loads(island) == {"a": text}
    with pytest.raises(ValueError, match="JSON"):
        to_island(float("nan"))


def test_disturbed_prompts_come_once_with_what_changed(joined: Dataset) -> None:
    data = page_data(joined)
    # fact 2 of every four disturbs its neighbour, which the next fact shares
    assert len(data["disturbed"]) == 15
    row = next(row for row in data["disturbed"] if row["prompt"] == "Neighbour 11 ")
    assert row == {"prompt": "Neighbour 11 ", "old": "eight", "plain": None, "weighted": "nine ", "facts": 1}
    place = data["facts"][22]["weighted"]["disturbed"]
    assert [data["disturbed"][i] for i in place] == [row]
    assert data["facts"][22]["plain"]["disturbed"] == []


def test_numbers_that_are_none_become_null(joined: Dataset) -> None:
    rows = joined.to_list()[:2]
    rows[0]["distance"] = float("nan")
    rows[1]["weighted_distance"] = None
    data = page_data(Dataset.from_list(rows))
    assert data["facts"][0]["distance"] is None
    assert data["facts"][1]["weighted"]["distance"] is None


def test_the_epoch_in_which_a_fact_was_learnt_is_there_where_it_was_kept(joined: Dataset) -> None:
    rows = page_data(joined)["facts"]
    assert [rows[i]["plain"]["learnt"] for i in (0, 1, 22)] == [1, 0, 23]
    kept = page_data(joined.remove_columns("plain_first_learnt"))["facts"]
    assert [kept[0][arm]["learnt"] for arm in ("plain", "weighted")] == [None, 1]


def test_known_labels_cross_distance_and_accuracy(page: str, joined: Dataset) -> None:
    section = re.search(r'<section id="labels">.*?</section>', page, re.S)[0]
    known = [row for row in joined.to_list() if row["known_label"] == "highly_known"]
    text = " ".join(re.sub(r"<[^>]+>", " ", section.split("highly known</th>")[1].split("</tr>")[0]).split())
    assert text.startswith(f"{len(known)} {sum(row['distance'] for row in known) / len(known):.3f} 20.0 %")
    assert "100.0 %" in text
