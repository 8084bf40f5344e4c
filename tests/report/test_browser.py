"""The page of predicted scans in a real browser, from a file and without network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from predicted_folder import predict_into

from mots_pretrained.report.prediction_page import write_prediction_page
from mots_pretrained.report.results import read_results

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
SIZES = {"desk": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    out = predict_into(folder, "first", "second<b>")
    write_prediction_page(read_results(out), folder / "report.html", title="Two <i>scans</i>")
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if BROWSER is None:
        pytest.skip("there is no chromium here: the report is not looked at")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture(params=["desk", pytest.param("phone", marks=pytest.mark.long)])
def page(request, browser, report):
    """The report, loaded; whatever goes wrong in it, and whatever it asks for, is kept."""
    width, height = SIZES[request.param]
    opened = browser.new_page(viewport={"width": width, "height": height})
    opened.faults, opened.asked = [], []
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.on("console", lambda m: m.type == "error" and opened.faults.append(m.text))
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.goto(report.as_uri())
    ready(opened, "first")
    yield opened
    assert opened.faults == []
    assert [url for url in opened.asked if not url.startswith(("data:", "blob:"))] == [
        report.as_uri()
    ]
    opened.close()


def ready(page, name: str) -> None:
    page.wait_for_function(
        "name => document.body.dataset.ready === name", arg=name, timeout=120_000
    )


def pixels(page) -> bytes:
    """What the pictures show, as a PNG."""
    page.wait_for_timeout(300)
    return page.locator("#canvas").screenshot()


def test_it_loads_scrolls_and_switches_organs_and_scans(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert page.inner_text("h1") == "Two <i>scans</i>"
    shown = page.locator("#labels li button").all_inner_texts()
    assert shown == ["liver", "kidney", "pancreas", "spleen"]
    assert page.inner_text("#message") == ""

    # the slices begin where the liver is, and scroll by the slider and by the wheel
    assert page.inner_text("#place").startswith("liver at ")
    page.click("#views button:has-text('axial')")
    before, place = pixels(page), page.inner_text("#place")
    page.locator("#slice").fill("3")
    assert page.inner_text("#place") != place
    assert pixels(page) != before
    place = page.inner_text("#place")
    page.locator("#canvas").hover()
    page.mouse.wheel(0, 100)
    page.wait_for_function("was => document.getElementById('place').textContent !== was", arg=place)

    # a name leads to its organ, a box hides it
    page.click("#labels button:has-text('spleen')")
    assert page.inner_text("#place").startswith("spleen at ")
    with_spleen = pixels(page)
    page.uncheck("#labels input[aria-label='show spleen']")
    assert pixels(page) != with_spleen
    page.check("#labels input[aria-label='show spleen']")
    assert pixels(page) == with_spleen
    page.click("#views button:has-text('3D')")
    assert pixels(page) != with_spleen

    # a row of the table leads to its scan
    page.click("tr[data-scan='1'] td")
    ready(page, "second<b>")
    assert page.inner_text("#name") == "second<b>"


def test_the_table_is_sorted_by_its_headings(page):
    names = page.locator("table.sortable tbody td:first-child")
    liver = page.locator("table.sortable tbody td:nth-child(3)")
    assert names.all_inner_texts() == ["first", "second<b>"]
    page.click("table.sortable th button:has-text('liver')")
    largest = [float(text.replace(",", "")) for text in liver.all_inner_texts()]
    assert largest == sorted(largest, reverse=True)
    page.click("table.sortable th button:has-text('liver')")
    smallest = [float(text.replace(",", "")) for text in liver.all_inner_texts()]
    assert smallest == sorted(largest)
    page.click("table.sortable th button:has-text('scan')")
    assert names.all_inner_texts() == ["first", "second<b>"]
