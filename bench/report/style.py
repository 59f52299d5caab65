"""How figures look: one colour and one marker per label, told apart by people who see colours differently and in print.

Colours are seaborn's "colorblind" palette, in the order of the labels; beyond its ten the line
style changes as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 200
ENDINGS = (".png", ".svg", ".pdf")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
LINES = ("-", "--", "-.", ":")
NEUTRAL = "0.35"  # grey, for what is not a method: the unpruned network, budgets
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


def styles(labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Line properties of each label: colour, marker, line style."""
    import seaborn

    palette = seaborn.color_palette("colorblind")
    looks = {}
    for place, label in enumerate(labels):
        line = LINES[place // len(palette) % len(LINES)]
        looks[label] = {
            "color": palette[place % len(palette)],
            "marker": MARKERS[place % len(MARKERS)],
            "linestyle": line,
        }
    return looks


def line(
    axes: "Axes",
    label: str,
    x: Sequence[float],
    points: Sequence[Mapping[str, Any]],
    look: Mapping[str, Any],
) -> None:
    """PSNR of rows at places `x`, with half of the 95 % interval over seeds as bars where there are several."""
    y, bars = [row["psnr_db"] for row in points], [row["psnr_db_half95"] or 0.0 for row in points]
    if any(bars):
        axes.errorbar(x, y, yerr=bars, fmt="none", ecolor=look["color"], capsize=3, elinewidth=1.1)
    axes.plot(x, y, label=label, markeredgecolor="white", markeredgewidth=0.6, **look)


@contextmanager
def drawn(
    path: Path,
    inches: tuple[float, float],
    dots_per_inch: int = DOTS_PER_INCH,
    look: Mapping[str, Any] | None = None,
) -> "Iterator[Figure]":
    """A figure to draw on, in our look, that is written at the end.

    It is its own, without pyplot: no global state is touched.

    Args:
        path: its ending chooses the format.
        inches: width and height.
        look: what differs from RC.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(rc=RC | dict(look or {})):
        figure = Figure(figsize=inches, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        dated = {
            ".svg": {"Date": None},
            ".pdf": {"CreationDate": None},
        }  # without a date inside, equal figures give equal files
        content = BytesIO()
        figure.savefig(
            content,
            format=path.suffix[1:] or None,
            dpi=dots_per_inch,
            metadata=dated.get(path.suffix.lower()),
        )
        atomic.write(path, content.getvalue())
