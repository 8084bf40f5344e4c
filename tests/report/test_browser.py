"""The page of predicted scans in a real browser, from a file and without network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from predicted_folder import predict_into

from mots_pretrained.files import write_json
from mots_pretrained.report.example import Example
from mots_pretrained.report.prediction_page import write_prediction_page
from mots_pretrained.report.results import read_results
from mots_pretrained.report.training_page import write_training_page

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


@pytest.fixture(scope="module", params=["desk", pytest.param("phone", marks=pytest.mark.long)])
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


def test_of_two_quick_clicks_the_last_counts(page):
    """The second scan was shown over the first one's slices, or under its name."""
    click = "numbers => numbers.forEach(n => document.querySelector(`[data-scan='${n}']`).click())"
    page.evaluate(click, [1])
    ready(page, "second<b>")
    page.click("#views button:has-text('axial')")
    alone = pixels(page)
    page.evaluate(click, [0, 1, 0, 1])
    ready(page, "second<b>")
    page.evaluate("drawn.then(() => null)")
    assert page.evaluate("viewer.volumes.length") == 2
    assert page.inner_text("#name") == "second<b>"
    assert pixels(page) == alone


def test_a_scan_without_pictures_shows_none(page):
    page.evaluate("data.scans[0].kept = data.scans[0].image; data.scans[0].image = null")
    page.click("tr[data-scan='0'] td")
    page.evaluate("drawn.then(() => null)")
    assert page.inner_text("#message") == "This scan's pictures are not in this page."
    assert page.inner_text("#place") == ""
    assert page.evaluate("viewer.volumes.length") == 0
    page.click("#labels button:has-text('spleen')")  # leads nowhere, and fails nowhere
    page.uncheck("#labels input[aria-label='show spleen']")
    page.check("#labels input[aria-label='show spleen']")
    page.click("#views button:has-text('axial')")
    page.evaluate("data.scans[0].image = data.scans[0].kept")
    page.click("tr[data-scan='0'] td")
    ready(page, "first")


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


@pytest.mark.parametrize("size", SIZES)
def test_the_page_of_a_training_fits_and_shows_its_pictures(size, browser, tmp_path):
    rows = "".join(f"{step},{2 / step:.4f},{1 / step:.4f},{step * 2}\n" for step in range(1, 40))
    (tmp_path / "log.csv").write_text(f"step,total,dice,seconds\n{rows}")
    rng = np.random.default_rng(0)
    truth = np.zeros((60, 80), np.uint8)
    truth[10:40, 10:40], truth[20:30, 45:70] = 1, 2
    image = truth * 0.2 + rng.normal(0, 0.1, truth.shape).astype(np.float32)
    names = ("liver", "spleen_with_a_name_that_is_long")
    Example(image, truth, np.roll(truth, 3, 1), (1.0, 1.0), names, 30).save(tmp_path)
    write_json(tmp_path / "training.json", {"recipe": {"rate": 1e-3, "seed": 0}})
    write_training_page(tmp_path, tmp_path / "page.html", title="A training")
    width, height = SIZES[size]
    opened = browser.new_page(viewport={"width": width, "height": height})
    opened.goto((tmp_path / "page.html").as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    widths = opened.evaluate("[...document.images].map(i => [i.naturalWidth, i.clientWidth])")
    assert len(widths) == 4
    assert all(natural > 0 and 0.8 * min(width, 384) <= shown for natural, shown in widths)
    opened.close()
