"""The table in its four formats."""

import csv
import io
import json
from collections.abc import Sequence

import pytest

from bench.errors import ConfigError
from bench.records import Cell, Record
from bench.report.results import collect_results
from bench.report.table import render_table
from tests.bench.report.synthetic import cell, record, study_cells, study_records, unfinished_record

DOCUMENTED_KEYS = {
    *("task", "backbone", "method", "label", "ratio", "seeds", "budget_bytes", "peak_bytes"),
    *("peak_bytes_eager", "parameters", "psnr_db", "ssim", "steps", "status"),
}


def render(records: Sequence[Record], fmt: str = "md", cells: Sequence[Cell] = ()) -> str:
    return render_table(collect_results(records, cells), fmt)


def test_json_has_the_promised_keys_and_plain_numbers() -> None:
    table = json.loads(render(study_records((0, 1)), "json"))
    assert set(table[0]) >= DOCUMENTED_KEYS
    assert (table[0]["budget_bytes"], table[0]["seeds"], table[0]["status"]) == (
        201326592,
        2,
        "done",
    )


def test_csv_reads_back_with_the_same_rows() -> None:
    table = list(csv.DictReader(io.StringIO(render(study_records(), "csv"))))
    assert len(table) == 10
    assert table[1]["label"] == "uniform, from scratch"


def test_markdown_is_aligned_and_marks_the_best_of_each_ratio() -> None:
    lines = [line for line in render(study_records()).splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    assert [line.split("|")[1].strip() for line in lines if "**" in line] == ["mosp"] * 3


def test_an_unfinished_row_is_never_called_best() -> None:
    records = [
        record(cell("mosp", 0.5, 0)),
        record(cell("uniform, sliced", 0.5, 0)),
        record(cell("uniform, from scratch", 0.5, 0)),
    ]
    bold = [
        line for line in render(records, "md", [cell("mosp", 0.5, 1)]).splitlines() if "**" in line
    ]
    assert ["from scratch" in line for line in bold] == [True]


def test_the_second_best_is_italic_and_costs_are_columns() -> None:
    records = [
        record(
            cell(label),
            rate_sums={"finetune": 0.45},
            samples={"finetune": 10_800},
            forward_passes=2_708,
        )
        for label in ("mosp", "uniform, sliced", "uniform, from scratch")
    ]
    italic = [line for line in render(records).splitlines() if " *2" in line]
    assert ["from scratch" in line for line in italic] == [True]
    assert "\\underline{28.43}" in render(records, "tex")
    assert [part.strip() for part in italic[0].split("|")[11:16]] == [
        "8,700",
        "0.450",
        "10,800",
        "2,708",
        "30",
    ]


def test_several_seeds_show_the_mean_and_half_of_its_interval() -> None:
    three = render([record(cell(seed=seed)) for seed in (0, 1, 2)])
    assert "29.40 ± 0.17" in three and "95 % interval over seeds, on these photographs" in three
    assert three.count(" ± ") == 3  # PSNR, SSIM and the caption: counts have none
    two = render([record(cell(seed=seed)) for seed in (0, 1)])
    assert "±" not in two and "95 %" not in two


def test_rows_without_an_answer_say_why() -> None:
    text = render(
        [unfinished_record(cell(), "infeasible", "the least peak that is possible is 50.0 MiB")],
        "md",
        study_cells(),
    )
    assert "mosp at 0.5 infeasible: the least peak that is possible is 50.0 MiB" in text
    assert "| pending" in text


def test_the_caption_says_what_was_equal() -> None:
    text = render(study_records((0, 1)))
    assert "shared pretraining of 6,000; equal training: 2,700 for every pruned row" in text
    assert "Without a network the photographs have 20.52 dB" in text
    assert "Data embedded; seeds 0, 1" in text


def test_unequal_training_is_not_called_equal() -> None:
    text = render([record(cell()), record(cell("uniform, sliced"), steps={"finetune": 9})])
    assert "not equal: 9 to 2,700" in text


def test_tex_uses_booktabs_and_escapes() -> None:
    text = render([record(cell("global_l2, 50%")), record(cell())], "tex")
    assert "\\toprule" in text and "global\\_l2, 50\\%" in text and "\\textbf{29.33}" in text


def test_a_bar_in_a_label_does_not_break_the_table() -> None:
    assert "a\\|b" in render([record(cell("a|b"))])


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="choose one of md, csv, tex, json"):
        render([], "html")


def test_nothing_asked_gives_a_sentence() -> None:
    assert "holds no study yet" in render([])
    assert json.loads(render([], "json")) == []


def test_a_label_is_text_in_every_format() -> None:
    label = "<b>mosp</b>\n| a_1 & $x$ \x1b[2J"
    records = [record(cell("unpruned", 1.0)), record(cell(label))]
    assert "| &lt;b>mosp&lt;/b> \\| a_1 & $x$ ?[2J " in render(records, "md")
    assert "<b>mosp</b> | a\\_1 \\& \\$x\\$ ?[2J & 0.5" in render(records, "tex")
    assert json.loads(render(records, "json"))[1]["label"] == label
    assert list(csv.DictReader(io.StringIO(render(records, "csv"))))[1]["label"] == label


@pytest.mark.parametrize("label", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_no_cell_of_a_csv_is_a_formula(label: str) -> None:
    records = [record(cell("unpruned", 1.0)), record(cell(label))]
    rows = list(csv.DictReader(io.StringIO(render(records, "csv"))))
    assert rows[1]["label"] == f"'{label}"
    assert not any(value[:1] in ("=", "+", "@") for row in rows for value in row.values())
