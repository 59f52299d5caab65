"""The figure of memory before and after pruning shows the numbers of the records."""

from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.memory.timeline import MemoryProfile
from bench.report.memory_figure import draw, find_pairs, record_name, record_profile
from bench.report.results import collect_results, read_results
from tests.bench.report.stored import make_store
from tests.bench.report.synthetic import study_records


def test_the_pair_is_the_unpruned_network_and_mosp_at_the_smallest_ratio(tmp_path: Path) -> None:
    (pair,) = find_pairs(read_results(make_store(tmp_path, seeds=(0, 1))))
    assert (record_name(pair.before), record_name(pair.after)) == ("unpruned", "mosp, ratio 0.25")
    assert pair.before.cell.seed == pair.after.cell.seed == 0


def test_without_mosp_the_first_method_is_shown(tmp_path: Path) -> None:
    records = [record for record in make_store(tmp_path).records() if record.cell.method != "mosp"]
    (pair,) = find_pairs(collect_results(records))
    assert record_name(pair.after) == "uniform, from scratch, ratio 0.25"


def test_the_outline_is_the_bytes_of_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = read_results(make_store(tmp_path / "run"))
    panels = []

    def keep_panel(axes: object, title: str, profile: MemoryProfile, scale_bytes: int) -> None:
        panels.append(([step.bytes for step in profile.timeline], scale_bytes))

    monkeypatch.setattr("bench.report.memory_figure.draw_panel", keep_panel)
    draw(results, tmp_path / "memory.svg")
    (pair,) = find_pairs(results)
    before, after = (
        [step["bytes"] for step in record.timeline] for record in (pair.before, pair.after)
    )
    assert panels == [(before, max(before)), (after, max(before))] and max(after) < max(before)


def test_records_from_before_time_steps_were_kept_have_no_figure(tmp_path: Path) -> None:
    results = collect_results(study_records())
    assert find_pairs(results) == []
    with pytest.raises(ConfigError, match="hold their time steps"):
        draw(results, tmp_path / "memory.png")


def test_a_record_gives_its_profile_back(tmp_path: Path) -> None:
    record = make_store(tmp_path).records()[0]
    assert [vars(step) for step in record_profile(record).timeline] == list(record.timeline)
