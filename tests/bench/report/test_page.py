"""The page as text: its content, its words on an unfinished study, and that it is complete."""

import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.report.page import page_content, write_page, write_pages
from bench.report.results import read_results
from bench.study.store import Store
from tests.bench.report.stored import make_store

SCRIPTS = re.compile(r"<script.*?</script>", re.DOTALL)


def page_text(store: Store) -> str:
    path = write_page(store, read_results(store), store.folder / "report.html")
    return path.read_text("utf-8")


def study(store: Store) -> dict[str, Any]:
    (content,) = page_content([(store, read_results(store))])["studies"]
    return dict(content)


def sections(store: Store) -> list[dict[str, Any]]:
    return list(study(store)["sections"])


def test_the_page_refers_to_nothing_outside_itself(tmp_path: Path) -> None:
    text = page_text(make_store(tmp_path))
    outside = re.compile(r"""<(?:script|img|link|iframe)[^>]*?(?:src|href)=["'](?!data:)[^"']+""")
    assert outside.findall(text) == []
    assert "@import" not in text and "url(http" not in text


def test_it_says_what_produced_it(tmp_path: Path) -> None:
    facts = study(make_store(tmp_path))["facts"]
    assert facts["command"] == "prunebench run by-hand --seeds 0"
    assert facts["data"] == "embedded (f)"
    assert "pretrain_steps 6000" in facts["recipe of the first cell"]


def test_names_of_the_user_are_text_not_markup(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    cells = [replace(cell, label=f"<i>{cell.label}</i>") for cell in store.cells()]
    store.write_study("<b>study</b>", cells, "prunebench run '<u>mine</u>'")
    text = SCRIPTS.sub("", page_text(store))
    assert "&lt;b&gt;study" in text and "&lt;i&gt;mosp" in text and "&lt;u&gt;mine" in text
    assert not any(tag in text for tag in ("<b>study", "<i>", "<u>"))


def test_the_answers_come_first_and_say_what_they_rest_on(tmp_path: Path) -> None:
    (part,) = sections(make_store(tmp_path))
    *answers, evidence = part["summary"]
    assert [answer.partition(" of the peak")[0] for answer in answers] == [
        "At 0.75",
        "At 0.5",
        "At 0.25",
    ]
    assert "no difference is tested" in evidence


def test_the_table_says_why_nothing_is_tested_or_what_is(tmp_path: Path) -> None:
    (one,) = sections(make_store(tmp_path / "one"))
    assert "verdict" not in one["headers"]
    assert any(
        "one seed: not tested, because a test takes 3 seeds" in note for note in one["notes"]
    )
    (three,) = sections(make_store(tmp_path / "three", (0, 1, 2)))
    verdicts = {line[three["headers"].index("verdict")].text for line in three["lines"]}
    assert verdicts == {"reference", "worse", "not compared"}
    assert any("over seeds and scenes together" in note for note in three["notes"])


def test_what_must_be_stored_is_said_beside_what_runs(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    first = store.records()[-1]
    store.write(replace(first, parameters_stored=9_999_999))
    assert "\n9,999,999 stored" in page_text(store)


@pytest.mark.parametrize("pending", [0, 4])
def test_an_unfinished_study_says_how_much_is_missing(tmp_path: Path, pending: int) -> None:
    text = page_text(make_store(tmp_path, pending=pending))
    assert ("4 of 10 cells have no answer yet" in text) is bool(pending)
    assert SCRIPTS.sub("", text).count('data-order="pending">pending') == pending


def test_a_packaged_study_says_what_it_is_and_one_of_the_user_does_not(tmp_path: Path) -> None:
    store = make_store(tmp_path, pending=10)
    assert study(store)["about"] == ""
    store.write_study("smoke", store.cells(), "prunebench run smoke")
    assert study(store)["about"].startswith("All code paths of table1")
    store.write_study("smoke", store.cells(), "prunebench run my/smoke.toml")
    assert study(store)["about"] == ""


def test_tables_and_the_curve_can_be_downloaded(tmp_path: Path) -> None:
    files = {
        suffix: b64decode(address.partition(",")[2])
        for suffix, address in study(make_store(tmp_path))["downloads"].items()
    }
    assert files["csv"].startswith(b"question,")
    assert b"\\toprule" in files["tex"] and files["pdf"].startswith(b"%PDF")


def test_two_studies_share_a_page_and_no_id(tmp_path: Path) -> None:
    stores = [make_store(tmp_path / name, pending=10) for name in ("a", "b")]
    path = write_pages([(store, read_results(store)) for store in stores], tmp_path / "both.html")
    text = path.read_text("utf-8")
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids)) and {"section0", "section1"} <= set(ids)
    assert f"by-hand in {tmp_path / 'a'}: denoising" in text


def test_a_study_without_any_answer_has_a_page(tmp_path: Path) -> None:
    assert "10 of 10 cells have no answer yet" in page_text(make_store(tmp_path, pending=10))
