"""The page in a real browser: what can be pressed, pointed at, typed and printed.

It is tested at the widths of a desk screen and of a phone. The environment variable
PRUNEBENCH_BROWSER names a Chromium; without it one is searched for, and the tests are skipped if
there is none.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest

from bench.report.page import write_page
from bench.report.results import read_results
from bench.study.store import Store
from tests.bench.report.stored import PHOTO, make_store

WIDTHS = (1280, 390)
MAX_BYTES = 4 * 2**20
READY = "html[data-ready]"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("run")
    store = make_store(folder, seeds=(0, 1, 2))
    add_learning_curves(store)
    return write_page(store, read_results(store), folder / "report.html").as_uri()


def add_learning_curves(store: Store) -> None:
    for record in store.records():
        losses, psnr = {"finetune": [[10, 0.2], [20, 0.1]]}, ([10, 27.0], [20, 28.0])
        store.write(replace(record, training_losses=losses, calibration_psnr=psnr))


@pytest.fixture(params=WIDTHS)
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The loaded page; it must log nothing and send no request by the end of the test."""
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    tab = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "request",
        lambda request: requests.append(request.url) if request.url.startswith("http") else None,
    )
    tab.goto(address)
    tab.wait_for_selector(READY, state="attached")
    yield tab
    context.close()
    assert complaints == [] and requests == []


def column(page: Any, number: int) -> list[str]:
    cells = page.locator(f"table.rows tbody tr :nth-child({number})")
    return [cell.inner_text().strip() for cell in cells.all() if cell.is_visible()]


def line(page: Any, label: str, chart: str = ":not(.time)") -> Any:
    return page.locator(f'.chart{chart} .line[role=button][data-row="{label}"]:visible')


def opacity(element: Any) -> float:
    return float(element.evaluate("element => getComputedStyle(element).opacity"))


def fragment(page: Any) -> str:
    return unquote_plus(page.evaluate("location.hash"))


