"""The table of a comparison of each row with one row, by seed and scene."""

from collections.abc import Sequence

from bench.errors import ConfigError, describe_unknown
from bench.report.captions import VERDICT, describe_test, format_verdict
from bench.report.comparison import compare_with_reference
from bench.report.frame import Row
from bench.report.results import RunResults
from bench.report.table import (
    MISSING,
    Markup,
    TableLayout,
    format_mean,
    render_rows,
)

HEADERS = (
    "label",
    "ratio",
    "PSNR dB",
    "difference dB",
    "95 % interval",
    "photographs",
    "scenes",
    "seeds",
    "p, Holm",
    "verdict",
)


def render_reference_comparison(
    results: RunResults, reference: str, table_format: str = "md"
) -> str:
    """Return the table of a comparison with one row, without a newline at its end.

    Args:
        results: of the run.
        reference: label of the row that all others are compared with.
        table_format: "md", "csv", "tex" or "json".

    Raises:
        ConfigError: the label or the format is unknown.
    """
    labels = dict.fromkeys(row["label"] for row in results.rows)
    if reference not in labels:
        raise ConfigError(describe_unknown("row", reference, labels))
    rows = compare_with_reference(reference, results.rows, results.records)
    layout = TableLayout(HEADERS, _format_row, lambda section: _caption(reference))
    return render_rows(rows, table_format, layout)


def _format_row(_: Sequence[Row], row: Row, markup: Markup) -> list[str]:
    """Format the cells of one row, in the order of HEADERS."""
    compared = row["difference_db"] is not None
    return [
        markup.escape(row["label"]),
        f"{row['ratio']:g}",
        format_mean(row, "psnr_db", ".2f", markup),
        format_mean(row, "difference_db", "+.2f", markup),
        "{:+.2f} to {:+.2f}".format(*row["interval_db"]) if row["interval_db"] else MISSING,
        *(
            str(row[name]) if compared else MISSING
            for name in ("photographs", "scenes", "paired_seeds")
        ),
        MISSING if row["p_value"] is None else f"{row['p_value']:.2g}",
        markup.escape(format_verdict(row)),
    ]


def _caption(reference: str) -> list[str]:
    return [
        f"Difference: PSNR minus that of '{reference}', mean over the scenes and seeds that both "
        "rows have, from three seeds on with half of its 95 % interval over seeds, which holds for "
        "these photographs and normal values",
        describe_test(),
        f"Verdict: {VERDICT}",
    ]
