"""The charts of the page: the trade-off, what skips are worth, and how rows were trained."""

from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import Any

from bench.records import Record
from bench.report.axes import LOGARITHMIC, quality_axis
from bench.report.curve import pareto_front, peak_mib
from bench.report.frame import Row, is_reference
from bench.report.front import find_front, time_field
from bench.report.page_chart import NARROW, WIDE, Chart, Line, Point, lay_out
from bench.report.skips import SkipsPanel, kept_share
from bench.report.style import label_styles
from bench.report.table import GIGA, MISSING
from bench.units import mib

TIMES: Mapping[str, tuple[str, float]] = {  # field -> title of the axis, unit
    "relative_time": ("time of an image, unpruned = 1", 1),
    "macs": ("MACs of an image, 10^9", GIGA),
}
Styles = Mapping[str, Mapping[str, Any]]  # of `bench.report.style.label_styles`


def trade_off_charts(panel: Sequence[Row], styles: Styles) -> dict[str, Any]:
    """Return PSNR against peak memory, for desk screens ("wide") and phones ("narrow").

    `panel` is one of `bench.report.curve.select_panels`.
    """
    labels = dict.fromkeys(row["label"] for row in panel)
    blocks = {
        label: sorted((row for row in panel if row["label"] == label), key=peak_mib)
        for label in labels
    }
    unpruned = next((row["psnr_db"] for row in panel if is_reference(row)), None)
    chart = Chart(
        "PSNR against peak memory, a line for each row",
        f"peak memory ({panel[0]['convention']}), MiB",
        "PSNR, dB",
        [
            _draw_rows(label, rows, peak_mib, styles[label], lambda row: f"{row['ratio']:g}")
            for label, rows in blocks.items()
        ],
        columns={
            mib(row["budget_bytes"]): f"{row['ratio']:g}" for row in panel if row["budget_bytes"]
        },
        y_axis=quality_axis([row["psnr_db"] for row in panel]),
        level=unpruned,
        front=[(peak_mib(row), row["psnr_db"]) for row in pareto_front(panel)],
    )
    return {"wide": lay_out(chart, WIDE), "narrow": lay_out(chart, NARROW)}


def time_charts(panel: Sequence[Row], styles: Styles) -> dict[str, Any] | None:
    """Return PSNR against the time of an image, or its MACs, as `trade_off_charts` does.

    None where some rows have neither.
    """
    name = time_field(panel)
    if not name:
        return None
    title, unit = TIMES[name]

    def place(row: Row) -> float:
        return float(row[name] / unit)

    labels = dict.fromkeys(row["label"] for row in panel)
    is_on_front = find_front([(place(row), -row["psnr_db"]) for row in panel])
    chart = Chart(
        f"PSNR against {title}, a line for each row",
        title,
        "PSNR, dB",
        [
            _draw_rows(
                label,
                sorted((row for row in panel if row["label"] == label), key=place),
                place,
                styles[label],
                lambda row: f"{row['ratio']:g} in {place(row):.2f}",
            )
            for label in labels
        ],
        y_axis=quality_axis([row["psnr_db"] for row in panel]),
        level=next((row["psnr_db"] for row in panel if is_reference(row)), None),
        front=sorted((place(row), row["psnr_db"]) for row in compress(panel, is_on_front)),
    )
    return {"wide": lay_out(chart, WIDE), "narrow": lay_out(chart, NARROW)}


def skips_chart(panel: SkipsPanel) -> dict[str, Any]:
    """Return PSNR against the kept share of each long skip, when it alone is narrowed."""
    styles = label_styles({label: label for label in panel.lines})
    lines = [
        _draw_rows(
            label, rows, kept_share, styles[label], lambda row: f"{kept_share(row):.0%} kept"
        )
        for label, rows in panel.lines.items()
    ]
    chart = Chart(
        "PSNR against the share of its channels that a skip keeps",
        "share of its channels that the skip keeps",
        "PSNR, dB",
        lines,
        level=panel.whole["psnr_db"] if panel.whole else None,
    )
    return lay_out(chart, NARROW)


def learning_charts(records: Sequence[Record], styles: Styles) -> dict[float, list[dict[str, Any]]]:
    """Return ratio -> how the PSNR rose and the loss fell while rows were trained.

    A record without the values has no line, a chart without lines is left out. The unpruned rows
    are shown at every ratio.
    """
    ratios = dict.fromkeys(record.cell.ratio for record in records if record.cell.ratio < 1)
    charts = {
        ratio: _chart_training(
            [record for record in records if record.cell.ratio in (1.0, ratio)], styles
        )
        for ratio in ratios
    }
    return {ratio: layouts for ratio, layouts in charts.items() if layouts}


def _chart_training(records: Sequence[Record], styles: Styles) -> list[dict[str, Any]]:
    """Return the charts of one ratio."""
    charts = [
        Chart(
            "PSNR on calibration crops during the finish, a line for each row",
            "steps of the finish",
            "PSNR on calibration crops, dB",
            _trace_records(records, styles, _calibration_points),
            has_markers=False,
        ),
        Chart(
            "training loss, all phases one after the other, a line for each row",
            "steps after the shared pretraining",
            "training loss",
            _trace_records(records, styles, _loss_points),
            has_markers=False,
            y_axis=LOGARITHMIC,
        ),
    ]
    return [lay_out(chart, NARROW) for chart in charts if chart.lines]


def _draw_rows(
    label: str,
    rows: Sequence[Row],
    place: Callable[[Row], float],
    style: Mapping[str, Any],
    name_place: Callable[[Row], str],
) -> Line:
    """Return the PSNR of rows as a line.

    Bars are half of the 95 % interval over seeds, for rows of three seeds or more.
    """
    points = [
        Point(place(row), row["psnr_db"], _describe_cell(row), row["psnr_db_half95"] or 0.0)
        for row in rows
    ]
    scores = ", ".join(f"{row['psnr_db']:.2f} dB at {name_place(row)}" for row in reversed(rows))
    return Line(label, rows[0]["method"], f"{label}: {scores}", style, points)


def _describe_cell(row: Row) -> str:
    """Return the text that is shown when hovering over a point."""
    spread = "" if row["psnr_db_half95"] is None else f" ± {row['psnr_db_half95']:.2f}"
    ssim = MISSING if row["ssim"] is None else f"{row['ssim']:.4f}"
    return (
        f"{row['label']}, ratio {row['ratio']:g}: {row['psnr_db']:.2f}{spread} dB, SSIM {ssim}, "
        f"peak {peak_mib(row):.1f} MiB, {row['parameters']:,} parameters, "
        f"{row['steps']:,} steps, {row['seconds']:,.0f} s"
    )


def _trace_records(
    records: Sequence[Record], styles: Styles, find_points: Callable[[Record], list[Point]]
) -> list[Line]:
    """Return the line of each record that has points."""
    traced = [(record, find_points(record)) for record in records]
    return [
        Line(
            record.cell.label,
            record.cell.method,
            f"{record.cell.label}: {points[-1].y:.4g} at the end",
            styles[record.cell.label],
            points,
        )
        for record, points in traced
        if points
    ]


def _calibration_points(record: Record) -> list[Point]:
    return [Point(steps, psnr_db) for steps, psnr_db in record.calibration_psnr]


def _loss_points(record: Record) -> list[Point]:
    """Return the losses of all phases over the steps of all phases; those of 0 are left out."""
    points, before = [], 0.0
    for losses in record.training_losses.values():
        points += [Point(before + steps, loss) for steps, loss in losses if loss > 0]
        before += losses[-1][0] if losses else 0
    return points
