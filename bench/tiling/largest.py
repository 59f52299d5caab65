"""The largest tiles that fit a budget: exact by the memory model, without a guess or a retry.

The bytes of every time step are products of lengths, and the length of every value grows by as
much with each period that a tile grows. So the bytes of a step are a + b h + c w + d h w in the
periods h and w of a tile, and four traces give them for all tiles. Of the tiles that fit, those are
taken that compute the fewest pixels, halos included.
"""

from dataclasses import dataclass

import numpy as np
from torch import nn

from bench.contract import Budget, Convention, Shape
from bench.errors import ConfigError, Infeasible
from bench.tiling.plan import (
    Buffers,
    Executor,
    TilePlan,
    choose_overlap,
    count_buffer_bytes,
    count_tiles,
    lay_out,
    least_tile,
    list_levels,
    make_plan,
    single_shape,
)
from bench.tiling.receptive_field import AxisField, ReceptiveField, receptive_field
from bench.units import format_mib, format_shape

NOT_LINEAR = (
    "the memory of the network does not grow evenly with its input, so that no tile can be "
    "computed; choose one yourself (plan_tiles)"
)
SAMPLE_PIXELS = 64  # of a traced tile at least: in smaller ones, lengths of 1 are broadcast


@dataclass(frozen=True)
class _Sizes:
    """The sizes that tiles may have along one axis, the whole image first.

    Args:
        tiles: input pixels of each size.
        pixels: input pixels of all tiles of that size together.
        counts: number of tiles.
        samples: input pixels at which the network is traced.
        weights: int64 (sizes, samples); a size is this linear combination of the samples.
    """

    tiles: np.ndarray
    pixels: np.ndarray
    counts: np.ndarray
    samples: list[int]
    weights: np.ndarray


def largest_tile(
    model: nn.Module,
    budget: Budget,
    *,
    halo: int | None = None,
    buffers: Buffers = "float",
    executor: Executor = "lean",
) -> TilePlan:
    """Return the tiles that fit a budget and compute the fewest pixels.

    If the whole image fits, the plan has one tile.

    Args:
        model: any network with an image as input and output that can be traced; not changed.
        budget: bytes, the shape of the image (N, C, H, W), and how memory is counted. Input and
            output of the whole image count.
        halo: input pixels that a tile discards on each side, at least; None for as many as make
            tiles exact.
        buffers: "float" or "uint8", what input and output are stored as.
        executor: what runs the tiles. With "pytorch" a peak is what the network needs as run,
            whatever the convention.

    Raises:
        ConfigError: the network cannot be run in tiles.
        Infeasible: no tiles fit; the message says why.
    """
    shape, convention = single_shape(budget.input_shape), budget.convention
    field = receptive_field(model, shape)
    buffer_bytes = count_buffer_bytes(model, field, shape, buffers)
    outside = buffer_bytes if buffers == "uint8" else 0
    if outside + max(list_levels(model, shape, convention, executor)) <= budget.peak_bytes:
        # Larger images are cut into tiles of this size.
        overlap = (0, 0) if halo is None and field.over_image else choose_overlap(field, halo)
        return make_plan(model, field, shape, shape[2:], overlap, buffers, convention, executor)
    if buffer_bytes >= budget.peak_bytes:
        raise Infeasible(
            f"a peak of {format_mib(budget.peak_bytes)} is not possible: input and output alone "
            f"take {format_mib(buffer_bytes)} as {buffers}",
            None,
        )
    overlap = choose_overlap(field, halo)
    rows = _list_sizes(field.rows, shape[2], overlap[0], 0)
    columns = _list_sizes(field.columns, shape[3], overlap[1], 1)
    if len(rows.tiles) == len(columns.tiles) == 1:
        raise Infeasible(_describe_cover(field, shape, overlap), None)
    peaks = buffer_bytes + _peaks(model, shape, rows, columns, convention, executor)
    peaks[0, 0] = max(peaks[0, 0], budget.peak_bytes + 1)  # the whole image, which does not fit
    if peaks.min() > budget.peak_bytes:
        row, column = np.unravel_index(peaks.argmin(), peaks.shape)
        raise Infeasible(
            f"a peak of {format_mib(budget.peak_bytes)} is not possible: input and output take "
            f"{format_mib(buffer_bytes)}, and the smallest tile, {rows.tiles[row]}x"
            f"{columns.tiles[column]} with its halo, "
            f"{format_mib(int(peaks.min()) - buffer_bytes)}; the least is "
            f"{format_mib(int(peaks.min()))}",
            int(peaks.min()),
        )
    tile = _choose(rows, columns, peaks <= budget.peak_bytes)
    plan = make_plan(model, field, shape, tile, overlap, buffers, convention, executor)
    if plan.peak_bytes > budget.peak_bytes:
        raise ConfigError(NOT_LINEAR)
    return plan


