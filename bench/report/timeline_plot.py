"""A memory profile as a picture: the live values at each time step, stacked.

A value that waits appears as a level band: the longer a value lives, the lower it lies, so that
short-lived values are drawn on top of it. The values at the peak and the largest that wait
elsewhere have colours and are named in the legend; all others are grey. Drawn without pyplot, so
that no global state changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import ConfigError
from bench.memory.timeline import MemoryProfile
from bench.report.style import FULL_INCHES, NEUTRAL, SUFFIXES, open_figure
from bench.units import format_mib, format_shape, mib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

INCHES = (FULL_INCHES, 3.3)
DOTS_PER_INCH = 180  # enough for large areas of one colour, and small files
MAX_NAME_LENGTH = 26  # characters; the end of a path says more than its beginning
MAX_NAMED_STEPS = 48  # with more steps, names of operators below the axis cannot be read
# A value waits if it is alive for at least WAITING_STEPS steps and WAITING_SHARE of all steps.
WAITING_STEPS, WAITING_SHARE = 4, 0.05
COLOURED_AT_PEAK, COLOURED_WAITING = 5, 4  # numbers of values
GREYS = ("0.82", "0.89")
SOFTNESS = 0.2  # share by which a colour is moved towards white


@dataclass(frozen=True)
class Band:
    """One live value.

    Args:
        name: of the value.
        size_bytes: of the value.
        first: time step from which it is alive.
        below: bytes that lie below it, at each time step of its life.
    """

    name: str
    size_bytes: int
    first: int
    below: tuple[int, ...]

    @property
    def area(self) -> int:
        """Bytes times steps."""
        return self.size_bytes * len(self.below)


def check_suffix(path: Path) -> None:
    """Raise ConfigError if a picture cannot be written to a path."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"{path} cannot be drawn: the ending chooses the format, one of {', '.join(SUFFIXES)}"
        )
    if not path.parent.is_dir():
        raise ConfigError(f"{path} cannot be drawn: there is no folder {path.parent}")


def draw_timeline(name: str, profile: MemoryProfile, path: Path) -> Path:
    """Write the timeline of a network as png, svg or pdf, by the suffix of `path`.

    Args:
        name: of the network.
        profile: of the network.
        path: of the file.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is unknown or the folder does not exist.
    """
    check_suffix(path)
    shape = format_shape(profile.shape)
    title = f"{Path(name).name} at {shape}, convention {profile.convention}"
    with open_figure((path,), INCHES, DOTS_PER_INCH) as figure:
        draw_panel(figure.subplots(), title, profile)
    return path


def draw_panel(
    axes: "Axes", title: str, profile: MemoryProfile, scale_bytes: int | None = None
) -> None:
    """Draw one profile on axes.

    Args:
        axes: to draw on.
        title: of the axes.
        profile: of a network.
        scale_bytes: the top of the scale, if several panels are compared; by default the peak.
    """
    bands = stack_bands(profile)
    colours = _choose_colours(bands, profile)
    for band in bands:
        colour = colours.get(band.name, GREYS[band.first % 2])
        _draw_band(axes, band, colour, len(profile.timeline))
    _draw_outline(axes, profile)
    _label_axes(axes, title, profile, scale_bytes or profile.peak.bytes)
    _add_legend(axes, bands, colours, profile)


def stack_bands(profile: MemoryProfile) -> list[Band]:
    """Stack all live values, the longest-lived at the bottom."""
    lives: dict[str, list[int]] = {}
    for step in profile.timeline:
        for name in step.live:
            lives.setdefault(name, []).append(step.step)
    heights = [0] * len(profile.timeline)
    bands = []
    for name, numbers in sorted(lives.items(), key=lambda item: -len(item[1])):
        size = profile.timeline[numbers[0]].live[name]
        below = tuple(heights[number] for number in numbers)
        bands.append(Band(name, size, numbers[0], below))
        for number in numbers:
            heights[number] += size
    return bands


def _choose_colours(bands: Sequence[Band], profile: MemoryProfile) -> dict[str, Any]:
    """Return the colours of the largest values at the peak and of the largest that wait elsewhere.

    The colours follow the order of the stack.
    """
    import seaborn

    at_peak = [band for band in bands if band.name in profile.peak.live]
    min_steps = max(WAITING_STEPS, WAITING_SHARE * len(profile.timeline))
    waiting = [
        band
        for band in bands
        if band.name not in profile.peak.live and len(band.below) >= min_steps
    ]
    coloured = sorted(at_peak, key=lambda band: -band.size_bytes)[:COLOURED_AT_PEAK]
    coloured += sorted(waiting, key=lambda band: -band.area)[:COLOURED_WAITING]
    # Grey is for all other values.
    vivid = [colour for colour in seaborn.color_palette("colorblind") if len(set(colour)) > 1]
    palette = [tuple(part + SOFTNESS * (1 - part) for part in colour) for colour in vivid]
    return dict(zip([band.name for band in bands if band in coloured], palette, strict=False))


