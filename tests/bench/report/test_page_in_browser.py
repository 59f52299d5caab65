"""The page in a real browser: it sorts, filters, reacts to the mouse, compares and prints.

It is tested at the widths of a desk screen and of a phone. The environment variable
PRUNEBENCH_BROWSER names a Chromium; without it one is searched for, and the tests are skipped if
there is none.
"""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from bench.report.page import write_page
from bench.report.results import read_results
from tests.bench.report.stored import make_store

NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = os.environ.get("PRUNEBENCH_BROWSER") or next(
        filter(None, map(shutil.which, NAMES)), None
    )
    if not path:
        pytest.skip(
            f"needs a browser: install one of {', '.join(NAMES)}, "
            "or set PRUNEBENCH_BROWSER to its path"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("run")
    store = make_store(folder, seeds=(0, 1, 2))
    return write_page(store, read_results(store), folder / "report.html").as_uri()


@pytest.fixture(params=WIDTHS)
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The loaded page; it must log no complaint and send no request by the end of the test."""
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    tab = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    tab.on(
        "console",
        lambda message: (
            complaints.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "request",
        lambda request: requests.append(request.url) if request.url.startswith("http") else None,
    )
    tab.goto(address)
    tab.wait_for_selector("html[data-ready=tables]", state="attached")
    yield tab
    context.close()
    assert complaints == [] and requests == []


def column(page: Any, number: int) -> list[str]:
    return [
        text.strip()
        for text in page.locator(f"table.rows tbody tr td:nth-child({number})").all_inner_texts()
    ]


def heading(page: Any, text: str) -> Any:
    return page.locator("table.rows thead th").filter(has=page.get_by_text(text, exact=True))


def test_nothing_is_wider_than_the_screen(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert all(
        box["width"] <= page.viewport_size["width"]
        for box in (figure.bounding_box() for figure in page.locator(".figure").all())
    )


def test_a_heading_sorts_by_number(page: Any) -> None:
    headers = [text.strip() for text in page.locator("table.rows thead th").all_inner_texts()]
    number = headers.index("PSNR dB") + 1
    values = {}
    for order in ("ascending", "descending"):
        heading(page, "PSNR dB").locator(".dt-column-title").click()
        page.wait_for_selector(f"table.rows th[aria-sort={order}]")
        values[order] = [float(text.split()[0]) for text in column(page, number)]
    rising, falling = values["ascending"], values["descending"]
    assert rising == sorted(rising) and falling == rising[::-1] and len(rising) == 10


def test_what_is_typed_filters_the_rows(page: Any) -> None:
    page.locator(".dt-search input").fill("sliced")
    assert column(page, 1) == ["uniform, sliced"] * 3


def test_a_column_filters_by_its_values(page: Any) -> None:
    heading(page, "ratio").locator(".dtcc-button_dropdown").click()
    page.locator(".dtcc-list-buttons button", has_text="0.25").click()
    assert set(column(page, 2)) == {"0.25"}


def test_hovering_over_a_point_shows_its_cell(page: Any) -> None:
    point = page.locator("#curve0 .scatterlayer .trace:last-child .points path").first
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    page.wait_for_selector("#curve0 .hoverlayer .hovertext")
    text = page.locator("#curve0 .hoverlayer .hovertext").first.text_content()
    assert "mosp" in text and "dB" in text and "MiB" in text


def test_two_pictures_are_compared_under_a_slider(page: Any) -> None:
    assert page.locator(".under .right").inner_text().startswith("mosp, ratio 0.25")
    page.locator("select.left").select_option(label="clean")
    page.locator("select.right").select_option(label="unpruned")
    assert page.locator(".under .left").inner_text() == "clean"
    assert page.locator(".under .right").inner_text().startswith("unpruned")
    page.locator(".stage").scroll_into_view_if_needed()
    stage = page.locator(".stage").bounding_box()
    for x in (100, 101, 102, 103):  # the edge follows the mouse
        page.mouse.move(stage["x"] + x, stage["y"] + 50)
        assert abs(float(page.locator(".slide").input_value()) - 100 * x / stage["width"]) <= 1
    page.locator(".slide").fill("20")
    assert (
        page.locator("img.right").evaluate("image => image.style.clipPath")
        == "inset(0px 0px 0px 20%)"
    )
    assert page.locator("img.left").evaluate("image => image.naturalWidth") == 40


def test_on_paper_the_controls_are_gone(page: Any) -> None:
    page.emulate_media(media="print")
    assert (
        not page.locator("nav").is_visible()
        and not page.locator(".slide").is_visible()
        and page.locator("table.rows").is_visible()
    )
