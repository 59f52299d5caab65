"""The numbers on the pages about results are those of the stored results."""

import csv
import json
import re
import runpy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench.report.comparison import compare_with_reference
from bench.report.results import read_results
from bench.runtimes.registry import RUNTIMES
from bench.study.store import Store
from bench.units import mib

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "results" / "reference"
RESULTS = ROOT / "docs" / "results.md"
Table = list[list[str]]


@cache
def rows(study: str) -> dict[tuple[str, float], dict[str, Any]]:
    """(Label in lower case, ratio) -> row of the stored table of a study."""
    content = json.loads((REFERENCE / study / "table.json").read_text("utf-8"))
    return {(row["label"].lower(), row["ratio"]): row for row in content}


def tables(heading: str) -> list[Table]:
    """The tables below a heading of docs/results.md, as text without emphasis."""
    text = RESULTS.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    split = [
        [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in block.splitlines()]
        for block in blocks
    ]
    return [[head, *body] for head, _, *body in split]


def format_psnr(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    if row["psnr_db"] is None:
        return str(row["status"])
    half = row.get("psnr_db_half95")
    return f"{row['psnr_db']:.2f}" + (f" ± {half:.2f}" if half else "")


@pytest.mark.parametrize(
    ("heading", "studies"),
    [
        ("Every method as its paper has it", ["table1_embedded"]),
        ("Equal short training", ["table1"]),
        ("Real photographs", ["photographs"]),
        ("Real photographs: super-resolution", ["photographs_sr"]),
        ("Real photographs: super-resolution x4", ["photographs_sr_x4"]),
        ("Real photographs: low light", ["photographs_low_light"]),
        ("Real photographs: noise of cameras", ["photographs_real_noise"]),
        ("Real photographs: NAFNet", ["photographs_nafnet"]),
        ("Other tasks and networks", ["table1_sr", "table1_low_light"]),
        ("Long skips and compactors", ["compactors"]),
    ],
)
def test_a_table_of_methods_and_budgets_is_that_of_its_study(
    heading: str, studies: list[str]
) -> None:
    head, *lines = tables(heading)[0]
    ratios = [float(found[0]) for cell in head[1:] if (found := re.findall(r"0\.\d+", cell))]
    per_study = len(ratios) // len(studies)
    assert len(lines) > 1 and ratios
    for label, *cells in lines:
        wanted = [
            format_psnr(rows(studies[position // per_study]).get((label.lower(), ratio)))
            for position, ratio in enumerate(ratios)
        ]
        assert cells[: len(ratios)] == wanted, label


def test_the_crops_and_steps_of_adaptation_are_those_of_the_stored_tables() -> None:
    _, *lines = tables("Calibration crops and steps of adaptation")[0]
    stored = rows("compactors")
    for setting in (
        "calibration_crops_4",
        "calibration_crops_64",
        "adapt_steps_40",
        "adapt_steps_320",
    ):
        stored = stored | rows(setting)
    assert len(lines) == 6
    for label, half, low, passes in lines:
        rows_of_label = [stored[label.lower(), ratio] for ratio in (0.5, 0.3)]
        assert [half, low] == [format_psnr(row) for row in rows_of_label]
        assert passes == f"{rows_of_label[1]['forward_passes'] - rows_of_label[1]['steps']:,}"


@pytest.mark.parametrize(
    ("number", "name", "default"),
    [(0, "outer stride", "1/12"), (1, "inner stride", "of a channel")],
)
def test_the_strides_are_those_of_their_study(number: int, name: str, default: str) -> None:
    results = read_results(Store(REFERENCE / f"{name.replace(' ', '_')}s"))
    compared = compare_with_reference(f"{name} {default}", results.rows, results.records)
    found = {row["label"]: row for row in compared}
    _, *lines = tables("Outer and inner stride")[number]
    assert len(lines) == 5
    for stride, _, psnr, difference, passes in lines:
        row = found[f"{name} {'of ' * (stride == 'a channel')}{stride}"]
        assert psnr == format_psnr(row)
        assert passes == f"{row['forward_passes'] - row['steps']:,}"  # without training
        assert difference == format_difference(row)


def format_difference(row: dict[str, Any]) -> str:
    if row["interval_db"] is None:
        return "-"
    low, high = row["interval_db"]
    return f"{row['difference_db']:+.2f} ({low:+.2f} to {high:+.2f})"


def test_the_rows_with_and_without_distillation_are_those_of_their_studies() -> None:
    head, *lines = tables("Distillation")[0]
    assert len(lines) == 4
    for label, *cells in lines:
        for column, cell in zip(head[1:], cells, strict=True):
            ratio, _, name = column.partition(", ")
            study = {"with": "distillation", "without": "photographs"}[name]
            assert cell == format_psnr(rows(study)[label.lower(), float(ratio)])


def test_mosp_minus_the_better_uniform_row_is_what_the_records_say() -> None:
    (lines,) = [table[1:] for table in tables("Every method as its paper has it")[1:]]
    for ratio, difference, interval, verdict in lines:
        uniform = [
            rows("table1_embedded")[f"uniform, {name}", float(ratio)]
            for name in ("scratch", "sliced")
        ]
        best = max(uniform, key=lambda row: row["psnr_db"])
        low, high = sorted(-end for end in best["interval_db"])
        assert difference == f"{-best['difference_db']:+.2f}"
        assert (interval, verdict) == (f"{low:+.2f} to {high:+.2f}", best["verdict"])


@pytest.mark.parametrize(
    ("heading", "number", "study", "count"),
    [
        ("Ablation of MOSP", 0, "photographs", 10),
        ("Real photographs: super-resolution", 1, "photographs_sr", 7),
        ("Real photographs: low light", 1, "photographs_low_light", 10),
        ("Long skips and compactors", 1, "compactors", 1),
    ],
)
def test_the_parts_of_mosp_are_the_differences_of_the_stored_records(
    heading: str, number: int, study: str, count: int
) -> None:
    results = read_results(Store(REFERENCE / study))
    head, *lines = tables(heading)[number]
    assert len(lines) == count
    for _, pair, *cells in lines:
        label, reference = pair.split(" \N{MINUS SIGN} ")
        compared = compare_with_reference(reference, results.rows, results.records)
        found = {(row["label"], row["ratio"]): row for row in compared}
        for ratio, cell in zip(head[2:], cells, strict=True):
            assert cell == format_difference(found[label, float(ratio)])


def test_the_quality_with_multiples_is_that_of_the_stored_tables() -> None:
    head, *lines = tables("Budgets of runtimes")[1]
    assert len(lines) == 4 and len(head) == 5
    for label, *cells in lines:
        for column, cell in zip(head[1:], cells, strict=True):
            ratio, _, multiple = column.partition(", ")
            stored = rows_of_conventions("multiples" if multiple else "runtimes")
            assert cell == format_psnr(stored[label, "planned", float(ratio)])


def rows_of_conventions(study: str) -> dict[tuple[str, str, float], dict[str, Any]]:
    """(Label, convention, ratio) -> row of the stored table of a study."""
    content = json.loads((REFERENCE / study / "table.json").read_text("utf-8"))
    return {(row["label"], row["convention"], row["ratio"]): row for row in content}


def test_the_quality_under_budgets_of_runtimes_is_that_of_the_stored_table() -> None:
    psnr_db = rows_of_conventions("runtimes")
    head, *lines = tables("Budgets of runtimes")[0]
    assert len(lines) == 4 and len(head) == 7
    for label, *cells in lines:
        for column, cell in zip(head[1:], cells, strict=True):
            convention, ratio = column.split()
            assert cell == format_psnr(psnr_db[label, convention, float(ratio)])


def test_the_quality_of_networks_with_attention_is_that_of_the_stored_table() -> None:
    content = json.loads((REFERENCE / "attention" / "table.json").read_text("utf-8"))
    psnr = {(row["label"], row["backbone"]): format_psnr(row) for row in content}
    head, *lines = tables("Networks with gates and attention")[0]
    networks = {"NAFNet": "nafnet", "Restormer": "restormer", "SwinIR": "swinir.py:build"}
    assert head == ["", *networks, "steps"] and len(lines) == 6
    for label, *cells in lines:
        assert cells[:-1] == [psnr[label, backbone] for backbone in networks.values()], label


BYTES_OF_COLUMN = {
    "planned": "peak_bytes",
    "lean": "lean_bytes",
    "PyTorch": "measured_bytes",
    "ONNX Runtime": "onnx_bytes",
} | {package.title: f"{name}_bytes" for name, package in RUNTIMES.items()}
BACKBONES = {"U-Net": "unet", "Res-U-Net": "res_unet", "EDSR": "edsr"}


@pytest.mark.parametrize(("number", "multiple", "count"), [(0, 1, 15), (1, 4, 12)])
def test_the_peaks_in_runtimes_are_those_of_the_stored_table(
    number: int, multiple: int, count: int
) -> None:
    with (REFERENCE / "executors" / f"multiple_{multiple}.csv").open(encoding="utf-8") as file:
        stored = {
            (row["backbone"], row["label"].partition(",")[0], float(row["ratio"])): row
            for row in csv.DictReader(file)
        }
    head, *lines = tables("Executors")[number]
    assert len(lines) == count
    for name, *cells in lines:
        backbone, _, pruned = name.partition(", ")
        label, _, ratio = (pruned or "unpruned 1").partition(" ")
        row = stored[BACKBONES[backbone], label, float(ratio)]
        for column, cell in zip(head[1:], cells, strict=True):
            found = row[BYTES_OF_COLUMN[column]]
            assert cell == (f"{mib(int(found)):.1f}" if found else "-"), (name, column)


def test_the_peaks_of_executors_are_those_of_the_stored_table() -> None:
    stored = (REFERENCE / "executors" / "table.md").read_text("utf-8")
    for _, *cells in tables("Executors")[2][1:]:
        assert any(all(f" {cell} |" in line for cell in cells) for line in stored.splitlines()), (
            cells
        )


def test_what_we_found_is_what_the_stored_results_say() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "what_we_found.py"))["render_page"]()
    assert (ROOT / "docs" / "what-we-found.md").read_text("utf-8") == page, (
        "run: python docs/what_we_found.py"
    )


@pytest.mark.parametrize(
    "study", [path.parent.name for path in sorted(REFERENCE.glob("*/study.json"))]
)
def test_a_stored_table_is_that_of_the_stored_records(study: str) -> None:
    stored = json.loads((REFERENCE / study / "table.json").read_text("utf-8"))
    rows = json.loads(json.dumps(read_results(Store(REFERENCE / study)).rows))
    assert drop_empty(rows) == drop_empty(stored)


def drop_empty(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows without empty columns: a new runtime adds some."""
    return [{name: value for name, value in row.items() if value is not None} for row in rows]