def test_nothing_is_wider_than_the_screen(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_pointing_at_a_line_mutes_all_others_but_mosp(page: Any) -> None:
    line(page, "uniform, sliced").locator("text").hover()
    opacities = {
        name: opacity(line(page, name))
        for name in ("mosp", "uniform, sliced", "uniform, from scratch")
    }
    assert opacities == {"mosp": 1, "uniform, sliced": 1, "uniform, from scratch": 0.22}
    assert opacity(line(page, "uniform, from scratch", ".time")) == 0.22
    for readout, text in ((":not(.time)", "28.55 dB at 0.75,"), (".time", "28.55 dB at 0.75 in ")):
        shown = page.locator(f".readout{readout}").inner_text()
        assert shown.startswith(f"uniform, sliced: {text}")
    page.locator("h1").hover()
    assert opacity(line(page, "uniform, from scratch")) == 1


def test_a_row_is_pinned_by_its_name_or_by_the_keyboard(page: Any) -> None:
    page.locator(".pivot .pin", has_text="uniform, sliced").click()
    page.locator("h1").hover()
    assert line(page, "uniform, sliced").get_attribute("aria-pressed") == "true"
    line(page, "uniform, from scratch").focus()
    page.keyboard.press("Enter")
    assert fragment(page) == "#rows=uniform, sliced&rows=uniform, from scratch"
    page.keyboard.press("Enter")
    assert fragment(page) == "#rows=uniform, sliced"


def test_names_at_the_ends_of_lines_do_not_cover_each_other(page: Any) -> None:
    boxes = sorted(
        (text.bounding_box() for text in page.locator(".time .line text:visible").all()),
        key=lambda box: box["y"],
    )
    assert len(boxes) == 4 and all(box["x"] + box["width"] <= 1280 for box in boxes)
    assert all(a["y"] + a["height"] <= b["y"] + 4 for a, b in pairwise(boxes))


def test_a_whole_photograph_fills_its_column_in_its_own_shape(page: Any) -> None:
    assert page.locator("select.photo option").all_inner_texts() == [
        f"photos: {PHOTO}",
        f"photos: {PHOTO}, detail",
    ]
    stage = page.locator(".stage").bounding_box()
    assert stage["width"] == page.locator(".compare").bounding_box()["width"]
    assert stage["height"] == pytest.approx(stage["width"] / 2, abs=1)
    assert page.locator("img.left").evaluate("image => image.naturalWidth") == 120
    page.locator("select.photo").select_option(index=1)
    assert page.locator("img.left").evaluate("image => image.naturalWidth") == 96
    detail = page.locator(".stage").bounding_box()
    assert detail["height"] == pytest.approx(detail["width"] / 1.6, abs=1)
    assert fragment(page) == f"#photo0=photos: {PHOTO}, detail"


def test_two_photographs_are_compared_under_a_slider(page: Any) -> None:
    assert page.locator(".under .right").inner_text().startswith("mosp")
    page.locator("select.left").select_option(label="clean")
    page.locator("select.right").select_option(label="unpruned")
    assert page.locator(".under .left").inner_text() == "clean"
    page.locator(".stage").scroll_into_view_if_needed()
    stage = page.locator(".stage").bounding_box()
    page.mouse.move(stage["x"] + 100, stage["y"] + 50)
    assert abs(float(page.locator(".across").input_value()) - 100 * 100 / stage["width"]) <= 1
    page.locator(".across").fill("20")
    clip = page.locator("img.right").evaluate("image => getComputedStyle(image).clipPath")
    assert clip == "inset(0px 0px 0px 20%)"


def test_all_photographs_zoom_together(page: Any) -> None:
    page.locator(".zoom").fill("4")
    images = page.locator(".stage img, .tile img")
    zooms = images.evaluate_all("images => images.map(image => getComputedStyle(image).transform)")
    assert len(zooms) == 2 + 6 and set(zooms) == {"matrix(4, 0, 0, 4, 0, 0)"}


def test_the_budget_chooses_photographs_memory_training_and_pattern(page: Any) -> None:
    page.get_by_role("radio", name="0.5").check()
    assert page.locator(".under .right").inner_text().startswith("mosp 29.33")
    assert page.locator("[data-ratio]:visible").evaluate_all(
        "blocks => blocks.map(block => block.dataset.ratio)"
    ) == ["0.5", "0.5"]
    page.locator("select.row").select_option(label="uniform, sliced")
    assert page.locator(".steps thead").inner_text().split("\t")[-1].strip() == "uniform, sliced"
    assert page.locator(".peaks").inner_text().startswith("Peak of the unpruned network: ")


def test_a_tile_is_shown_on_the_right(page: Any) -> None:
    page.locator(".tile", has_text="uniform, sliced").click()
    assert page.locator(".under .right").inner_text().startswith("uniform, sliced")


def test_the_pivot_colours_the_best_rank_most(page: Any) -> None:
    shares = page.locator(".pivot td").evaluate_all(
        "cells => cells.map(cell => Number(cell.style.getPropertyValue('--share')))"
    )
    assert shares == [1, 1, 1, 0.5, 0.5, 0.5, 0, 0, 0]


def test_a_heading_sorts_by_number(page: Any) -> None:
    heads = page.locator("table.rows thead th")
    number = heads.all_inner_texts().index("PSNR dB") + 1
    values = {}
    for order in ("ascending", "descending"):
        heads.get_by_text("PSNR dB").click()
        assert page.locator(f"table.rows th[aria-sort={order}]").inner_text().startswith("PSNR dB")
        values[order] = [float(text.split()[0]) for text in column(page, number)]
    rising, falling = values["ascending"], values["descending"]
    assert rising == sorted(rising) and falling == rising[::-1] and len(rising) == 10


def test_what_is_typed_filters_the_rows(page: Any) -> None:
    page.get_by_label("Filter rows").fill("SLICED 0.25")
    assert column(page, 1) == ["uniform, sliced"] and column(page, 2) == ["0.25"]


def test_a_link_with_a_fragment_shows_the_same(page: Any, address: str) -> None:
    page.locator("table.rows thead").get_by_text("SSIM").click()
    page.get_by_role("radio", name="0.75").check()
    page.locator(".pivot .pin", has_text="mosp").click()
    page.get_by_label("Filter rows").fill("uniform")
    page.get_by_label("Filter rows").press("Tab")
    page.goto("about:blank")
    page.goto(f"{address}#ratio0=0.75&rows=mosp&sort0=SSIM&sort0=ascending&filter0=uniform")
    page.wait_for_selector(READY, state="attached")
    assert page.get_by_role("radio", name="0.75").is_checked()
    assert page.locator(".rows th[aria-sort=ascending]").inner_text().startswith("SSIM")
    assert line(page, "mosp").get_attribute("aria-pressed") == "true"
    assert len(column(page, 1)) == 6


def test_what_is_chosen_is_written_into_the_fragment(page: Any) -> None:
    page.locator("table.rows thead").get_by_text("SSIM").click()
    page.get_by_role("radio", name="0.75").check()
    page.locator("select.left").select_option(label="clean")
    assert fragment(page) == "#sort0=SSIM&sort0=ascending&ratio0=0.75&left0=clean"


def test_tables_and_the_curve_are_downloaded_as_files(page: Any, tmp_path: Path) -> None:
    starts = {"csv": b"question,", "tex": b"% needs", "pdf": b"%PDF"}
    for suffix, start in starts.items():
        with page.expect_download() as download:
            page.locator(f'a[download="by-hand.{suffix}"]').click()
        download.value.save_as(tmp_path / suffix)
        assert (tmp_path / suffix).read_bytes().startswith(start)


def test_it_is_dark_where_the_system_is_and_when_the_button_is_pressed(page: Any) -> None:
    def background() -> Any:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    page.emulate_media(color_scheme="dark")
    assert background() == "rgb(21, 23, 28)"
    page.locator("#theme").click()
    assert background() == "rgb(255, 255, 255)" and fragment(page) == "#theme=light"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Any, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme)
    violations = Axe().run(page).response["violations"]
    assert [(found["id"], found["impact"], found["nodes"][0]["html"]) for found in violations] == []


def test_it_is_small(address: str) -> None:
    assert Path(address.removeprefix("file://")).stat().st_size < MAX_BYTES


def test_on_paper_the_controls_are_gone(page: Any) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator(".links:visible, .ranges:visible, .budget:visible").count() == 0
    assert page.locator("table.rows").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
