"""The page in a browser: it sorts, filters and pages, nothing hostile runs, nothing is fetched, nothing complains."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from datasets import Dataset

from semantic_trainer.report.figures import draw_run
from semantic_trainer.report.page import create_report
from semantic_trainer.report.summary import RunSummary

from .browser import CHROMIUM, Browser, open_browser
from .conftest import HOSTILE, joined_row

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH (Debian package `chromium`)"),
]
LIST = "[...document.querySelectorAll('#facts tbody tr:not(.details)')]"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("chromium") / "profile") as found:
        yield found


@pytest.fixture
def page(
    browser: Browser,
    summary: RunSummary,
    facts: Dataset,
    joined: Dataset,
    tables: dict[str, Dataset],
    tmp_path: Path,
) -> Iterator[Browser]:
    """The page of 60 facts, opened; at the end nothing was complained of, fetched or run."""
    path = tmp_path / "report.html"
    path.write_text(create_report(summary, joined, draw_run(tmp_path, facts, tables), []), encoding="utf-8")
    browser.problems.clear()
    browser.resize(1400)
    browser.prefer("light")
    browser.open(path)
    yield browser
    assert browser.problems == []
    assert browser.run("window.ran === undefined")


def press(page: Browser, text: str, section: str = "facts") -> None:
    """Click a section's button by the beginning of its text."""
    page.run(
        f"[...document.querySelectorAll('#{section} button')].find((b) => b.textContent.startsWith({text!r})).click()"
    )


def search(page: Browser, text: str) -> None:
    page.run(
        f"(() => {{ const e = document.querySelector('#facts input'); e.value = {text!r};"
        " e.dispatchEvent(new Event('input')); })()"
    )


def column(page: Browser, label: str) -> list[str]:
    return page.run(f"{LIST}.map((row) => row.querySelector('[data-label=\"{label}\"]').textContent)")


def count(page: Browser, section: str = "facts") -> str:
    return page.run(f"document.querySelector('#{section} [role=status]').textContent")


def test_hostile_texts_are_shown_as_they_are(page: Browser) -> None:
    shown = page.run(f"{LIST}.map((row) => row.querySelector('.words').textContent)")
    assert shown[: len(HOSTILE)] == [f"What is the capital of land {i}? {text}" for i, text in enumerate(HOSTILE)]
    for button in range(len(HOSTILE)):
        page.run(f"document.querySelectorAll('#facts .more')[{button}].click()")
    assert page.run("document.querySelectorAll('#facts img, #facts script, #facts b, #facts a').length") == 0
    assert page.run("document.querySelectorAll('#facts tr.details').length") == len(HOSTILE)


def test_the_details_say_when_a_fact_was_learnt(page: Browser) -> None:
    for button in range(2):
        page.run(f"document.querySelectorAll('#facts .more')[{button}].click()")
    shown = page.run("[...document.querySelectorAll('#facts .details')].map((row) => row.textContent)")
    assert "plain: in epoch 1weighted: in epoch 1" in shown[0]
    assert "plain: in no epochweighted: in no epoch" in shown[1]


def test_the_policy_forbids_what_would_slip_through(page: Browser) -> None:
    page.run("document.body.insertAdjacentHTML('beforeend', '<img src=\"data:,\" onerror=\"window.ran = 4\">')")
    page.run("new Promise((done) => setTimeout(done, 200))")
    assert page.run("window.ran === undefined")
    assert any("Content Security Policy" in problem for problem in page.problems)
    page.problems.clear()


def test_headings_sort_both_ways_and_say_so(page: Browser) -> None:
    press(page, "Distance before")
    found = list(map(float, column(page, "Distance before")))
    assert found == sorted(found)
    assert found[0] == 0.0
    assert page.run("document.querySelector('#facts [aria-sort]').getAttribute('aria-sort')") == "ascending"
    press(page, "Distance before")
    found = list(map(float, column(page, "Distance before")))
    assert found == sorted(found, reverse=True)
    assert found[0] == 0.99
    assert page.run("document.querySelector('#facts [aria-sort]').getAttribute('aria-sort')") == "descending"
    press(page, "Target")  # by number inside the text
    assert column(page, "Target")[:11][-2:] == ["City 9", "City 10"]
    assert page.run("document.querySelectorAll('#facts [aria-sort]').length") == 1


