"""Run a network in tiles."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.errors import ConfigError
from bench.tiling.plan import Part, TilePlan
from bench.tiling.receptive_field import AxisField
from bench.torch_state import eval_mode
from bench.units import format_shape

WHITE = 255  # of an image of bytes


class InPrecision(nn.Module):
    """Runs a network in its own precision on images in float32: (N, C, H, W) -> the same."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Restore images."""
        weight = next(self.network.parameters(), x)
        restored: Tensor = self.network(x.to(weight.dtype))
        return restored.float()


class TiledNetwork(nn.Module):
    """A network that runs in tiles, for inference: (N, C, H, W) -> (N, C', scale H, scale W).

    The input has the type of the network, or bytes from 0 to 255; the output has the same. Images
    of another size than that of the plan are cut into tiles of the same size.

    Args:
        model: the network in eval mode, or its lean form (`bench.lean.pipeline.make_lean`).
        plan: from `largest_tile` or `plan_tiles`.
        blend: where neighbours overlap, let one fade into the other instead of cutting between
            them. Exact tiles are always cut: there is no seam to hide.
    """

    def __init__(self, model: nn.Module, plan: TilePlan, *, blend: bool = False) -> None:
        super().__init__()
        self.model, self.plan = model, plan
        self.blend = blend

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Restore images.

        Raises:
            ConfigError: the input is no image for the network, it has no tiles as planned, or
                bytes are to be blended.
        """
        is_blended = self.blend and not self.plan.is_exact_for(x.shape)
        self._check(x, is_blended)
        rows, columns = self.plan.parts(x.shape)
        places = [(row, column) for row in range(len(rows)) for column in range(len(columns))]
        output = None
        while places:
            row_number, column_number = places.pop()  # the last tile says how large the output is
            row, column = rows[row_number], columns[column_number]
            made = self._run_tile(x, row, column)
            if output is None:
                size = row.origin + made.shape[-2], column.origin + made.shape[-1]
                output = _make_output(x, made.shape[1], size)
            if is_blended:
                made *= _fade(self.plan.field.rows, rows, row_number, size[0]).to(made)[:, None]
                made *= _fade(self.plan.field.columns, columns, column_number, size[1]).to(made)
                _place(output, made, row, column).add_(made)
            else:
                _keep(output, made, row, column)
            del made  # before the next tile runs
        return output  # type: ignore[return-value]  # there is at least one tile

    def _check(self, x: Tensor, is_blended: bool) -> None:
        if x.ndim != 4 or x.shape[1] != self.plan.shape[1]:
            raise ConfigError(
                f"the tiles are planned for {format_shape(self.plan.shape)}, and the input is "
                f"{format_shape(x.shape)}; give images (N, C, H, W) with as many channels"
            )
        if is_blended and not x.is_floating_point():
            raise ConfigError("bytes cannot be blended; give an image in the type of the network")

    def _run_tile(self, x: Tensor, row: Part, column: Part) -> Tensor:
        """Return the output of one tile."""
        part = x[..., row.start : row.stop, column.start : column.stop]
        given = [part.clone(memory_format=_layout(x))]  # networks may overwrite their input
        if not x.is_floating_point():
            weight = next(self.model.parameters(), torch.empty(0))
            given[0] = given[0].to(weight.dtype).div_(WHITE)
        consume = getattr(self.model, "consume", None)
        made: Tensor = self.model(*given) if consume is None else consume(given)
        return made


def _layout(x: Tensor) -> torch.memory_format:
    is_last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format


def _make_output(x: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """Return zeros (N, channels, *size) in the type and layout of the input."""
    empty = torch.empty(
        (len(x), channels, *size), dtype=x.dtype, device=x.device, memory_format=_layout(x)
    )
    return empty.zero_()


def _place(output: Tensor, made: Tensor, row: Part, column: Part) -> Tensor:
    """Return the part of the output at which the output of a tile lies."""
    height, width = made.shape[-2:]
    return output[..., row.origin : row.origin + height, column.origin : column.origin + width]


def _keep(output: Tensor, made: Tensor, row: Part, column: Part) -> None:
    """Copy what a tile keeps into the output."""
    rows, columns = (
        slice(part.first - part.origin, part.last and part.last - part.origin)
        for part in (row, column)
    )
    kept = made[..., rows, columns]
    if not output.is_floating_point():
        kept = kept.clamp_(0, 1).mul_(WHITE).round_()
    _place(output, made, row, column)[..., rows, columns] = kept


def _fade(field: AxisField, parts: tuple[Part, ...], number: int, total: int) -> Tensor:
    """Return the weights of the output of one tile along an axis.

    The weights of all tiles add up to 1 at every output pixel. They grow with the distance to the
    next end of the tile that is no end of the image.
    """
    position = torch.arange(total)
    far = torch.full((total,), total)
    distances, stops = [], []
    for part in parts:
        stops.append(total if part.last is None else int(part.stop / field.ratio) + field.excess)
        before = position - part.origin + 1 if part.start else far
        behind = far if part.last is None else stops[-1] - position
        distances.append(torch.minimum(before, behind).clamp(min=0))
    weights = distances[number] / torch.stack(distances).sum(0)
    return weights[parts[number].origin : stops[number]]


class TileError(NamedTuple):
    """How far tiles are from the whole image: the largest difference, and the root mean square."""

    largest: float
    rms: float


def measure_tile_error(tiled: TiledNetwork, image: Tensor) -> TileError:
    """Return the error of tiles on an image (N, C, H, W), which the network also restores whole."""
    with eval_mode(tiled), torch.no_grad():
        difference = (tiled(image) - tiled.model(image)).double()
    return TileError(difference.abs().max().item(), difference.square().mean().sqrt().item())
