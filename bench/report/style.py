"""The style of figures: colours, markers and lines that can be told apart.

Each label has one colour and one marker, which people with other colour vision and prints in grey
can tell apart. Colours are seaborn's "colorblind" palette, in the order of the labels; after its
ten colours the line style changes as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.files import atomic
from bench.report.frame import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 200
SUFFIXES = (".png", ".svg", ".pdf")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
LINE_STYLES = ("-", "--", "-.", ":")
NEUTRAL = "0.35"  # grey, for everything that is not a method: the unpruned network, budgets
RC: Any = {
    "font.size": 9.5,
    "axes.labelsize": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "lines.markersize": 7,
    "text.parse_math": False,  # a $ in a label is a $
    "svg.fonttype": "none",
    "svg.hashsalt": "prunebench",
    "figure.dpi": 100,
}
# Without a date inside, equal figures give equal files.
UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def label_styles(labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the line properties of each label: colour, marker and line style."""
    import seaborn

    palette = seaborn.color_palette("colorblind")
    return {
        label: {
            "color": palette[index % len(palette)],
            "marker": MARKERS[index % len(MARKERS)],
            "linestyle": LINE_STYLES[index // len(palette) % len(LINE_STYLES)],
        }
        for index, label in enumerate(labels)
    }


def draw_line(
    axes: "Axes", label: str, x: Sequence[float], rows: Sequence[Row], style: Mapping[str, Any]
) -> None:
    """Draw the PSNR of rows at positions `x`.

    Bars are half of the 95 % interval over seeds, for rows of three seeds or more.
    """
    y = [row["psnr_db"] for row in rows]
    bars = [row["psnr_db_half95"] or 0.0 for row in rows]
    if any(bars):
        axes.errorbar(x, y, yerr=bars, fmt="none", ecolor=style["color"], capsize=3, elinewidth=1.1)
    axes.plot(x, y, label=label, markeredgecolor="white", markeredgewidth=0.6, **style)


@contextmanager
def open_figure(
    path: Path,
    inches: tuple[float, float],
    dots_per_inch: int = DOTS_PER_INCH,
    rc: Mapping[str, Any] | None = None,
) -> "Iterator[Figure]":
    """Yield a figure to draw on, and write it at the end.

    It is made without pyplot, so that no global state changes.

    Args:
        path: its suffix chooses the format.
        inches: width and height.
        dots_per_inch: of a png.
        rc: settings of matplotlib that differ from RC.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(rc=RC | dict(rc or {})):
        figure = Figure(figsize=inches, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        content = BytesIO()
        figure.savefig(
            content,
            format=path.suffix[1:] or None,
            dpi=dots_per_inch,
            metadata=UNDATED.get(path.suffix.lower()),
        )
        atomic.write(path, content.getvalue())
