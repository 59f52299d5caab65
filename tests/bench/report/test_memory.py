"""Memory before and after pruning: what is drawn is what the records say."""

from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.report.memory import draw, name, pairs, profile_of
from tests.bench.report.stored import stored
from tests.bench.report.synthetic import study_records


def test_the_pair_is_the_unpruned_network_and_mosp_at_the_smallest_ratio(tmp_path: Path) -> None:
    (pair,) = pairs(stored(tmp_path, seeds=(0, 1)).records())
    assert (name(pair.before), name(pair.after)) == ("unpruned", "mosp, ratio 0.25")
    assert pair.before.cell.seed == pair.after.cell.seed == 0


def test_without_mosp_the_first_method_is_shown(tmp_path: Path) -> None:
    records = [record for record in stored(tmp_path).records() if record.cell.method != "mosp"]
    assert name(pairs(records)[0].after) == "uniform, from scratch, ratio 0.25"


def test_the_outline_is_the_bytes_of_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, seen = stored(tmp_path / "run").records(), []

    def kept(axes: object, title: str, measured: object, highest_bytes: int) -> None:
        seen.append(([step.bytes for step in measured.timeline], highest_bytes))

    monkeypatch.setattr("bench.report.memory.panel", kept)
    draw(records, tmp_path / "memory.svg")
    (pair,) = pairs(records)
    before, after = (
        [step["bytes"] for step in record.timeline] for record in (pair.before, pair.after)
    )
    assert seen == [(before, max(before)), (after, max(before))] and max(after) < max(before)


def test_records_from_before_time_steps_were_kept_have_no_figure(tmp_path: Path) -> None:
    assert pairs(study_records()) == []
    with pytest.raises(ConfigError, match="know their time steps"):
        draw(study_records(), tmp_path / "memory.png")


def test_a_record_gives_its_profile_back(tmp_path: Path) -> None:
    record = stored(tmp_path).records()[0]
    assert [vars(step) for step in profile_of(record).timeline] == list(record.timeline)
