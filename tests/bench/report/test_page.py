"""The page as text: its content, its words on an unfinished study, and that it is complete."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.report.page import page_content, write_page
from bench.report.results import read_results
from bench.study.store import Store
from tests.bench.report.stored import PHOTO, SET, make_store

SCRIPTS = re.compile(r"<script.*?</script>", re.DOTALL)


def page_text(store: Store) -> str:
    path = write_page(store, read_results(store), store.folder / "report.html")
    return path.read_text("utf-8")


def content(store: Store) -> dict[str, Any]:
    return page_content(store, read_results(store))


def test_the_page_refers_to_nothing_outside_itself(tmp_path: Path) -> None:
    text = page_text(make_store(tmp_path))
    outside = re.compile(r"""<(?:script|img|link|iframe)[^>]*?(?:src|href)=["'](?!data:)[^"']+""")
    assert outside.findall(text) == []
    assert "@import" not in text and "url(http" not in text


def test_it_says_what_produced_it(tmp_path: Path) -> None:
    facts = content(make_store(tmp_path))["facts"]
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


def test_the_summary_names_the_best_of_each_ratio(tmp_path: Path) -> None:
    (part,) = content(make_store(tmp_path))["sections"]
    assert part["summary"][1] == (
        "At 0.5 of the peak, mosp has the highest PSNR: 29.33 dB, 0.90 dB ahead of uniform, "
        "from scratch (one seed: not tested)."
    )


def test_the_summary_doubts_a_difference_whose_interval_contains_zero(tmp_path: Path) -> None:
    store = make_store(tmp_path, (0, 1, 2))
    for record in store.records():
        if record.cell.label == "mosp":
            scores = {
                name: {"psnr_db": score["psnr_db"] + (9 if index % 2 else -9)}
                for index, (name, score) in enumerate(record.scores[SET].items())
            }
            store.write(replace(record, scores={SET: scores}))
    (part,) = content(store)["sections"]
    assert part["summary"][1].endswith("; the 95 % interval of that difference contains zero.")


def test_the_lead_in_the_summary_counts_a_scene_once_as_its_interval_does(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    for record in store.records():
        gain = 2.0 * (record.cell.label == "mosp")
        photos = {"a/1": 20 + gain, "a/2": 20 + gain, "a/3": 20 + gain, "b/1": 20.0}
        scores = {SET: {name: {"psnr_db": psnr_db} for name, psnr_db in photos.items()}}
        store.write(replace(record, scores=scores))
    (part,) = content(store)["sections"]
    assert "1.00 dB ahead" in part["summary"][1]


def test_the_table_says_why_nothing_is_tested_or_what_is(tmp_path: Path) -> None:
    (one,) = content(make_store(tmp_path / "one"))["sections"]
    assert "verdict" not in one["headers"]
    assert any(
        "one seed: not tested, because a test takes 3 seeds" in note for note in one["notes"]
    )
    (three,) = content(make_store(tmp_path / "three", (0, 1, 2)))["sections"]
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
    assert SCRIPTS.sub("", text).count(">pending</td></tr>") == pending


def test_crops_are_inside_with_the_scores_of_their_photograph(tmp_path: Path) -> None:
    (view,) = content(make_store(tmp_path))["sections"][0]["views"]
    clean, degraded, unpruned = view["tiles"][:3]
    assert view["name"].endswith(PHOTO)
    assert (clean["name"], degraded["name"], unpruned["name"]) == ("clean", "degraded", "unpruned")
    assert unpruned["scores"] == "29.93 / 0.8998"
    assert unpruned["image"].startswith("data:image/png;base64,iVBOR")


def test_a_study_without_any_answer_has_a_page(tmp_path: Path) -> None:
    assert "10 of 10 cells have no answer yet" in page_text(make_store(tmp_path, pending=10))
