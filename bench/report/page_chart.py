"""Line charts of the page: positions in pixels, from which `page_chart.html` writes SVG.

Each line has its name beside its right end, joined to it. A chart is laid out for one width, so
that its text has the same size on a desk screen and on a phone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bench.report.axes import LINEAR, Axis
from bench.report.captions import shorten_label
from bench.report.frame import MAIN_METHOD
from bench.report.statistics import spread_apart
from bench.report.style import METHOD_STYLES

WIDE, NARROW = 720, 380  # pixels
MIN_HEIGHT, NAME_HEIGHT = 440, 15  # pixels
LEFT, TOP, BOTTOM = 52, 22, 46  # pixels around the axes
CHARACTER, BOLD = 6.7, 7.6  # pixels of a character of a name, and of a bold one
NAMES_SHARE = 0.44  # of the width, at most
MARKER = 9  # pixels: its size
UNPRUNED_MARKER = "*"  # the others are those of methods
KEY = 16  # pixels: room for the marker before a name
TICK = 48  # pixels: room for the text of a tick
MARGIN = 0.05  # around the points, as a share of their range
DASHES = {"-": "none", "--": "6 3", "-.": "7 3 1.5 3", ":": "1.5 2.5"}


class Point(NamedTuple):
    """One point: its place, what is said when hovering, and half of its interval along y."""

    x: float
    y: float
    text: str = ""
    half: float = 0.0


@dataclass(frozen=True)
class Line:
    """One row of the table as a line, with its style of `bench.report.style.label_styles`."""

    label: str
    method: str
    text: str
    style: Mapping[str, Any]
    points: Sequence[Point]


@dataclass(frozen=True)
class Chart:
    """What a chart shows.

    Args:
        title: said by screen readers.
        x_title, y_title: of the axes.
        lines: at least one, each with a point.
        has_markers: whether points are marked.
        y_axis: on which y stands; intervals are cut at its ends.
        columns: x of dotted lines -> the text above them.
        level: y of a dashed line.
        front: (x, y) of the pale line.
    """

    title: str
    x_title: str
    y_title: str
    lines: Sequence[Line]
    has_markers: bool = True
    y_axis: Axis = LINEAR
    columns: Mapping[float, str] = field(default_factory=dict)
    level: float | None = None
    front: Sequence[tuple[float, float]] = ()


class Scale(NamedTuple):
    """Maps positions from `low` to `high` to pixels; `axis` gives the position of a value."""

    low: float
    high: float
    start: float
    end: float
    axis: Axis = LINEAR

    def place(self, value: float) -> float:
        """Return the pixel of a value; one beyond an end has that of the end."""
        share = (self.axis.position(value) - self.low) / (self.high - self.low)
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Return pixel and text of round values."""
        low, high = self.axis.value(self.low), self.axis.value(self.high)
        count = min(6, int(abs(self.end - self.start) / TICK))
        values = self.axis.ticks(low, high, count)
        return [(self.place(value), f"{value:g}") for value in values if low <= value <= high]


def lay_out(chart: Chart, width: int) -> dict[str, Any]:
    """Return the variables of `page_chart.html` for a chart of so many pixels.

    Its height follows from the number of names.
    """
    labels = [line.label for line in chart.lines]
    names = min(NAMES_SHARE * width, KEY + 12 + BOLD * max(map(len, labels)))
    height = max(MIN_HEIGHT, TOP + BOTTOM + NAME_HEIGHT * len(labels))
    right, bottom = width - names, height - BOTTOM
    points = [point for line in chart.lines for point in line.points]
    x_scale = _fit_scale([0.0, *(point.x for point in points), *chart.columns], LEFT, right)
    y_values = [point.y for point in points] + ([] if chart.level is None else [chart.level])
    y_scale = _fit_scale(y_values, bottom, TOP, chart.y_axis)
    ends = [y_scale.place(line.points[-1].y) for line in chart.lines]
    shares = spread_apart([(end - TOP) / (bottom - TOP) for end in ends], _gap(bottom))
    return {
        "chart": chart,
        "width": width,
        "height": height,
        "left": LEFT,
        "right": round(right, 1),
        "top": TOP,
        "bottom": bottom,
        "x_ticks": x_scale.ticks(),
        "y_ticks": y_scale.ticks(),
        "columns": [(x_scale.place(x), text) for x, text in chart.columns.items()],
        "level": None if chart.level is None else y_scale.place(chart.level),
        "front": _join((x_scale.place(x), y_scale.place(y)) for x, y in chart.front),
        "lines": [
            _lay_out_line(line, x_scale, y_scale, TOP + share * (bottom - TOP), names)
            for line, share in zip(chart.lines, shares, strict=True)
        ],
    }


def marker_paths() -> dict[str, str]:
    """Return the id of each marker in the page -> its outline as an SVG path around (0, 0)."""
    from matplotlib.markers import MarkerStyle

    paths = {}
    for marker in (UNPRUNED_MARKER, *(marker for _, marker in METHOD_STYLES.values())):
        style = MarkerStyle(marker)
        outline: Any = style.get_path().transformed(style.get_transform())
        paths[marker_id(marker)] = "".join(
            _join((round(MARKER * x, 1), round(-MARKER * y, 1)) for x, y in polygon) + "Z"
            for polygon in outline.to_polygons()
        )
    return paths


def marker_id(marker: str) -> str:
    """Return the id of a marker of matplotlib in the page."""
    return f"marker{ord(marker)}"


def _gap(bottom: float) -> float:
    """Return the height of a name as a share of the axes."""
    return NAME_HEIGHT / (bottom - TOP)


def _fit_scale(values: Iterable[float], start: float, end: float, axis: Axis = LINEAR) -> Scale:
    """Return a scale on which all values have room."""
    positions = [axis.position(value) for value in values]
    low, high = min(positions), max(positions)
    room = MARGIN * ((high - low) or 1)
    return Scale(low - room * (low != 0), high + room, start, end, axis)


def _lay_out_line(
    line: Line, x_scale: Scale, y_scale: Scale, name_y: float, names: float
) -> dict[str, Any]:
    """Return the variables of one line."""
    points: list[dict[str, Any]] = [
        {
            "x": x_scale.place(point.x),
            "y": y_scale.place(point.y),
            "text": point.text,
            "bar": (y_scale.place(point.y - point.half), y_scale.place(point.y + point.half))
            if point.half
            else None,
        }
        for point in line.points
    ]
    is_main = line.method == MAIN_METHOD
    most = int((names - KEY - 6) / (BOLD if is_main else CHARACTER))
    return {
        "label": line.label,
        "name": shorten_label(line.label, most),
        "text": line.text,
        "is_main": is_main,
        "colour": line.style["color"],
        "dash": DASHES[line.style["linestyle"]],
        "width": round(1.4 * line.style["linewidth"], 1),
        "marker": marker_id(line.style["marker"]),
        "path": _join((point["x"], point["y"]) for point in points),
        "points": points,
        "name_y": round(name_y, 1),
    }


def _join(points: Iterable[tuple[float, float]]) -> str:
    """Return the SVG path through points; "" without any."""
    text = "L".join(f"{x:g} {y:g}" for x, y in points)
    return f"M{text}" if text else ""
