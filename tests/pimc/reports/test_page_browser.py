"""The page in a real browser, without a screen: it renders, sorts, zooms, and breaks no rule.

Skipped where no Chromium is installed, or playwright is not. The rules of accessibility are those
of axe-core, which the package axe-playwright-python brings.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pimc
from pimc.image.image import Image
from pimc.studies.recoveries.columns import write_rows as write_recoveries
from pimc.studies.sweep_table import write_rows as write_sweep
from pimc.tasks.classification import CLASSIFICATION
from tests.pimc.reports.rows import point, wafer

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 740}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        # As root, in a container, Chromium has no sandbox.
        started = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def file(folder: Path) -> Path:
    write_sweep(folder / "net.sweep.csv", [point(8, 0.7), point(16, 0.9)])
    write_recoveries(folder / "net.r1.dies.csv", wafer(), CLASSIFICATION)
    pimc.report(folder, output=folder / "report.html")
    return folder / "report.html"


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Any]:
    """Opens the page; at the end nothing was said on the console, and nothing asked for."""
    contexts, said, asked = [], [], []

    def open_page(size: dict[str, int] = DESKTOP, **more: Any) -> Any:
        context = browser.new_context(viewport=size, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert {url for url in asked if not url.startswith("data:")} <= {file.as_uri()}


def column(page: Any, caption: str, number: int) -> list[str]:
    rows = page.locator(f'[aria-label="{caption}"] tbody tr')
    return rows.evaluate_all(f"rows => rows.map(row => row.cells[{number}].textContent)")


def head(page: Any, caption: str, name: str) -> Any:
    return page.locator(f'[aria-label="{caption}"] th button', has_text=name)


def test_tables_sort_by_click_and_by_keyboard(opened: Any) -> None:
    page = opened()
    caption = "Errors of the layers' outputs"
    assert column(page, caption, 0) == ["w1", "w2"]
    button = head(page, caption, "As programmed")
    button.click()
    assert column(page, caption, 1) == ["0.5", "2"]
    button.click()
    assert column(page, caption, 1) == ["2", "0.5"]
    assert button.locator("xpath=..").get_attribute("aria-sort") == "descending"
    by_name = head(page, caption, "Layer")
    by_name.focus()
    page.keyboard.press("Enter")
    assert column(page, caption, 0) == ["w1", "w2"]
    assert button.locator("xpath=..").get_attribute("aria-sort") is None


def test_numbers_sort_as_numbers(opened: Any, tiny_image: Image) -> None:
    page = opened()
    caption = "Layers on arrays, in the order in which they run"
    first = f'section:has-text("tiny.pimc") >> [aria-label="{caption}"]'
    page.locator(f"{first} >> th button", has_text="Rows").first.click()
    cells = page.locator(f"{first} >> nth=0 >> tbody td:nth-child(4)").all_text_contents()
    assert [int(text) for text in cells] == sorted(layer.rows for layer in tiny_image.layers)


def frame(page: Any) -> list[float]:
    text = page.locator(".view").first.get_attribute("viewBox")
    return [float(part) for part in text.split()]


def test_an_array_is_zoomed_by_buttons_keys_wheel_and_drag(opened: Any) -> None:
    page = opened()
    view = page.locator(".view").first
    whole = frame(page)
    assert whole == [0, 0, 8, 16]
    page.get_by_label("Zoom in").first.click()
    assert frame(page) == [2, 4, 4, 8]
    view.focus()
    page.keyboard.press("ArrowRight")
    assert frame(page) == [2.5, 4, 4, 8]
    page.keyboard.press("+")
    assert frame(page)[2:] == [2, 4]
    box = view.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    before = frame(page)
    page.mouse.move(middle[0] - 20, middle[1])
    page.mouse.up()
    assert frame(page)[0] > before[0]
    page.keyboard.press("0")
    assert frame(page) == whole
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    page.wait_for_function("document.querySelector('.view').viewBox.baseVal.width < 8")
    page.get_by_role("button", name="Whole array").first.click()
    assert frame(page) == whole


def test_the_level_under_the_pointer_is_told(opened: Any, tiny_image: Image) -> None:
    page = opened()
    view, readout = page.locator(".view").first, page.locator(".readout").first
    view.focus()
    for _ in range(3):
        page.keyboard.press("+")
    page.wait_for_function(
        "document.querySelector('.readout').textContent.includes('wordline 8, bitline 4')"
    )
    level, used = tiny_image.levels[0, 8, 4], tiny_image.used[0, 8, 4]
    page.keyboard.press("+")  # the pictures are there by now
    text = readout.text_content()
    assert (f"level {level}" if used else "holds no weight") in text


def test_names_can_be_hidden_and_another_array_chosen(opened: Any) -> None:
    page = opened()
    box = page.locator(".maps").first
    assert box.locator(".view text").count() > 0
    box.get_by_label("Layer names").uncheck()
    assert not box.locator(".view text").first.is_visible()
    box.locator(".pick").select_option("1")
    assert box.locator(".readout").text_content().startswith("Array 1: ")
    box.locator(".thumbs button").first.press("Enter")
    assert box.locator(".readout").text_content().startswith("Array 0: ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_rule_of_accessibility_is_broken(opened: Any, size: Any, scheme: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is not installed"
    )
    page = opened(size, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_nothing_is_wider_than_a_phone(opened: Any) -> None:
    page = opened(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_have_the_ink_of_the_page(opened: Any, scheme: str) -> None:
    page = opened(color_scheme=scheme)
    assert page.locator(".picture svg").count() == 3
    ink = page.evaluate("getComputedStyle(document.body).color")
    strokes = page.locator(".picture svg path").evaluate_all(
        "paths => paths.map(path => getComputedStyle(path).stroke)"
    )
    assert ink in strokes
    assert "rgb(0, 0, 0)" not in strokes


def test_the_network_is_seen_from_its_input_on(opened: Any) -> None:
    page = opened(PHONE)
    box, first = (
        page.locator(selector).first.bounding_box() for selector in (".graph", ".graph .node rect")
    )
    assert box["x"] <= first["x"]
    assert first["x"] + first["width"] <= box["x"] + box["width"]


def test_colours_follow_the_reader(opened: Any) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    assert opened(color_scheme="light").evaluate(ground) == "rgb(255, 255, 255)"
    assert opened(color_scheme="dark").evaluate(ground) == "rgb(20, 24, 29)"


def test_printed_pages_show_everything_and_no_controls(opened: Any) -> None:
    page = opened(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".viewer").first.is_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0


def test_without_scripts_everything_is_there_to_read(opened: Any, tiny_image: Image) -> None:
    page = opened(java_script_enabled=False)
    assert page.locator(".thumbs").first.locator("svg").count() == tiny_image.arrays
    assert not page.locator(".viewer").first.is_visible()
    assert page.locator("table").first.is_visible()
