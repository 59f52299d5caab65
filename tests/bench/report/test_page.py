"""The page as text: what it holds, what it says of what is missing, and that it needs nothing from outside."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.report.page import content, write_page
from tests.bench.report.stored import PHOTO, SET, stored

SCRIPTS = re.compile(r"<script.*?</script>", re.DOTALL)


def test_the_page_refers_to_nothing_outside_itself(tmp_path: Path) -> None:
    text = write_page(stored(tmp_path), tmp_path / "report.html").read_text("utf-8")
    assert (
        re.findall(r"""<(?:script|img|link|iframe)[^>]*?(?:src|href)=["'](?!data:)[^"']+""", text)
        == []
    )
    assert "@import" not in text and "url(http" not in text


def test_it_says_what_produced_it(tmp_path: Path) -> None:
    facts = content(stored(tmp_path))["facts"]
    assert (
        facts["command"] == "prunebench run by-hand --seeds 0" and facts["data"] == "embedded (f)"
    )
    assert "pretrain_steps 6000" in facts["recipe of the first cell"]


def test_names_of_the_user_are_text_not_markup(tmp_path: Path) -> None:
    store = stored(tmp_path)
    cells = [replace(each, label=f"<i>{each.label}</i>") for each in store.cells()]
    store.write_study("<b>study</b>", cells, "prunebench run '<u>mine</u>'")
    text = SCRIPTS.sub("", write_page(store, tmp_path / "report.html").read_text("utf-8"))
    assert "&lt;b&gt;study" in text and "&lt;i&gt;mosp" in text and "&lt;u&gt;mine" in text
    assert not any(tag in text for tag in ("<b>study", "<i>", "<u>"))


def test_the_summary_names_the_best_of_each_ratio(tmp_path: Path) -> None:
    (part,) = content(stored(tmp_path))["sections"]
    assert (
        part["summary"][1]
        == "At 0.5 of the peak, mosp keeps the most: 29.33 dB, 0.90 dB ahead of uniform, from scratch."
    )


def test_the_summary_doubts_a_difference_whose_interval_holds_zero(tmp_path: Path) -> None:
    store = stored(tmp_path)
    for record in store.records():
        if record.cell.label == "mosp":
            photos = enumerate(record.scores[SET].items())
            gains = {
                name: {"psnr_db": score["psnr_db"] + (9 if place % 2 else -9)}
                for place, (name, score) in photos
            }
            store.write(replace(record, scores={SET: gains}))
    (part,) = content(store)["sections"]
    assert part["summary"][1].endswith("; the interval of that difference holds zero.")


def test_what_must_be_stored_is_said_beside_what_runs(tmp_path: Path) -> None:
    store = stored(tmp_path)
    first = store.records()[-1]
    store.write(replace(first, parameters_stored=9_999_999))
    assert "\n9,999,999 stored" in write_page(store, tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize("pending", [0, 4])
def test_an_unfinished_study_says_how_much_is_missing(tmp_path: Path, pending: int) -> None:
    text = write_page(stored(tmp_path, pending=pending), tmp_path / "report.html").read_text(
        "utf-8"
    )
    assert ("4 of 10 cells have no answer yet" in text) is bool(pending)
    assert SCRIPTS.sub("", text).count(">pending</td></tr>") == pending


def test_crops_are_inside_with_the_figures_of_their_photograph(tmp_path: Path) -> None:
    (view,) = content(stored(tmp_path))["sections"][0]["views"]
    assert view["name"].endswith(PHOTO) and [tile["name"] for tile in view["tiles"][:3]] == [
        "clean",
        "degraded",
        "unpruned",
    ]
    assert view["tiles"][2]["figures"] == "29.93 / 0.8998" and view["tiles"][2]["image"].startswith(
        "data:image/png;base64,iVBOR"
    )


def test_a_study_without_any_answer_has_a_page(tmp_path: Path) -> None:
    assert "10 of 10 cells have no answer yet" in write_page(
        stored(tmp_path, pending=10), tmp_path / "report.html"
    ).read_text("utf-8")
