"""Quality against the share of its channels that each long skip keeps, when it alone is narrowed (Fig. 3b of the MOSP paper).

One line per skip, from the rows of the method `one_skip` at the largest ratio that they have; the
dashed line is the network with all its channels, trained as long where the study has such a row.
With several seeds a point is the mean and its bar the 95 % interval.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import ConfigError
from bench.records import UNPRUNED, Record
from bench.report.frame import rows, section
from bench.report.style import NEUTRAL, drawn, line, styles
from bench.report.table import Row, title

PROBE = "one_skip"
PANEL_INCHES = (7.0, 4.2)


class Panel(NamedTuple):
    """What is drawn of a section: its title, the row of the whole network, and of each skip its rows by rising share."""

    title: str
    whole: Row | None
    lines: dict[str, list[Row]]


def draw(records: Sequence[Record], path: Path | str) -> Path:
    """Writes the figure; the ending of `path` chooses the format (png, svg, pdf). Returns the path.

    Raises:
        ConfigError: no skip was narrowed alone.
    """
    found = panels(records)
    if not found:
        raise ConfigError(
            "no finished record narrows one skip alone, so there is nothing to draw; run the study 'skips' first"
        )
    with drawn(Path(path), (PANEL_INCHES[0], PANEL_INCHES[1] * len(found))) as figure:
        for axes, panel in zip(
            figure.subplots(len(found), 1, squeeze=False)[:, 0], found, strict=True
        ):
            for label, look in styles(list(panel.lines)).items():
                line(
                    axes,
                    label,
                    [share(row) for row in panel.lines[label]],
                    panel.lines[label],
                    look,
                )
            if panel.whole is not None:
                axes.axhline(
                    panel.whole["psnr_db"],
                    color=NEUTRAL,
                    linestyle="--",
                    linewidth=1,
                    label=panel.whole["label"],
                )
            axes.set_title(panel.title, loc="left")
            axes.set_xlabel("share of its channels that the skip keeps")
            axes.set_ylabel("PSNR, dB")
            axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return Path(path)


def panels(records: Sequence[Record]) -> list[Panel]:
    """The sections in which a skip was narrowed alone."""
    result = []
    for _, group in groupby(rows(records), key=section):
        done = [row for row in group if row["psnr_db"] is not None]
        probed = [
            row for row in done if row["method"] == PROBE and _names_a_skip(row["method_options"])
        ]
        probed = sorted(
            (row for row in probed if row["ratio"] == max(other["ratio"] for other in probed)),
            key=share,
        )
        whole = [row for row in done if row["method"] == UNPRUNED]
        skips = sorted({row["method_options"]["skip"] for row in probed})
        lines: dict[str, list[Row]] = {
            f"skip {skip}": [row for row in probed if row["method_options"]["skip"] == skip]
            for skip in skips
        }
        if lines:
            result.append(
                Panel(
                    title(probed[0]),
                    max(whole, key=lambda row: row["steps"] or 0, default=None),
                    lines,
                )
            )
    return result


def _names_a_skip(options: Mapping[str, Any]) -> bool:
    """Whether the options of a record are those of this method."""
    return isinstance(options.get("skip"), int) and isinstance(options.get("keep"), float | int)


def share(row: Row) -> float:
    """The share of its channels that the skip keeps."""
    return float(row["method_options"]["keep"])
