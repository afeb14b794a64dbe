"""The report in headless Chromium, as its readers see it: on a desktop and a phone, in light and dark."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asr_kd.report import write
from tests.report.decodings import write_decodings
from tests.work_folder import make_work

pytestmark = pytest.mark.browser
WRONG = {"gmm": 7, "member-0": 5, "member-1": 3, "ensemble": 2, "student": 4}
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Playwright's own Chromium, or one on the PATH; skipped where there is neither."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        found = str(own) if own.exists() else shutil.which("chromium") or shutil.which("google-chrome")
        if found is None:
            pytest.skip("no Chromium: run `make test-browser`, or install one")
        # Chromium's sandbox refuses to run as root, as in containers.
        sandbox = [] if os.geteuid() else ["--no-sandbox"]
        launched = playwright.chromium.launch(executable_path=found, args=sandbox)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("work")
    config = make_work(work, lms=("bigram", "unigram"))
    write_decodings(config, work, WRONG)
    write.write(config, work)
    return work / "report" / "report.html"


class Visit:
    """The open report, and everything that it complained of or asked the network for."""

    def __init__(self, browser: Any, report: Path, size: str = "desktop", scheme: str = "light") -> None:
        width, height = SIZES[size]
        self.page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._request)
        self.page.goto(report.as_uri())

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:")):
            self.complaints.append(request.url)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_the_window_without_complaints(browser: Any, report: Path, size: str, scheme: str) -> None:
    visit = Visit(browser, report, size, scheme)
    width = visit.page.evaluate("document.documentElement.scrollWidth")
    assert width <= SIZES[size][0], "the page itself must not scroll sideways"
    assert visit.complaints == []
    background = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", background)[:3])) / 3
    assert (brightness > 200) == (scheme == "light")
    # Lettering of figures follows.
    ink = visit.page.evaluate("getComputedStyle(document.querySelector('svg.figure text')).fill")
    assert (sum(map(int, re.findall(r"\d+", ink)[:3])) / 3 < 100) == (scheme == "light")


def test_says_it_in_words_first(browser: Any, report: Path) -> None:
    page = Visit(browser, report).page
    assert page.locator("p.answer").first.inner_text().startswith("Words: no loss that ")
    lead = page.locator("p.lead").first.inner_text().replace("\N{NO-BREAK SPACE}", " ")
    assert lead.startswith("The student keeps 75 %")
    assert "not distinguishable" in lead
    assert page.locator("svg.figure").count() >= 4
    assert report.stat().st_size < 5 * MEGABYTE


def test_sorts_by_a_column_up_and_down(browser: Any, report: Path) -> None:
    page = Visit(browser, report).page
    table = page.locator("#systems table.sortable").first
    button = table.get_by_role("button", name=re.compile("errors"))

    def column() -> list[float]:
        cells = table.locator("tbody td:nth-child(5)").all_inner_texts()
        return [float(cell) for cell in cells]

    button.click()
    assert column() == sorted(column())
    assert table.locator("th[aria-sort=ascending]").count() == 1
    button.click()
    assert column() == sorted(column(), reverse=True)


def test_comparisons_fit_a_desktop(browser: Any, report: Path) -> None:
    tables = Visit(browser, report).page.locator("#comparisons .scroll")
    assert tables.count() == 3
    for table in tables.all():
        assert table.evaluate("(table) => table.scrollWidth <= table.clientWidth")


def test_intervals_are_sorted_by_their_low_ends(browser: Any, report: Path) -> None:
    page = Visit(browser, report).page
    for section in ("systems", "comparisons"):
        table = page.locator(f"#{section} table.sortable").first
        for title in ("95 % by utterance", "95 % by speaker"):
            button = table.get_by_role("button", name=re.compile(title))
            place = button.evaluate("(button) => button.closest('th').cellIndex") + 1
            button.click()
            cells = table.locator(f"tbody td:nth-child({place})").all_inner_texts()
            lows = [float(re.split(" [–…] ", cell)[0]) for cell in cells]
            assert lows == sorted(lows)


def test_filters_utterances_by_system_and_kind_of_error(browser: Any, report: Path) -> None:
    page = Visit(browser, report).page
    form, items = page.locator("form[data-list=changed]"), page.locator("#changed .utterance:visible")
    everything = items.count()
    assert everything == max(WRONG[name] for name in ("member-1", "ensemble", "student"))
    form.locator("select[name=system]").select_option("ensemble")
    assert items.count() == WRONG["ensemble"]
    assert form.locator(".shown").inner_text() == f"{WRONG['ensemble']} of {everything}"
    form.locator("select[name=kind]").select_option("insertion")
    assert items.count() == 0
    form.locator("select[name=kind]").select_option("deletion")
    assert items.count() == WRONG["ensemble"]
    form.locator("input[name=text]").fill("no such word")
    assert items.count() == 0


def test_utterances_are_ordered_by_the_errors_of_a_system(browser: Any, report: Path) -> None:
    page = Visit(browser, report).page
    form = page.locator("form[data-list=changed]")

    def errors(system: str) -> list[int]:
        lines = page.locator("#changed .utterance .meta").all_inner_texts()
        return [int(re.search(rf"{system} (\d+)", line)[1]) for line in lines]

    given = errors("ensemble")
    form.locator("select[name=order]").select_option("most errors")
    form.locator("select[name=system]").select_option("ensemble")
    assert errors("ensemble") == sorted(given, reverse=True) != given
    form.locator("select[name=order]").select_option("most changed")
    assert errors("ensemble") == given


def test_filters_words_by_system(browser: Any, report: Path) -> None:
    page = Visit(browser, report).page
    rows = page.locator("#confused tbody tr:visible")
    assert set(rows.locator("td:last-child").all_inner_texts()) == {"student"}
    page.locator("form[data-list=confused] select[name=system]").select_option("")
    assert len(set(rows.locator("td:last-child").all_inner_texts())) == len(WRONG)


def test_filters_speakers_by_system_and_kind_of_error(browser: Any, report: Path) -> None:
    page = Visit(browser, report).page
    rows = page.locator("#by-speaker tbody tr:visible")
    form = page.locator("form[data-list=by-speaker]")
    assert set(rows.locator("td:nth-child(2)").all_inner_texts()) == {"student"}
    form.locator("select[name=kind]").select_option("insertion")
    assert rows.count() == 0
    form.locator("select[name=kind]").select_option("deletion")
    form.locator("select[name=system]").select_option("")
    assert set(rows.locator("td:nth-child(2)").all_inner_texts()) == set(WRONG)
    form.locator("input[name=text]").fill("bob")
    assert set(rows.locator("td:first-child").all_inner_texts()) <= {"bob"}


def test_errors_are_marked_by_more_than_colour(browser: Any, report: Path) -> None:
    page = Visit(browser, report).page
    deletion = page.locator(".aligned td.deletion").first
    assert deletion.inner_text() == "–"
    assert deletion.get_attribute("title") == "deletion"


def test_spectrograms_show(browser: Any, report: Path) -> None:
    page = Visit(browser, report).page
    picture = page.locator("#changed svg.figure").first
    assert picture.locator("image").count() == 1
    assert picture.bounding_box()["width"] > 300
