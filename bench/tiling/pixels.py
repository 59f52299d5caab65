"""State of the pass that follows the pixels of an image through a network.

There is one rule for each operator (`bench.tiling.operators`); `bench.tiling.receptive_field`
applies them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from bench.errors import ConfigError
from bench.graph.ir import Graph, Op
from bench.tiling.lines import Line, Window

ROWS, COLUMNS = 0, 1  # the axes of the image


@dataclass(frozen=True)
class Pixels:
    """Where the pixels of a value lie.

    Args:
        axes: axis of the value -> the axes of the image that lie along it; both if a reshape has
            merged them.
        lines: axis of the image -> the positions along it.
        is_uniform: of a value without pixels, whether it is the same at all positions, so that it
            has a pixel wherever it meets one.
    """

    axes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    lines: Mapping[int, Line] = field(default_factory=dict)
    is_uniform: bool = False

    def moved(self, axes: Mapping[int, int]) -> "Pixels":
        """Return the same pixels along other axes of a value, {old: new}; others are lost."""
        kept = {axes[axis]: held for axis, held in self.axes.items() if axis in axes}
        image_axes = {image_axis for held in kept.values() for image_axis in held}
        lines = {axis: line for axis, line in self.lines.items() if axis in image_axes}
        return Pixels(kept, lines)


@dataclass
class Walk:
    """What the rules have found so far, operator by operator in execution order.

    Args:
        graph: the network.
        modules: operator -> path of the module in whose code it is; "" for that of the network.
        pixels: value -> its pixels.
        over_image: operators whose result at one pixel depends on all pixels, named for people.
        least: axis of the image -> input pixels that a tile must have, so that what is mirrored at
            its border lies in it.
        sharing: value -> the values in its storage; the same list for all of them.
        op: whose rule is applied now.
    """

    graph: Graph
    modules: Mapping[str, str]
    pixels: dict[str, Pixels] = field(default_factory=dict)
    over_image: list[str] = field(default_factory=list)
    least: dict[int, int] = field(default_factory=lambda: {ROWS: 1, COLUMNS: 1})
    sharing: dict[str, list[str]] = field(default_factory=dict)
    op: Any = None

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a value."""
        return self.graph.values[name].shape

    def describe(self, what: str) -> str:
        """Return what the present operator does, with its place in the network and the code."""
        place = self.op.layer or self.modules.get(self.op.name)
        return what + (f" in {place}" if place else "") + str(self.op.line)

    def refuse(self, what: str) -> NoReturn:
        """Raise ConfigError: what the present operator does has no form in tiles."""
        raise ConfigError(f"the network cannot be run in tiles: {self.describe(what)}")

    def note(self, what: str) -> None:
        """Note that the present operator mixes the whole image."""
        self.over_image.append(self.describe(what))

    def join(self, op: Op, reads: tuple[str, ...]) -> Pixels:
        """Return the pixels of what is computed from these values pixel by pixel.

        Values are broadcast: axes are counted from the end.
        """
        ndim = len(self.shape(op.makes[0]))
        axes: dict[int, tuple[int, ...]] = {}
        lines: dict[int, Line] = {}
        for name in reads:
            for axis, held in self.pixels[name].axes.items():
                position = axis + ndim - len(self.shape(name))
                if axes.setdefault(position, held) != held:
                    self.refuse(f"'{op.name}' combines rows with columns")
            for image_axis, line in self.pixels[name].lines.items():
                lines[image_axis] = self.combine(lines.get(image_axis), line)
        if len({image_axis for held in axes.values() for image_axis in held}) < sum(
            map(len, axes.values())
        ):
            self.refuse(f"'{op.name}' relates all pixels to all others")
        for name in reads:
            shape, pixels = self.shape(name), self.pixels[name]
            own_axes = [position - ndim + len(shape) for position in axes]
            if not (pixels.axes or pixels.is_uniform) and any(
                axis >= 0 and shape[axis] > 1 for axis in own_axes
            ):
                self.refuse(f"'{op.name}' combines the image with '{name}', which has its own size")
        return Pixels(axes, lines)

    def combine(self, line: Line | None, other: Line) -> Line:
        """Join two lines; refuse values on different grids."""
        if line is None:
            return other
        if line.ratio == other.ratio and line.length != other.length:
            self.refuse(f"'{self.op.name}' writes to a part of the image")
        if line.ratio != other.ratio:
            self.refuse(
                f"'{self.op.name}' combines values with a pixel for each {line.ratio} and for each "
                f"{other.ratio} pixels of the image; give an image of another size"
            )
        return line.join(other)

    def follow_storage(self, op: Op) -> None:
        """Note in which storage a result lies; what is written there, all values in it read."""
        mates = (
            self.sharing.setdefault(op.reads[0], [op.reads[0]]) if op.shares and op.reads else []
        )
        mates += op.makes
        self.sharing |= dict.fromkeys(op.makes, mates)
        if op.written_in_place:
            for name in mates:
                lines = dict(self.pixels[name].lines)
                for image_axis, line in self.pixels[op.makes[0]].lines.items():
                    lines[image_axis] = self.combine(lines.get(image_axis), line)
                self.pixels[name] = replace(self.pixels[name], lines=lines)

    def slide(self, op: Op, windows: Mapping[int, Window]) -> Pixels:
        """Return the pixels of what reads windows along some axes of its first operand.

        Args:
            op: the operator; its result has as many axes.
            windows: axis of the operand -> window.
        """
        pixels, shape = self.pixels[op.reads[0]], self.shape(op.makes[0])
        lines = dict(pixels.lines)
        for axis, window in windows.items():
            held = pixels.axes.get(axis, ())
            if len(held) > 1 and window != Window():
                self.refuse(f"'{op.name}' reads neighbours where rows and columns are one axis")
            if len(held) == 1:
                lines[held[0]] = lines[held[0]].read(window, shape[axis])
        return Pixels(pixels.axes, lines)