def _choose(rows: _Sizes, columns: _Sizes, fits: np.ndarray) -> tuple[int, int]:
    """Return the tile (height, width) with the fewest pixels in all, then the fewest tiles."""
    pixels = np.outer(rows.pixels, columns.pixels)
    counts = np.outer(rows.counts, columns.counts)
    choices = np.argwhere(fits)
    row, column = min(choices.tolist(), key=lambda at: (pixels[*at], counts[*at]))
    return int(rows.tiles[row]), int(columns.tiles[column])


def _list_sizes(field: AxisField, length: int, overlap: int, shift: int) -> _Sizes:
    """Return all sizes along an axis: for each number of tiles the smallest.

    Args:
        field: of the axis.
        length: input pixels of the image.
        overlap: input pixels that neighbours share.
        shift: periods to add to the samples, so that those of both axes differ.
    """
    least = least_tile(field, overlap)
    most = count_tiles(length, least, overlap)
    sizes = {least} | {
        field.align(-(-(length + (count - 1) * overlap) // count)) for count in range(2, most + 1)
    }
    tiles = [length, *sorted((size for size in sizes if least <= size < length), reverse=True)]
    parts = [lay_out(field, length, tile, overlap) for tile in tiles]
    first = field.align(max(least, SAMPLE_PIXELS)) + shift * field.period
    samples = [first, first + field.period]
    steps = (np.array(tiles) - first) // field.period
    weights = np.stack([1 - steps, steps], 1)
    if length % field.period:
        samples.append(length)
        weights = np.pad(weights, ((0, 0), (0, 1)))
        weights[0] = 0, 0, 1
    return _Sizes(
        np.array(tiles),
        np.array([sum(part.stop - part.start for part in tile) for tile in parts]),
        np.array([len(tile) for tile in parts]),
        samples,
        weights,
    )


def _peaks(
    model: nn.Module,
    shape: Shape,
    rows: _Sizes,
    columns: _Sizes,
    convention: Convention,
    executor: Executor,
) -> np.ndarray:
    """Return the peak of the network on each tile, int64 (heights, widths)."""
    steps = [
        [
            list_levels(model, (*shape[:2], height, width), convention, executor)
            for width in columns.samples
        ]
        for height in rows.samples
    ]
    if len({len(sample) for line in steps for sample in line}) > 1:
        raise ConfigError(NOT_LINEAR)
    table = np.einsum(
        "hi,ijs,wj->hws", rows.weights, np.array(steps, dtype=np.int64), columns.weights
    )
    peaks: np.ndarray = table.max(-1)
    return peaks


def _describe_cover(field: ReceptiveField, shape: Shape, overlap: tuple[int, int]) -> str:
    """Return why no tile is smaller than the image."""
    rows, columns = field.rows, field.columns
    return (
        f"an image of {format_shape(shape[2:])} has no smaller tiles: neighbours would share "
        f"{overlap[0]} rows and {overlap[1]} columns (the receptive field reaches "
        f"{max(rows.before, rows.behind)} and {max(columns.before, columns.behind)} pixels far); "
        "give a halo to accept an error, or prune the network instead"
    )
