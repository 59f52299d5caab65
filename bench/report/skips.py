"""PSNR against the kept share of each long skip, when it alone is narrowed (Fig. 3b of the paper).

One line per skip, from the rows of the method `one_skip` at the largest ratio that they have. The
dashed line is the network with all its channels, trained as long as the others if the study has
such a row. Over several seeds a point is the mean; from three on, its bar is the 95 % interval of
the mean over seeds.
"""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import ConfigError
from bench.report.captions import section_title
from bench.report.frame import Row, is_reference, section_key
from bench.report.results import RunResults
from bench.report.style import FULL_INCHES, NEUTRAL, draw_line, label_styles, open_figure

ONE_SKIP = "one_skip"
PANEL_INCHES = (FULL_INCHES, 3.2)


class SkipsPanel(NamedTuple):
    """One panel: title, row of the whole network, and the rows of each skip by rising share."""

    title: str
    whole: Row | None
    lines: dict[str, list[Row]]


def draw(results: RunResults, path: Path, *copies: Path) -> Path:
    """Write the figure as png, svg or pdf, by the suffix of each path; return the first path.

    Raises:
        ConfigError: no skip was narrowed alone.
    """
    panels = build_panels(results)
    if not panels:
        raise ConfigError(
            "no finished record narrows one skip alone, so there is nothing to draw; "
            "run the study 'skips' first"
        )
    with open_figure((path, *copies), (PANEL_INCHES[0], PANEL_INCHES[1] * len(panels))) as figure:
        all_axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for axes, panel in zip(all_axes, panels, strict=True):
            for label, style in label_styles({label: label for label in panel.lines}).items():
                rows = panel.lines[label]
                draw_line(axes, label, [kept_share(row) for row in rows], rows, style)
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
    return path


def build_panels(results: RunResults) -> list[SkipsPanel]:
    """Return a panel for each section in which a skip was narrowed alone."""
    panels = []
    for _, section in groupby(results.rows, key=section_key):
        done = [row for row in section if row["psnr_db"] is not None]
        probes = [
            row for row in done if row["method"] == ONE_SKIP and _is_probe(row["method_options"])
        ]
        if not probes:
            continue
        largest_ratio = max(row["ratio"] for row in probes)
        probes = sorted((row for row in probes if row["ratio"] == largest_ratio), key=kept_share)
        whole = [row for row in done if is_reference(row)]
        skips = sorted({row["method_options"]["skip"] for row in probes})
        panels.append(
            SkipsPanel(
                section_title(probes[0]),
                max(whole, key=lambda row: row["steps"] or 0, default=None),
                {
                    f"skip {skip}": [row for row in probes if row["method_options"]["skip"] == skip]
                    for skip in skips
                },
            )
        )
    return panels


def _is_probe(options: Mapping[str, Any]) -> bool:
    """Return whether the options `skip` and `keep` are numbers, as those of `one_skip` are."""
    return isinstance(options.get("skip"), int) and isinstance(options.get("keep"), float | int)


def kept_share(row: Row) -> float:
    """Return the share of its channels that the skip of a row keeps."""
    return float(row["method_options"]["keep"])
