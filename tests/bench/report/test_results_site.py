"""The site of all studies: its overview says what the tables say."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import ConfigError
from bench.report.records_file import read_records
from bench.report.reference import REQUIRED, open_reference
from bench.report.results import collect_results
from bench.report.results_site import find_answers, write_site
from tests.bench.report.stored import make_store
from tests.bench.report.synthetic import scored_record, study_records


def scored(label: str, gain: float) -> list[Any]:
    """Three seeds of a row on ten photographs; it scatters by its own pattern."""
    noise = np.random.default_rng(len(label)).normal(0, 0.02, (3, 10))
    records = [scored_record(label, gain + noise[seed], seed) for seed in range(3)]
    return [
        replace(record, means={"psnr_db": 34.5 + gain + float(noise[record.cell.seed].mean())})
        for record in records
    ]


def answer(*records: Any) -> Any:
    (found,) = find_answers(collect_results(records).rows)
    return found


def test_a_lead_that_the_table_shows_is_ahead_with_the_interval_of_the_table() -> None:
    results = collect_results([*scored("mosp", 0), *scored("mine", 1), *scored("other", -1)])
    (found,) = find_answers(results.rows)
    assert (found.ratio, found.label, found.verdict) == (0.5, "mine", "ahead")
    row = next(row for row in results.rows if row["label"] == "mine")
    interval = "{:+.2f} to {:+.2f}".format(*row["interval_db"])
    assert found.lead == f"{row['difference_db']:+.2f} dB over 'mosp' ({interval})"


def test_the_lead_of_mosp_is_that_over_the_second_best_row() -> None:
    found = answer(*scored("mosp", 1), *scored("mine", 0), *scored("other", -1))
    turned = answer(*scored("mosp", 0), *scored("mine", -1), *scored("other", -2))
    assert (found.label, found.verdict) == ("mosp", "ahead")
    assert found.lead == turned.lead and found.lead.startswith("+")


def test_with_one_seed_the_reason_why_nothing_is_tested_stands_in_place_of_a_verdict() -> None:
    found = answer(scored("mosp", 0.0)[0], scored("mine", 1.0)[0])
    assert (found.label, found.verdict) == ("mine", "not tested: one seed")
    assert found.lead.endswith(" dB over 'mosp'")


def test_a_table_without_records_has_no_verdict(tmp_path: Path) -> None:
    rows = collect_results(study_records((0, 1, 2))).rows
    kept = [{name: row[name] for name in REQUIRED} for row in rows]
    (tmp_path / "table.json").write_text(json.dumps(kept))
    answers = find_answers(open_reference(tmp_path).results.rows)
    assert [found.verdict for found in answers] == ["not tested: no scores of photographs"] * 3
    assert {found.lead for found in answers} == {"+0.90 dB over 'uniform, from scratch'"}


def test_the_site_has_a_page_and_a_file_of_records_for_each_study(tmp_path: Path) -> None:
    store = make_store(tmp_path / "runs" / "by-hand", seeds=(0, 1, 2))
    note = tmp_path / "runs" / "killed" / "provenance.md"
    note.parent.mkdir()
    note.write_text("# Killed 100 times\n\n    make chaos\n\nprinted it & more.")
    site = tmp_path / "site"
    written = [path.relative_to(site).as_posix() for path in write_site([tmp_path / "runs"], site)]
    assert written == ["by-hand/by-hand.parquet", "by-hand/index.html", "index.html"]
    assert read_records(site / written[0]).records == store.records()
    overview = (site / "index.html").read_text("utf-8")
    assert "Killed 100 times" in overview and "printed it &amp; more." in overview
    assert "<strong>mosp</strong> 30.15 ± 0.17 dB" in overview
    assert 'href="../index.html">All studies' in (site / written[1]).read_text("utf-8")


def test_folders_without_results_or_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no results; give folders of runs"):
        list(write_site([tmp_path], tmp_path / "site"))
    for parent in ("a", "b"):
        make_store(tmp_path / parent / "same")
    with pytest.raises(ConfigError, match="two studies are named same"):
        list(write_site([tmp_path / "a", tmp_path / "b"], tmp_path / "site"))
