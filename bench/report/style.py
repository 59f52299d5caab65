"""The style of figures: one colour and one marker per method, in every figure of every study.

People with other colour vision and prints in grey tell methods apart by the marker. Rows of one
method differ by dash and shade. Methods of plugins take theirs from a reserve, by their names. The
method that the others are compared with, MOSP, is drawn thicker and on top.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from bench.files import atomic
from bench.files.hashing import digest
from bench.records import UNPRUNED
from bench.report.frame import MAIN_METHOD, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 220
SUFFIXES = (".png", ".svg", ".pdf")
# Method -> colour and marker. They stay as they are: figures of different studies are compared.
METHOD_STYLES = {
    MAIN_METHOD: ("#cc3311", "o"),
    "uniform": ("#332288", "s"),
    "global_l2": ("#117733", "^"),
    "group_lasso": ("#3d9fd3", "D"),
    "s_net": ("#aa4499", "v"),
    "us_net": ("#7a1f4f", "P"),
    "autoslim": ("#e0809a", "X"),
    "random_search": ("#999933", "<"),
    "dhp": ("#1fa38f", ">"),
    "assl": ("#dd9922", "p"),
}
BASE_ORDER = 2.5  # of lines, from back to front
LINE_STYLES = ("-", "--", "-.", ":")
SHADES = (0.0, 0.35, -0.3)  # of the rows of a method; above 0 mixed with white, below with black
NEUTRAL = "#595959"  # grey, for everything that is not a method: the unpruned network, budgets
COLUMN_INCHES, FULL_INCHES = 3.25, 6.75  # widths of a column and of a page of a paper
FONT_POINTS = 8  # at these widths
CHARACTERS_PER_INCH = 15  # of a title
RC: Any = {
    "font.size": FONT_POINTS,
    "axes.labelsize": FONT_POINTS,
    "axes.titlesize": FONT_POINTS,
    "legend.fontsize": FONT_POINTS,
    "xtick.labelsize": FONT_POINTS,
    "ytick.labelsize": FONT_POINTS,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.w_pad": 0.1,  # inches
    "axes.grid": True,
    "grid.color": "0.9",
    "axes.axisbelow": True,
    "lines.linewidth": 1.2,
    "lines.markersize": 5,
    "text.parse_math": False,  # a $ in a label is a $
    "svg.fonttype": "none",
    "svg.hashsalt": "prunebench",
    "figure.dpi": 100,
}
# Without a date inside, equal figures give equal files.
UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def label_styles(methods: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the line properties of each label: colour, marker, line style, width and order.

    Args:
        methods: label -> method, of all rows of a run, so that every figure has the same.
    """
    styles = METHOD_STYLES | _reserve_styles(set(methods.values()))
    seen: dict[str, int] = {}
    result = {}
    for label, method in methods.items():
        variant = seen[method] = seen.get(method, -1) + 1
        colour, marker = styles[method]
        is_main = method == MAIN_METHOD
        result[label] = {
            "color": _shade(colour, SHADES[variant % len(SHADES)]),
            "marker": marker,
            "linestyle": LINE_STYLES[variant % len(LINE_STYLES)],
            "linewidth": 2.2 if is_main else 1.1,
            "zorder": BASE_ORDER + is_main,
        }
    return result


def _reserve_styles(methods: set[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a marker for each method that has no fixed ones.

    The name decides where the search for a free pair begins, so that a method has the same pair in
    other studies too, unless another one took it.
    """
    colours, markers = zip(*METHOD_STYLES.values(), strict=True)
    count = len(colours)
    reserve = [
        (colours[index], markers[(index + shift) % count])
        for shift in range(1, count)
        for index in range(count)
    ]
    taken: dict[str, tuple[str, str]] = {UNPRUNED: (NEUTRAL, "*")}
    for method in sorted(methods - METHOD_STYLES.keys() - {UNPRUNED}):
        start = int(digest(method)[:8], 16) % len(reserve)
        free = (pair for pair in reserve[start:] + reserve[:start] if pair not in taken.values())
        taken[method] = next(free, reserve[start])
    return taken


def _shade(colour: str, amount: float) -> str:
    """Return "#rrggbb" mixed with white (amount above 0) or black (below)."""
    target = 255 if amount > 0 else 0
    parts = (int(colour[index : index + 2], 16) for index in (1, 3, 5))
    mixed = (round(part + (target - part) * abs(amount)) for part in parts)
    return "#" + "".join(f"{part:02x}" for part in mixed)


def draw_line(
    axes: "Axes", label: str, x: Sequence[float], rows: Sequence[Row], style: Mapping[str, Any]
) -> None:
    """Draw the PSNR of rows at positions `x`.

    Bars are half of the 95 % interval over seeds, for rows of three seeds or more.
    """
    y = [row["psnr_db"] for row in rows]
    bars = [row["psnr_db_half95"] or 0.0 for row in rows]
    if any(bars):
        axes.errorbar(x, y, yerr=bars, fmt="none", ecolor=style["color"], capsize=2, elinewidth=0.8)
    axes.plot(x, y, label=label, markeredgecolor="white", markeredgewidth=0.5, **style)


def wrap_title(*texts: str, inches: float) -> str:
    """Return a title, each text on lines of its own that fit a width."""
    return "\n".join(fill(text, int(inches * CHARACTERS_PER_INCH)) for text in texts)


@contextmanager
def open_figure(
    paths: Sequence[Path],
    inches: tuple[float, float],
    dots_per_inch: int = DOTS_PER_INCH,
    rc: Mapping[str, Any] | None = None,
) -> "Iterator[Figure]":
    """Yield a figure to draw on, and write it at the end.

    It is made without pyplot, so that no global state changes. It is laid out once for all formats.

    Args:
        paths: of the files; their suffixes choose the formats.
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
        for path in paths:
            content = BytesIO()
            figure.savefig(
                content,
                format=path.suffix[1:] or None,
                dpi=dots_per_inch,
                metadata=UNDATED.get(path.suffix.lower()),
            )
            figure.set_layout_engine("none")
            atomic.write(path, content.getvalue())
