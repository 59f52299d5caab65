"""A plan: which tiles an image is cut into, and what a run of them needs.

The tiles of an axis start and end at multiples of the period and have one size; the last one ends
with the image. Neighbours share `overlap` input pixels, of which each keeps its part: the border
between them lies where both are farthest from what is wrong in them. The borders of the image are
borders of its tiles, so that padding stays where it is.

    peak of a run = input and output + peak of the largest tile
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from operator import ge
from typing import Literal, NamedTuple, get_args

from torch import nn

from bench.contract import Convention, Inputs, Shape
from bench.errors import ConfigError
from bench.graph.meta_run import meta_inputs
from bench.memory.as_run import as_run_levels
from bench.memory.profile import count_macs, timeline
from bench.tiling.receptive_field import AxisField, ReceptiveField, receptive_field
from bench.units import as_shapes, format_shape

Buffers = Literal["float", "uint8"]  # input and output: as the network computes, or a byte a value
Executor = Literal["lean", "pytorch"]  # what runs a tile: as planned, or the network as written


class Part(NamedTuple):
    """One tile along one axis.

    Args:
        start, stop: input pixels that it reads.
        first, last: output pixels that it keeps, None for all that are left.
        origin: output pixel at which its output lies.
    """

    start: int
    stop: int
    first: int
    last: int | None
    origin: int


@dataclass(frozen=True)
class TilePlan:
    """How an image is cut into tiles, and what that needs.

    Args:
        shape: of the image (N, C, H, W).
        tile: input pixels of a tile (height, width), overlap included.
        overlap: input pixels that neighbours share (vertically, horizontally).
        field: the receptive field of the network.
        buffers: what input and output are stored as.
        buffer_bytes: of input and output; 0 if there is one tile and it is the input itself.
        tile_peak_bytes: peak of the network on the largest tile.
        macs: of all tiles, with what they compute twice.
    """

    shape: Shape
    tile: tuple[int, int]
    overlap: tuple[int, int]
    field: ReceptiveField
    buffers: Buffers
    buffer_bytes: int
    tile_peak_bytes: int
    macs: int

    @property
    def peak_bytes(self) -> int:
        """The most bytes of a run, input and output included."""
        return self.buffer_bytes + self.tile_peak_bytes

    @property
    def count(self) -> int:
        """Number of tiles."""
        return prod(map(len, self.parts(self.shape)))

    @property
    def is_exact(self) -> bool:
        """Whether tiles give what the whole image gives."""
        return self.is_exact_for(self.shape)

    def is_exact_for(self, shape: Sequence[int]) -> bool:
        """Return whether that holds for an image (N, C, H, W) of another size."""
        axes = zip((self.field.rows, self.field.columns), self.overlap, strict=True)
        return all(map(ge, self.tile, shape[2:])) or (
            not self.field.over_image
            and all(overlap >= axis.exact_overlap for axis, overlap in axes)
        )

    def parts(self, shape: Sequence[int]) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
        """Return the tiles of an image (N, C, H, W), of any size, along both axes.

        Raises:
            ConfigError: the image is larger than that of the plan, and has no such tiles.
        """
        axes = (self.field.rows, self.field.columns)
        tile = map(_align_tile, axes, shape[2:], self.tile, self.overlap)
        rows, columns = map(lay_out, axes, shape[2:], tile, self.overlap)
        is_without_tiles = self.tile == self.shape[2:] and self.overlap == (0, 0)
        if is_without_tiles and self.field.over_image and len(rows) * len(columns) > 1:
            raise ConfigError(
                f"the plan is for {format_shape(self.shape)} as one tile, the image is "
                f"{format_shape(shape)}, and no tiles are exact: {self.field.over_image[0]}; "
                "plan for the larger image, with a halo"
            )
        return rows, columns


def _align_tile(field: AxisField, length: int, tile: int, overlap: int) -> int:
    """Return the pixels of a tile along an axis of this length.

    Tiles as long as the planned image are those that need no grid. In a longer one, they do.
    """
    if tile >= length:
        return tile
    aligned = tile // field.period * field.period
    if aligned < least_tile(field, overlap):
        raise ConfigError(
            f"tiles of {tile} pixels were planned, and {length} pixels need tiles of at least "
            f"{least_tile(field, overlap)}, of which neighbours share {overlap}; plan for the "
            "larger image"
        )
    return aligned


def lay_out(field: AxisField, length: int, tile: int, overlap: int) -> tuple[Part, ...]:
    """Return the tiles along an axis of this many input pixels."""
    if tile >= length:
        return (Part(0, length, 0, None, 0),)
    gaps = count_tiles(length, tile, overlap) - 1
    periods = field.align(length - tile) // field.period
    starts = [field.period * (gap * periods // gaps) for gap in range(gaps + 1)]
    origins = [int(start / field.ratio) for start in starts]
    made = int(tile / field.ratio)
    cuts = [
        min(
            (here - field.lost_behind + made + there + field.lost_before) // 2,
            here + made + field.excess,
        )
        for here, there in pairwise(origins)
    ]
    stops = [start + tile for start in starts[:-1]] + [length]
    return tuple(map(Part, starts, stops, [0, *cuts], [*cuts, None], origins))


def count_tiles(length: int, tile: int, overlap: int) -> int:
    """Return how many tiles cover an axis."""
    return 1 if tile >= length else 1 - (tile - length) // (tile - overlap)


def single_shape(shape: Inputs) -> Shape:
    """Return the shape of the only input; ConfigError if there are several."""
    shapes = as_shapes(shape)
    if len(shapes) > 1:
        raise ConfigError(
            f"{len(shapes)} inputs were given ({format_shape(shapes)}); only a network of one "
            "image is tiled"
        )
    return shapes[0]


def choose_overlap(field: ReceptiveField, halo: int | None) -> tuple[int, int]:
    """Return the input pixels that neighbours share, along both axes.

    Args:
        field: of the network.
        halo: input pixels that a tile discards on each side, at least; None for as many as make
            tiles exact.

    Raises:
        ConfigError: no halo makes tiles exact, because an operator mixes the whole image.
    """
    axes = (field.rows, field.columns)
    if halo is None and field.over_image:
        raise ConfigError(
            f"no halo makes tiles exact: {field.over_image[0]}"
            + (f" (and {len(field.over_image) - 1} more)" if len(field.over_image) > 1 else "")
            + "; give a halo to accept an error, or prune the network instead"
        )
    check_halo(halo)
    rows, columns = (
        axis.exact_overlap
        if halo is None
        else axis.align(max(2 * halo, -int(axis.excess * axis.ratio // 1)))
        for axis in axes
    )
    return rows, columns


def check_halo(halo: int | None) -> None:
    """Raise ConfigError for a halo that cannot be: below 0, or no whole number."""
    if halo is not None and (not isinstance(halo, int) or halo < 0):
        raise ConfigError(f"a halo of {halo} pixels was asked for; give 0 or more, a whole number")


def plan_tiles(
    model: nn.Module,
    shape: Shape,
    tile: tuple[int, int],
    *,
    halo: int | None = None,
    buffers: Buffers = "float",
    convention: Convention = "planned",
    executor: Executor = "lean",
) -> TilePlan:
    """Return the plan of tiles of a given size.

    Args:
        model: not changed.
        shape: of the image (N, C, H, W).
        tile: input pixels (height, width), halo included; an axis may be as long as the image.
        halo: input pixels that a tile discards on each side, at least; None for as many as make
            tiles exact.
        buffers: what input and output are stored as.
        convention: how the peak of a tile is counted.
        executor: what runs the tiles. With "pytorch" a peak is what the network needs as run,
            whatever the convention.

    Raises:
        ConfigError: the network cannot be run in such tiles.
    """
    if len(tile) != 2 or not all(isinstance(size, int) and size > 0 for size in tile):
        raise ConfigError(f"tile {tile} is not (height, width), two positive whole numbers")
    field = receptive_field(model, shape)
    overlap = choose_overlap(field, halo)
    for axis, name, size, length, shared in zip(
        (field.rows, field.columns), ("high", "wide"), tile, shape[2:], overlap, strict=True
    ):
        least = least_tile(axis, shared)
        if size < min(least, length):
            raise ConfigError(
                f"tiles {size} pixels {name} were asked for, and neighbours share {shared}; "
                f"give at least {least}, or a smaller halo"
            )
        if size < length and size % axis.period:
            raise ConfigError(
                f"tiles {size} pixels {name} were asked for, and the grid of the network repeats "
                f"every {axis.period}; give {axis.align(size)}"
            )
    return make_plan(model, field, shape, tile, overlap, buffers, convention, executor)


def least_tile(field: AxisField, overlap: int) -> int:
    """Return the input pixels of the smallest tile along an axis."""
    return max(overlap + field.period, field.align(field.least + field.period - 1))


def make_plan(
    model: nn.Module,
    field: ReceptiveField,
    shape: Shape,
    tile: tuple[int, int],
    overlap: tuple[int, int],
    buffers: Buffers,
    convention: Convention,
    executor: Executor = "lean",
) -> TilePlan:
    """Return the plan of tiles that are known to fit the network."""
    tile = (min(tile[0], shape[2]), min(tile[1], shape[3]))
    is_whole = tile == shape[2:]
    sizes = [
        [part.stop - part.start for part in lay_out(axis, length, size, shared)]
        for axis, length, size, shared in zip(
            (field.rows, field.columns), shape[2:], tile, overlap, strict=True
        )
    ]
    macs = sum(
        sizes[0].count(height)
        * sizes[1].count(width)
        * count_macs(model, (*shape[:2], height, width))
        for height in set(sizes[0])
        for width in set(sizes[1])
    )
    return TilePlan(
        shape,
        tile,
        overlap,
        field,
        buffers,
        0 if is_whole and buffers == "float" else count_buffer_bytes(model, field, shape, buffers),
        max(list_levels(model, (*shape[:2], *tile), convention, executor)),
        macs,
    )


def list_levels(
    model: nn.Module, shape: Shape, convention: Convention, executor: Executor
) -> list[int]:
    """Return the bytes that are alive at each step of a run of the network.

    Raises ConfigError if there is no such executor.
    """
    if executor not in get_args(Executor):
        raise ConfigError(
            f"executor '{executor}' is not known; give one of {', '.join(get_args(Executor))}"
        )
    if executor == "pytorch":
        return as_run_levels(model, shape)
    return [step.bytes for step in timeline(model, shape, convention)]


def count_buffer_bytes(
    model: nn.Module, field: ReceptiveField, shape: Shape, buffers: Buffers
) -> int:
    """Return the bytes of input and output."""
    each = 1 if buffers == "uint8" else meta_inputs(model, (shape,))[0].itemsize
    return each * (prod(shape) + prod(field.output_shape))