def test_filters_combine_and_tell_how_many(page: Browser) -> None:
    rows = [joined_row(i, "") for i in range(60)]
    learnt = sum(row["weighted_knowledge_accuracy"] for row in rows)
    away = sum(row["weighted_deviation"] for row in rows)
    both = sum(row["weighted_knowledge_accuracy"] and row["weighted_deviation"] for row in rows)
    assert count(page) == "1–25 of 60 facts"
    press(page, "Learnt")
    assert count(page) == f"1–25 of {learnt} facts (60 in all)"
    assert all(text.startswith("✓") for text in column(page, "Weighted"))
    press(page, "Moved away")
    assert count(page) == f"1–{both} of {both} facts (60 in all)"
    assert page.run("document.querySelectorAll('#facts [aria-pressed=true]').length") == 2
    press(page, "Learnt")
    assert count(page) == f"1–{away} of {away} facts (60 in all)"
    page.run(
        "(() => { const e = document.querySelector('#facts .filters select'); e.value = 'plain';"
        " e.dispatchEvent(new Event('change')); })()"
    )
    assert count(page) == "None of 60 facts match"  # no answer of the plain arm moved away
    press(page, "Moved away")
    press(page, "Known before")
    assert count(page) == "1–6 of 6 facts (60 in all)"


def test_words_are_searched_in_every_answer(page: Browser) -> None:
    search(page, "LAND 4 city")
    wanted = [f"City {i}" for i in range(60) if "4" in str(i)]
    assert column(page, "Target") == wanted
    assert count(page) == f"1–{len(wanted)} of {len(wanted)} facts (60 in all)"
    search(page, "<img onerror")
    assert column(page, "Target") == ["City 1"]
    search(page, "no such thing")
    assert count(page) == "None of 60 facts match"
    assert column(page, "Target") == []


def test_pages_follow_each_other(page: Browser) -> None:
    press(page, "Next")
    assert count(page) == "26–50 of 60 facts"
    press(page, "Next")
    assert count(page) == "51–60 of 60 facts"
    assert page.run("[...document.querySelectorAll('#facts button')].find((b) => b.textContent === 'Next').disabled")
    press(page, "Previous")
    assert column(page, "Target")[0] == "City 25"


def test_what_was_disturbed_and_what_moved_away(page: Browser) -> None:
    assert count(page, "disturbed") == "1–15 of 15 questions"
    assert count(page, "away") == "1–20 of 20 facts that moved away"
    assert page.run("document.querySelector('#away [aria-sort=descending]').textContent") == "Farther, weighted"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1400])
def test_it_fits_its_window(page: Browser, width: int, scheme: str) -> None:
    page.prefer(scheme)
    page.resize(width)
    assert page.run("document.documentElement.scrollWidth") <= width


def test_on_paper_every_row_and_protocol_is_there(page: Browser) -> None:
    page.run("dispatchEvent(new Event('beforeprint'))")
    page.prefer("dark", "print")
    assert len(column(page, "Target")) == 60
    assert page.run("document.querySelectorAll('details:not([open])').length") == 0
    assert page.run("getComputedStyle(document.querySelector('#facts .controls')).display") == "none"
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.run("dispatchEvent(new Event('afterprint'))")
    assert len(column(page, "Target")) == 25
    page.prefer("light")


def test_ten_thousand_facts_open(browser: Browser, summary: RunSummary, tmp_path: Path) -> None:
    path = tmp_path / "large.html"
    joined = Dataset.from_list([joined_row(i, "") for i in range(10_000)])
    path.write_text(create_report(summary, joined, [], []), encoding="utf-8")
    browser.problems.clear()
    browser.open(path)
    assert count(browser) == "1–25 of 10000 facts"
    press(browser, "Weight")
    search(browser, "land 9999")
    assert count(browser) == "1–1 of 1 facts (10000 in all)"
    assert browser.problems == []
