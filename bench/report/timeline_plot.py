"""A memory profile as a picture: what is alive at each time step, stacked, so that a value that waits is seen as a band.

The longer a value lives, the lower it lies: a band stays level while short-lived values come and go
on top of it. What is alive at the peak and the longest bands have colours and a place in the
legend, all others are grey. Drawn without pyplot, so that no global state is touched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import ConfigError
from bench.memory.profile import MemoryProfile
from bench.report.style import ENDINGS, NEUTRAL, drawn
from bench.units import format_mib, format_shape, mib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES = (9.6, 4.3)
DOTS_PER_INCH = 140  # large areas of one colour, which stay sharp, in a small file
LETTERS = 26  # of a name; the end of a path says more than its beginning
NAMED_STEPS = 48  # with more, names of operators below the axis cannot be read
WAITING_STEPS, WAITING_SHARE = (
    4,
    0.05,
)  # a value that is alive for so many steps, and for this share of all, is a band
COLOURED_AT_PEAK, COLOURED_WAITING = 5, 4
GREYS = ("0.82", "0.89")
SOFTNESS = 0.2  # how far a colour is moved towards white


@dataclass(frozen=True)
class Band:
    """One live value: its bytes, the steps at which it is alive, and the bytes that lie below it at each of them."""

    name: str
    size_bytes: int
    first: int
    below: tuple[int, ...]

    @property
    def area(self) -> int:
        """Bytes times steps."""
        return self.size_bytes * len(self.below)


def check_ending(path: Path) -> None:
    """Raises ConfigError if a picture cannot be written under that name."""
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(
            f"{path} cannot be drawn: the ending chooses the format, one of {', '.join(ENDINGS)}"
        )
    if not path.parent.is_dir():
        raise ConfigError(f"{path} cannot be drawn: there is no folder {path.parent}")


def draw(name: str, measured: MemoryProfile, path: Path) -> Path:
    """Writes the timeline of a network as .png, .svg or .pdf. Returns the path.

    Args:
        name: of the network.
        measured: its profile.
        path: its ending chooses the format.

    Raises:
        ConfigError: another ending.
    """
    check_ending(path)
    with drawn(path, INCHES, DOTS_PER_INCH) as figure:
        panel(
            figure.subplots(),
            f"{Path(name).name} at {format_shape(measured.shape)}, convention {measured.convention}",
            measured,
        )
    return path


def panel(
    axes: "Axes", title: str, measured: MemoryProfile, highest_bytes: int | None = None
) -> None:
    """One profile on axes; `highest_bytes` is the top of the scale where several must be compared."""
    stacked = bands(measured)
    colours = _colours(stacked, measured)
    for band in stacked:
        _fill(axes, band, colours.get(band.name, GREYS[band.first % 2]), len(measured.timeline))
    _outline(axes, measured)
    _dress(axes, title, measured, highest_bytes or measured.peak.bytes)
    _legend(axes, stacked, colours, measured)


def bands(measured: MemoryProfile) -> list[Band]:
    """All live values, from the one that lives longest, and lies lowest, to the one that lives shortest."""
    lives: dict[str, list[int]] = {}
    for step in measured.timeline:
        for name in step.live:
            lives.setdefault(name, []).append(step.step)
    height = [0] * len(measured.timeline)
    found = []
    for name, places in sorted(lives.items(), key=lambda item: -len(item[1])):
        size = measured.timeline[places[0]].live[name]
        found.append(Band(name, size, places[0], tuple(height[place] for place in places)))
        for place in places:
            height[place] += size
    return found


def _colours(stacked: Sequence[Band], measured: MemoryProfile) -> dict[str, Any]:
    """Colours of the largest values at the peak and of the largest that wait elsewhere, in the order of the stack."""
    import seaborn

    at_peak = [band for band in stacked if band.name in measured.peak.live]
    long = max(WAITING_STEPS, WAITING_SHARE * len(measured.timeline))
    waiting = [
        band for band in stacked if band.name not in measured.peak.live and len(band.below) >= long
    ]
    chosen = sorted(at_peak, key=lambda band: -band.size_bytes)[:COLOURED_AT_PEAK]
    chosen += sorted(waiting, key=lambda band: -band.area)[:COLOURED_WAITING]
    vivid = [
        colour for colour in seaborn.color_palette("colorblind") if len(set(colour)) > 1
    ]  # grey is taken
    palette = [tuple(part + SOFTNESS * (1 - part) for part in colour) for colour in vivid]
    return dict(zip([band.name for band in stacked if band in chosen], palette, strict=False))


def _fill(axes: "Axes", band: Band, colour: Any, steps: int) -> None:
    edges = [band.first - 0.5 + place for place in range(len(band.below) + 1)]
    low = [mib(below) for below in band.below]
    high = [mib(below + band.size_bytes) for below in band.below]
    axes.stairs(
        high,
        edges,
        baseline=low,
        fill=True,
        facecolor=colour,
        edgecolor="white",
        linewidth=0.6 if steps <= NAMED_STEPS else 0.2,
    )


def _outline(axes: "Axes", measured: MemoryProfile) -> None:
    """The sum of all bytes, and the peak with its name."""
    total, peak = [mib(step.bytes) for step in measured.timeline], measured.peak
    width = 1.1 if len(total) <= NAMED_STEPS else 0.6
    axes.stairs(
        total,
        [step - 0.5 for step in range(len(total) + 1)],
        baseline=None,
        color="0.25",
        linewidth=width,
    )
    axes.axhline(mib(peak.bytes), color=NEUTRAL, linestyle="--", linewidth=0.9, zorder=1)
    side = "left" if peak.step < len(total) / 2 else "right"
    place: Any = {"xy": (peak.step, mib(peak.bytes)), "textcoords": "offset points", "color": "0.1"}
    axes.annotate("\N{BLACK DOWN-POINTING TRIANGLE}", xytext=(0, 2), ha="center", **place)
    equal = sum(step.bytes == peak.bytes for step in measured.timeline)
    words = f"peak {format_mib(peak.bytes)} in {peak.op}" + (
        f", the first of {equal} equal ones" if equal > 1 else ""
    )
    axes.annotate(words, xytext=(9 if side == "left" else -9, 3), ha=side, weight="bold", **place)


def _dress(axes: "Axes", title: str, measured: MemoryProfile, highest_bytes: int) -> None:
    """Title, axis labels, and the operators' names where there is room."""
    steps = measured.timeline
    axes.set_title(title, loc="left")
    axes.set_ylabel("alive, MiB")
    axes.set_xlim(-0.5, len(steps) - 0.5)
    axes.set_ylim(0, 1.12 * mib(highest_bytes))
    axes.grid(visible=False, axis="x")
    if len(steps) <= NAMED_STEPS:
        axes.set_xticks(
            range(len(steps)), [_short(step.op) for step in steps], rotation=90, fontsize=7.5
        )
        axes.get_xticklabels()[measured.peak.step].set_fontweight("bold")
        axes.tick_params(axis="x", length=0)
    else:
        axes.set_xlabel("time step")