def _draw_band(axes: "Axes", band: Band, colour: Any, steps: int) -> None:
    axes.stairs(
        [mib(below + band.size_bytes) for below in band.below],
        [band.first - 0.5 + step for step in range(len(band.below) + 1)],
        baseline=[mib(below) for below in band.below],
        fill=True,
        facecolor=colour,
        edgecolor="white",
        linewidth=0.6 if steps <= MAX_NAMED_STEPS else 0.2,
    )


def _draw_outline(axes: "Axes", profile: MemoryProfile) -> None:
    """Draw the sum of all bytes, and the peak with its name."""
    peak = profile.peak
    totals = [mib(step.bytes) for step in profile.timeline]
    axes.stairs(
        totals,
        [step - 0.5 for step in range(len(totals) + 1)],
        baseline=None,
        color="0.25",
        linewidth=1.1 if len(totals) <= MAX_NAMED_STEPS else 0.6,
    )
    axes.axhline(mib(peak.bytes), color=NEUTRAL, linestyle="--", linewidth=0.9, zorder=1)
    at_peak: Any = {
        "xy": (peak.step, mib(peak.bytes)),
        "textcoords": "offset points",
        "color": "0.1",
    }
    axes.annotate("\N{BLACK DOWN-POINTING TRIANGLE}", xytext=(0, 2), ha="center", **at_peak)
    equal = sum(step.bytes == peak.bytes for step in profile.timeline)
    text = f"{format_mib(peak.bytes)} in {peak.op}"
    if equal > 1:
        text += f", first of {equal} equal"
    side = "left" if peak.step < len(totals) / 2 else "right"
    offset = (9 if side == "left" else -9, 3)
    axes.annotate(text, xytext=offset, ha=side, weight="bold", **at_peak)


def _label_axes(axes: "Axes", title: str, profile: MemoryProfile, scale_bytes: int) -> None:
    """Add title, axis labels, and the names of operators if there is room."""
    steps = profile.timeline
    axes.set_title(title, loc="left")
    axes.set_ylabel("alive, MiB")
    axes.set_xlim(-0.5, len(steps) - 0.5)
    axes.set_ylim(0, 1.12 * mib(scale_bytes))
    axes.grid(visible=False, axis="x")
    if len(steps) <= MAX_NAMED_STEPS:
        names = [_shorten(step.op) for step in steps]
        axes.set_xticks(range(len(steps)), names, rotation=90, fontsize=7)
        axes.get_xticklabels()[profile.peak.step].set_fontweight("bold")
        axes.tick_params(axis="x", length=0)
    else:
        axes.set_xlabel("time step")


def _add_legend(
    axes: "Axes", bands: Sequence[Band], colours: Mapping[str, Any], profile: MemoryProfile
) -> None:
    """Add a legend outside the axes, in the order of the stack.

    Its upper part names values that are alive at the peak, its lower part values that wait at other
    times and the rest.
    """
    from matplotlib.patches import Patch

    coloured = [band for band in reversed(bands) if band.name in colours]
    at_peak = [band for band in coloured if band.name in profile.peak.live]
    waiting = [band for band in coloured if band.name not in profile.peak.live]
    style: Any = {
        "frameon": False,
        "fontsize": 7,
        "title_fontsize": 7,
        "alignment": "left",
        "borderaxespad": 0,
    }
    upper = axes.legend(
        handles=_legend_patches(at_peak, colours),
        title="alive at the peak",
        loc="upper left",
        bbox_to_anchor=(1.02, 1),
        **style,
    )
    axes.add_artist(upper).set_clip_on(False)  # a clipped legend gets no room in the layout
    handles = _legend_patches(waiting, colours)
    if len(colours) < len(bands):
        handles.append(Patch(facecolor=GREYS[0], label="all others"))
    if handles:
        axes.legend(
            handles=handles,
            title="waiting at other times" if waiting else None,
            loc="lower left",
            bbox_to_anchor=(1.02, 0),
            **style,
        )


def _legend_patches(bands: Sequence[Band], colours: Mapping[str, Any]) -> "list[Patch]":
    from matplotlib.patches import Patch

    return [
        Patch(
            facecolor=colours[band.name],
            label=f"{_shorten(band.name)}  {format_mib(band.size_bytes)}",
        )
        for band in bands
    ]


def _shorten(name: str) -> str:
    if len(name) <= MAX_NAME_LENGTH:
        return name
    return f"\N{HORIZONTAL ELLIPSIS}{name[1 - MAX_NAME_LENGTH :]}"
