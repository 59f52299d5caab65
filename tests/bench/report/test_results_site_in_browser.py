"""The overview of all studies in a real browser, at the widths of a desk screen and of a phone."""

from pathlib import Path
from typing import Any

import pytest

from bench.report.results_site import write_site
from tests.bench.report.stored import make_store


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_store(folder / "by-hand", seeds=(0, 1, 2))
    make_store(folder / "another")
    list(write_site([folder], folder / "site"))
    return folder / "site"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_overview_fits_the_screen_and_leads_to_each_page(
    browser: Any, site: Path, width: int, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=True
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto((site / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("link", name="by-hand", exact=True).click()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("link", name="All studies").click()
    assert page.locator(".card").count() == 2
    context.close()
    assert complaints == []
