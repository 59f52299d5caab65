"""Run a network in one of the ways to fit, and time it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn

from bench.contract import Budget, Shape
from bench.fit.ways import WHOLE, Way, cast, find_front
from bench.graph.meta_run import limit_shapes
from bench.lean.pipeline import make_lean
from bench.memory.measured import image_seconds
from bench.memory.profile import count_macs
from bench.tiling.network import InPrecision, TiledNetwork
from bench.tiling.plan import Executor, plan_tiles, single_shape

SAMPLE_PIXELS = 128  # height and width of the image on which the seconds of a MAC are measured
PASSES = 3  # of which the median is taken, after one that is not timed
LONGEST_SECONDS = 2.0  # of a way that is measured; a longer one is estimated


def make_runner(network: nn.Module, way: Way, shape: Shape, executor: Executor) -> nn.Module:
    """Return what restores images in a way, in its precision.

    Args:
        network: of the ratio of the way; not changed.
        way: one that fits.
        shape: of the image (N, C, H, W).
        executor: "lean" or "pytorch".

    Raises:
        ConfigError: the lean executor does not run the network.
    """
    network = cast(network, way.precision)
    tile = way.tile or shape[2:]
    run = make_lean(network, (*shape[:2], *tile)) if executor == "lean" else network
    if way.name == WHOLE:
        return run
    return TiledNetwork(run, plan_tiles(network, shape, tile, halo=way.halo, executor=executor))


def time_ways(
    networks: Mapping[float, nn.Module],
    ways: Sequence[Way],
    budget: Budget,
    executor: Executor,
    seconds: float | None,
) -> list[Way]:
    """Return the ways with their seconds: estimated, and those of the front measured.

    They are estimated by the MACs from a run of the network on a small image. With a limit, those
    are measured that do not take long, as they will be run: one pass, then the median of three.
    """
    shape = single_shape(budget.input_shape)
    estimated = _estimate(networks, ways, shape)
    if seconds is None:
        return estimated
    front = find_front(estimated)
    return [
        replace(
            way,
            seconds=image_seconds(
                InPrecision(make_runner(networks[way.ratio], way, shape, executor)), shape, "cpu"
            ),
            is_measured=True,
        )
        if way in front and (way.seconds or 0) <= LONGEST_SECONDS
        else way
        for way in estimated
    ]


def _estimate(networks: Mapping[float, nn.Module], ways: Sequence[Way], shape: Shape) -> list[Way]:
    seconds_of_mac = {}
    for ratio, precision in {(way.ratio, way.precision) for way in ways}:
        network = cast(networks[ratio], precision)
        (sample,) = limit_shapes(network, (shape,), SAMPLE_PIXELS)
        seconds = image_seconds(InPrecision(network), sample, "cpu", PASSES)
        seconds_of_mac[ratio, precision] = seconds / max(1, count_macs(network, sample))
    return [
        way
        if way.macs is None
        else replace(way, seconds=way.macs * seconds_of_mac[way.ratio, way.precision])
        for way in ways
    ]
