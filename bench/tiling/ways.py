"""Ways to run a network within a budget without training: whole, in tiles, at half precision."""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn

from bench.contract import Budget
from bench.errors import ConfigError, Infeasible
from bench.memory.profile import count_macs, peak_memory
from bench.tiling.largest import largest_tile
from bench.tiling.plan import single_shape

PRECISIONS = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class Way:
    """One way to run a network on an image.

    Args:
        name: "whole image", "exact tiles" or "tiles, halo 8".
        precision: of weights and activations.
        tile: input pixels of a tile (height, width), halo included; None if there is none.
        count: number of tiles.
        peak_bytes: planned, input and output included; None if nothing is known.
        macs: of one image, with what tiles compute twice.
        obstacle: why it does not fit; "" if it does.
    """

    name: str
    precision: str
    tile: tuple[int, int] | None
    count: int
    peak_bytes: int | None
    macs: int | None
    obstacle: str = ""


def list_ways(model: nn.Module, budget: Budget, halo: int) -> list[Way]:
    """Return all ways, those too that do not fit. Where the whole image fits, there are no tiles.

    Args:
        model: in float32; not changed.
        budget: bytes, the shape of the image (N, C, H, W), and how memory is counted.
        halo: input pixels that inexact tiles discard on each side.

    Raises:
        ConfigError: the network cannot be traced, or does not accept the shape.
    """
    shape = single_shape(budget.input_shape)
    macs = count_macs(model, shape)
    ways = []
    for dtype in PRECISIONS:
        precision = str(dtype).removeprefix("torch.")
        network = deepcopy(model).to(dtype)
        peak_bytes = peak_memory(network, shape, budget.convention)
        fits = peak_bytes <= budget.peak_bytes
        obstacle = "" if fits else "the whole image is too large"
        ways.append(Way("whole image", precision, shape[2:], 1, peak_bytes, macs, obstacle))
        if not fits:
            ways += [_tile(network, budget, pixels, precision) for pixels in (None, halo)]
    return ways


def _tile(model: nn.Module, budget: Budget, halo: int | None, precision: str) -> Way:
    """Return the way in tiles."""
    name = "exact tiles" if halo is None else f"tiles, halo {halo}"
    try:
        plan = largest_tile(model, budget, halo=halo)
    except Infeasible as error:
        return Way(name, precision, None, 0, error.least_bytes, None, str(error))
    except ConfigError as error:  # of networks that have no tiles, or no exact ones
        return Way(name, precision, None, 0, None, None, str(error))
    return Way(name, precision, plan.tile, plan.count, plan.peak_bytes, plan.macs)
