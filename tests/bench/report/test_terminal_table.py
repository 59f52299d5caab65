"""The table for a terminal: labels by budgets, within 80 columns, with honest words below."""

import csv
import io
from dataclasses import replace

import pytest

from bench.errors import ConfigError
from bench.report.results import RunResults, collect_results
from bench.report.terminal_table import render_columns, render_pivot, select_ratios
from tests.bench.report.synthetic import (
    cell,
    record,
    scored_record,
    study_cells,
    study_records,
    unfinished_record,
)

COLUMNS = 80


def one_seed() -> RunResults:
    return collect_results(study_records(), study_cells())


def find_line(text: str, label: str) -> str:
    (line,) = (line for line in text.splitlines() if label in line)
    return line


def test_labels_are_rows_budgets_columns_and_the_best_and_mosp_are_marked() -> None:
    text = render_pivot(one_seed())
    assert text.splitlines()[:2] == [
        "denoising · unet (width 8)",
        "PSNR in dB by share of the unpruned peak memory",
    ]
    assert text.splitlines()[3].split() == ["1", "0.75", "0.5", "0.25", "steps"]
    assert find_line(text, "uniform, sliced").split()[2:] == ["28.48", "27.73", "26.98", "2,700"]
    assert find_line(text, "mosp").split()[:3] == [">", "mosp", "*30.08"]
    assert "* best of its budget; > MOSP." in text
    assert max(map(len, text.splitlines())) <= COLUMNS


def test_one_seed_is_said_to_be_untested() -> None:
    records = [scored_record(label, [0.0] * 12) for label in ("mosp", "a")]
    text = " ".join(render_pivot(collect_results(records)).split())
    assert "One seed and 12 scenes: no difference is tested, which takes 3 seeds and 10" in text


def test_without_mosp_nothing_is_compared() -> None:
    results = collect_results([scored_record("a", [0.0] * 12)])
    assert "No row is compared with MOSP, so no difference is tested" in render_pivot(results)


def test_where_differences_can_be_tested_it_says_so() -> None:
    records = [
        scored_record(label, [0.1 * index + seed for index in range(12)], seed)
        for label in ("mosp", "a")
        for seed in range(3)
    ]
    text = " ".join(render_pivot(collect_results(records)).split())
    assert "3 seeds and 12 scenes: differences are tested at 5 %" in text
    assert "± half of the 95 % interval over seeds" in text


def test_budgets_that_do_not_fit_side_by_side_stand_below_each_other() -> None:
    ratios = tuple(round(0.1 * index, 1) for index in range(1, 10))
    cells = study_cells((0, 1, 2), ratios)
    text = render_pivot(collect_results([record(each) for each in cells], cells))
    assert max(map(len, text.splitlines())) <= COLUMNS
    lines = [line.split()[2:] for line in text.splitlines() if line.startswith(">")]
    assert len(lines) == 4 and sum(len(line) for line in lines) == 3 * 9 + 1


def test_a_row_without_a_result_has_its_status_and_its_reason() -> None:
    failed = unfinished_record(cell("a"), "failed", "the loss is nan")
    cells = [cell("mosp"), failed.cell, cell("waits")]
    text = render_pivot(collect_results([record(cells[0]), failed], cells))
    assert ["a", "failed"] in [line.split() for line in text.splitlines()]
    assert find_line(text, "waits").split() == ["waits", "pending"]
    assert "a at 0.5 failed: the loss is nan." in text


def test_seeds_that_are_still_to_come_are_marked() -> None:
    cells = [cell("mosp", seed=seed) for seed in range(2)]
    text = render_pivot(collect_results([record(cells[0])], cells))
    assert "~29.33" in text and "~ some seeds are missing" in text


def test_a_long_label_is_cut_and_codes_of_the_terminal_are_only_ours() -> None:
    cells = [cell("\x1b[2J" + "long " * 40), cell("mosp")]
    results = collect_results([record(each) for each in cells], cells)
    plain, bold = render_pivot(results), render_pivot(results, bold=True)
    assert "\x1b" not in plain and max(map(len, plain.splitlines())) <= COLUMNS
    assert bold.replace("\x1b[1m", "").replace("\x1b[0m", "") == plain
    assert "\x1b[1mmosp\x1b[0m" in bold


@pytest.mark.parametrize("table_format", ["text", "md", "tex", "csv"])
def test_columns_are_chosen_by_header_or_field(table_format: str) -> None:
    names = ["label", "ratio", "psnr_db"]
    text = render_columns(one_seed(), table_format, names)
    assert "mosp" in text and "eager MiB &" not in text and "| eager MiB" not in text
    if table_format == "csv":
        assert list(csv.DictReader(io.StringIO(text)).fieldnames or ()) == names
    else:
        assert "PSNR dB" in text


def test_an_unknown_column_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown column 'peak'; .*did you mean|peak_mib"):
        render_columns(one_seed(), "text", ["label", "peak"])


def test_one_budget_can_be_chosen_and_an_absent_one_is_refused() -> None:
    text = render_pivot(select_ratios(one_seed(), [0.5]))
    assert text.splitlines()[3].split() == ["0.5", "steps"]
    with pytest.raises(ConfigError, match=r"no row has the ratio 0.4; the ratios are 1, 0.75, 0.5"):
        select_ratios(one_seed(), [0.4])


def test_an_empty_folder_is_a_sentence() -> None:
    assert "this folder holds no study yet" in render_pivot(collect_results([]))
    assert replace(one_seed(), rows=[]).split_sections() == []
