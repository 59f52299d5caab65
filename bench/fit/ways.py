"""Ways to run a network within a budget: pruned or not, in tiles or not, at half precision or not.

Pruned networks stand for what a method will leave: uniform pruning at a share of the peak. Their
peaks and MACs are exact; a method that spreads the same peak otherwise has others.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bench.channels.written_form import write_out
from bench.contract import Budget
from bench.errors import ConfigError, Infeasible
from bench.memory.profile import count_macs, peak_memory
from bench.surgery.analysis import analyse_network
from bench.surgery.importance import channel_norms
from bench.surgery.least_squares import layer_outputs, update_weights
from bench.surgery.remove import cut_copy
from bench.surgery.width_search import uniform_widths
from bench.tiling.largest import largest_tile
from bench.tiling.plan import Executor, list_levels, single_shape
from bench.units import format_mib

WHOLE = "whole image"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
RATIOS = (0.75, 0.5, 0.25)  # of the unpruned peak, for networks that are pruned and tiled
NEAR = 0.05  # a ratio so near to one at which the whole image fits is left out


@dataclass(frozen=True)
class Way:
    """One way to run a network on an image.

    Args:
        ratio: peak of the network on the whole image as a share of the unpruned one, at most; 1
            if it is not pruned.
        name: "whole image", "exact tiles" or "tiles, halo 8".
        precision: of weights and activations, "float32" or "bfloat16".
        tile: input pixels of a tile (height, width), halo included; None if there is none.
        halo: input pixels that tiles discard on each side; None if they are exact.
        count: number of tiles.
        peak_bytes: planned, input and output included; None if nothing is known.
        macs: of one image, with what tiles compute twice.
        obstacle: why it does not fit; "" if it does.
        seconds: of one image on this machine.
        is_measured: whether the seconds are measured; else they are estimated from the MACs.
        psnr_db: on calibration crops, if there are data; of a pruned network before its training.
        is_trained: whether the pruned network has been trained.
    """

    ratio: float
    name: str
    precision: str
    tile: tuple[int, int] | None
    halo: int | None
    count: int
    peak_bytes: int | None
    macs: int | None
    obstacle: str = ""
    seconds: float | None = None
    is_measured: bool = False
    psnr_db: float | None = None
    is_trained: bool = False

    @property
    def costs(self) -> tuple[float, ...]:
        """What is better the less it is: memory, time, and what is lost of the quality.

        Without data, what is lost is not one number: pruning more, inexact tiles and a lower
        precision are three.
        """
        time = self.seconds if self.seconds is not None else self.macs
        lost: tuple[float, ...] = (-self.ratio, self.halo is not None, self.precision != "float32")
        if self.psnr_db is not None:
            lost = (-round(self.psnr_db, 2),)
        return (self.peak_bytes or 0, time or 0, *lost)


def describe(way: Way) -> str:
    """Return a way in words: "tiles, halo 8, bfloat16, peak ratio 0.25"."""
    return f"{way.name}, {way.precision}" + (way.ratio < 1) * f", peak ratio {way.ratio:.2g}"


def cast(model: nn.Module, precision: str) -> nn.Module:
    """Return a copy of a network in eval mode, in a precision."""
    return deepcopy(model).to(PRECISIONS[precision]).eval()


def find_front(ways: Sequence[Way]) -> list[Way]:
    """Return the ways that fit and that no other one beats in memory, time and quality."""
    fitting = [way for way in ways if not way.obstacle]

    def is_beaten(way: Way) -> bool:
        return any(
            other.costs != way.costs
            and all(mine >= its for mine, its in zip(way.costs, other.costs, strict=True))
            for other in fitting
        )

    return [way for way in fitting if not is_beaten(way)]


def prune_uniformly(model: nn.Module, budget: Budget, crops: Tensor | None = None) -> nn.Module:
    """Return a network with the same share of every unit, its channels of the largest norm.

    Args:
        model: not changed.
        budget: the peak of the whole image.
        crops: degraded crops (N, C, H, W) on which the layers are adjusted to what was removed;
            without them they stay as they are.

    Raises:
        ConfigError: no channel can be removed.
        Infeasible: the least widths do not fit.
    """
    analysis = analyse_network(model, budget)
    widths = uniform_widths(analysis, budget, min_width=1)
    kept = analysis.select_kept(channel_norms(model, analysis.layout), widths)
    # Not verified: the chosen network is pruned anew.
    smaller, _ = cut_copy(model, analysis.layout, kept)
    if crops is not None:
        update_weights(smaller, kept, analysis.layout, layer_outputs(model, crops), crops)
    return smaller


def list_networks(
    model: nn.Module, budget: Budget, executor: Executor, crops: Tensor | None = None
) -> tuple[dict[float, nn.Module], str]:
    """Return ratio -> network, the unpruned one first, and why there are no more of them.

    Beside some round ratios there are those at which the whole image fits, one for each precision.

    Args:
        model: in float32; not changed.
        budget: as in `list_ways`.
        executor: as in `list_ways`.
        crops: as in `prune_uniformly`.
    """
    shape = single_shape(budget.input_shape)
    networks = {1.0: model}
    whole_bytes = peak_memory(model, shape, budget.convention)
    as_whole = [
        budget.peak_bytes / max(list_levels(twin, shape, budget.convention, executor))
        for twin in (cast(model, precision) for precision in PRECISIONS)
    ]
    try:
        written = write_out(model, shape)
        further = [each for each in RATIOS if min(abs(each - own) for own in as_whole) > NEAR]
        for ratio in sorted({*further, *as_whole}, reverse=True):
            if ratio < 1:
                share = replace(budget, peak_bytes=int(ratio * whole_bytes))
                networks[ratio] = prune_uniformly(written, share, crops)
    except ConfigError as error:
        return networks, str(error)
    except Infeasible as error:
        if error.least_bytes:  # the narrowest network
            least = replace(budget, peak_bytes=error.least_bytes)
            networks[error.least_bytes / whole_bytes] = prune_uniformly(written, least, crops)
        return networks, str(error)
    return networks, ""


def list_ways(
    networks: Mapping[float, nn.Module],
    budget: Budget,
    halo: int,
    executor: Executor,
    precisions: Iterable[str] = PRECISIONS,
) -> list[Way]:
    """Return all ways, those too that do not fit. Where the whole image fits, there are no tiles.

    Pruned networks are not run in exact tiles: what inexact ones lose is little beside pruning.

    Args:
        networks: ratio -> network in float32, from `list_networks`; not changed.
        budget: bytes, the shape of the image (N, C, H, W), and how memory is counted.
        halo: input pixels that inexact tiles discard on each side.
        executor: what runs the network, as in `largest_tile`.
        precisions: that are looked at.

    Raises:
        ConfigError: a network cannot be traced, or does not accept the shape.
    """
    shape = single_shape(budget.input_shape)
    ways = []
    for ratio, model in networks.items():
        macs = count_macs(model, shape)
        for precision in precisions:
            twin = cast(model, precision)
            peak_bytes = max(list_levels(twin, shape, budget.convention, executor))
            fits = peak_bytes <= budget.peak_bytes
            obstacle = "" if fits else "the whole image is too large"
            whole = Way(ratio, WHOLE, precision, shape[2:], None, 1, peak_bytes, macs, obstacle)
            ways.append(whole)
            if not fits:
                ways += list(_list_tiles(twin, budget, halo, executor, ratio, precision))
    return ways


def _list_tiles(
    model: nn.Module,
    budget: Budget,
    halo: int,
    executor: Executor,
    ratio: float,
    precision: str,
) -> Iterator[Way]:
    """Yield the ways in tiles; inexact ones only if they differ from the exact ones."""
    for discarded in (None, halo) if ratio == 1 else (halo,):
        name = "exact tiles" if discarded is None else f"tiles, halo {discarded}"
        try:
            plan = largest_tile(model, budget, halo=discarded, executor=executor)
        except Infeasible as error:
            least = error.least_bytes
            yield Way(ratio, name, precision, None, discarded, 0, least, None, str(error))
        except ConfigError as error:  # of networks that have no tiles, or no exact ones
            yield Way(ratio, name, precision, None, discarded, 0, None, None, str(error))
        else:
            yield Way(
                ratio, name, precision, plan.tile, discarded, plan.count, plan.peak_bytes, plan.macs
            )


def explain_misfit(ways: Sequence[Way], budget: Budget) -> Infeasible:
    """Return the error of a budget that no way fits: the least that is needed, and by which."""
    known = [way for way in ways if way.peak_bytes]
    least = min(known, key=lambda way: way.peak_bytes or 0)
    tiles = next((way.obstacle for way in ways if way.name != WHOLE), "")
    return Infeasible(
        f"nothing fits {format_mib(budget.peak_bytes)}: the least is "
        f"{format_mib(least.peak_bytes or 0)} ({describe(least)}); give more memory or a smaller "
        "shape" + (f" ({tiles})" if tiles else ""),
        least.peak_bytes,
    )