def _legend(
    axes: "Axes", stacked: Sequence[Band], colours: Mapping[str, Any], measured: MemoryProfile
) -> None:
    """Outside, in the order of the stack: above what is alive at the peak, below what waits at other times, and the rest."""
    from matplotlib.patches import Patch

    def patches(at_peak: bool) -> list[Patch]:
        named = [
            band
            for band in reversed(stacked)
            if band.name in colours and (band.name in measured.peak.live) is at_peak
        ]
        return [
            Patch(
                facecolor=colours[band.name],
                label=f"{_short(band.name)}  {format_mib(band.size_bytes)}",
            )
            for band in named
        ]

    look: Any = {
        "frameon": False,
        "fontsize": 8.5,
        "title_fontsize": 8.5,
        "alignment": "left",
        "borderaxespad": 0,
    }
    above = axes.legend(
        handles=patches(True),
        title="alive at the peak",
        loc="upper left",
        bbox_to_anchor=(1.02, 1),
        **look,
    )
    axes.add_artist(above).set_clip_on(False)  # what is clipped gets no room in the layout
    waiting, rest = (
        patches(False),
        [Patch(facecolor=GREYS[0], label="all others")] if len(colours) < len(stacked) else [],
    )
    if waiting or rest:
        title = "waiting at other times" if waiting else None
        axes.legend(
            handles=waiting + rest, title=title, loc="lower left", bbox_to_anchor=(1.02, 0), **look
        )


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"\N{HORIZONTAL ELLIPSIS}{name[1 - LETTERS :]}"
