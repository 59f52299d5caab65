"""Records as rows: what is averaged, what is not."""

import statistics

import pytest

from bench.contract import Recipe
from bench.report.frame import build_frame, first_per_key, group_by, merge_rows
from tests.bench.report.synthetic import (
    MIB,
    cell,
    record,
    study_cells,
    study_records,
    unfinished_record,
)


def test_the_frame_has_one_row_per_record_with_exact_counts() -> None:
    table = build_frame(study_records())
    assert len(table) == 10
    assert str(table["parameters"].dtype) == "Int64"
    assert table["steps"].tolist()[:2] == [2700, 8700]


def test_seeds_are_averaged_and_peaks_are_the_largest() -> None:
    records = [record(cell(seed=seed)) for seed in (0, 1, 2)]
    (row,) = merge_rows(records)
    quality = [seed.means["psnr_db"] for seed in records]
    assert row["psnr_db"] == pytest.approx(statistics.mean(quality))
    assert row["psnr_db_std"] == pytest.approx(statistics.stdev(quality))
    assert (row["seeds"], row["seed_values"], row["peak_bytes"]) == (3, [0, 1, 2], 96 * MIB)


def test_one_seed_has_no_standard_deviation() -> None:
    (row,) = merge_rows([record(cell())])
    assert row["psnr_db_std"] is None
    assert isinstance(row["parameters"], int)


def test_records_of_different_recipes_are_not_averaged() -> None:
    assert (
        len(
            merge_rows(
                [record(cell(seed=0)), record(cell(seed=1, recipe=Recipe(pretrain_steps=1)))]
            )
        )
        == 2
    )


def test_the_status_is_the_worst_one_and_only_finished_seeds_count() -> None:
    records = [
        record(cell(seed=0)),
        unfinished_record(cell(seed=1), "failed", "it broke"),
        unfinished_record(cell(seed=2), "infeasible", "too small"),
    ]
    (row,) = merge_rows(records)
    assert (row["status"], row["reason"], row["seeds"], row["seeds_asked"]) == (
        "failed",
        "it broke",
        1,
        3,
    )
    assert row["psnr_db"] == records[0].means["psnr_db"]


def test_cells_without_a_record_are_pending() -> None:
    cells = study_cells()
    merged = merge_rows([record(cells[0])], cells)
    assert [row["status"] for row in merged] == ["done"] + ["pending"] * 9
    assert merge_rows([], cells)[0]["psnr_db"] is None
    assert merge_rows([]) == []


def test_rows_go_from_large_to_small_ratios_and_keep_the_order_of_labels() -> None:
    merged = merge_rows(study_records(), study_cells())
    assert [row["ratio"] for row in merged] == [
        1,
        0.75,
        0.75,
        0.75,
        0.5,
        0.5,
        0.5,
        0.25,
        0.25,
        0.25,
    ]
    assert [row["label"] for row in merged][1:4] == [
        "uniform, from scratch",
        "uniform, sliced",
        "mosp",
    ]


def test_the_first_of_each_key_stays_in_its_place() -> None:
    assert first_per_key("banana", str) == ["b", "a", "n"]
    assert group_by([3, 1, 5, 2], lambda value: value % 2) == [[3, 1, 5], [2]]


def test_a_note_says_where_no_three_colours_pass_and_in_how_many_seeds() -> None:
    def note(*channels: int | None) -> str:
        places = (() if count is None else ("c11", "c12") for count in channels)
        (row,) = merge_rows(
            [
                record(cell(seed=seed), bottleneck=units, bottleneck_channels=count)
                for seed, (units, count) in enumerate(zip(places, channels, strict=True))
            ]
        )
        return str(row["note"])

    assert note(1) == "one channel left in c11 and c12"
    assert note(2, 2, 3) == "2 channels left in c11 and c12 (2 of 3 seeds)"
    assert note(3) == note(None) == ""
