"""What makes a network fit? `fit` answers with a front in memory, time and quality.

>>> from torch import nn
>>> from bench.fit.search import fit
>>> first = nn.Conv2d(3, 16, 3, padding=1)
>>> net = nn.Sequential(first, nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))
>>> found = fit(net, "800KiB", shape=(1, 3, 128, 128))
>>> [(way.name, way.tile, way.precision) for way in found.front if way.ratio == 1]
[('exact tiles', (66, 66), 'float32'), ('whole image', (128, 128), 'bfloat16')]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from bench.api import Result
from bench.contract import Budget, Convention, Method, Shape, Task
from bench.errors import ConfigError, Infeasible
from bench.fit.quality import Judge
from bench.fit.running import make_runner, time_ways
from bench.fit.training import Training
from bench.fit.ways import Way, cast, describe, explain_misfit, find_front, list_networks, list_ways
from bench.study.study_file import parse_recipe
from bench.tiling.plan import Executor, check_halo, single_shape
from bench.training.trainer import OnStep
from bench.units import format_mib, parse_size


@dataclass(frozen=True)
class Fit:
    """The ways to fit a budget and, with data, the best of them with its network.

    Args:
        budget: as it was asked for.
        executor: what runs the network.
        ways: all that were looked at; the chosen one has the numbers of the trained network.
        chosen: the one of the best quality, the fastest of equal ones; None without data.
        network: of the chosen way, in its precision, trained; None without data.
        scores: metric -> mean over the test photographs, restored in the chosen way.
        result: of the pruning, if the chosen network is pruned.
        note: why there are no more pruned networks; "" if there is no reason.
    """

    budget: Budget
    executor: Executor
    ways: tuple[Way, ...]
    chosen: Way | None = None
    network: nn.Module | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    result: Result | None = None
    note: str = ""

    @property
    def front(self) -> list[Way]:
        """The ways that fit and that no other one beats in memory, time and quality."""
        return find_front(self.ways)


def fit(
    model: nn.Module,
    memory: int | str,
    *,
    shape: Shape,
    seconds: float | None = None,
    data: str | None = None,
    task: str | Task = "denoising",
    method: str | Method = "uniform",
    options: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    halo: int = 8,
    convention: Convention = "planned",
    executor: Executor = "lean",
    seed: int = 0,
    device: str = "cpu",
    progress: OnStep | None = None,
) -> Fit:
    """Return the ways to run a network within a budget; with data, also the best one, trained.

    Args:
        model: trained, in float32; not changed.
        memory: budget for activations, input and output: bytes, or text such as "200MiB".
        shape: of the image (N, C, H, W).
        seconds: limit for one image on this machine.
        data: "embedded" or a folder of photographs that the task reads; None: nothing is trained
            and no quality is known. The choice is made on calibration crops.
        task: how images are degraded and scored.
        method: prunes the network if the chosen way needs it.
        options: of a method that is given by name.
        recipe: differences from the task's own recipe.
        halo: input pixels that inexact tiles discard on each side.
        convention: "planned" or "eager".
        executor: what will run the network: "lean" needs what is planned; "pytorch" needs what the
            network needs as run.
        seed: all random streams are derived from it.
        device: where the network is trained.
        progress: called with (phase, steps done, steps, training loss).

    Raises:
        ConfigError: an argument cannot be used; the network cannot be traced.
        Infeasible: no way fits; the message says what the least is.
        PluginError: the method broke the contract, or training diverged.
    """
    size_bytes = parse_size(memory) if isinstance(memory, str) else memory
    if not isinstance(size_bytes, int):
        raise ConfigError(f'memory = {memory!r}; give bytes (int), or text such as "200MiB"')
    check_halo(halo)
    multiple = parse_recipe(recipe or {}).get("channel_multiple", 1)
    budget = Budget(size_bytes, single_shape(shape), convention, multiple)
    training = judge = None
    if data is not None:
        training = Training(method, options, data, task, recipe, seed, device, progress)
        judge = training.make_judge(model)
    networks, note = list_networks(model, budget, executor, judge.crops if judge else None)
    ways = list_ways(networks, budget, halo, executor)
    if all(way.obstacle for way in ways):
        raise explain_misfit(ways, budget)
    ways = time_ways(networks, ways, budget, executor, seconds)
    if seconds is not None:
        ways = _limit_seconds(ways, seconds, budget)
    if training is None or judge is None:
        return Fit(budget, executor, tuple(ways), note=note)
    found = Fit(budget, executor, tuple(judge.rate(networks, ways)), note=note)
    return _choose(found, networks, training, judge, halo, seconds)


def _limit_seconds(ways: Sequence[Way], seconds: float, budget: Budget) -> list[Way]:
    """Return the ways; those that take longer do not fit."""
    fastest = min((way for way in ways if not way.obstacle), key=lambda way: way.seconds or 0)
    if (fastest.seconds or 0) > seconds:
        raise Infeasible(
            f"nothing fits {format_mib(budget.peak_bytes)} in {seconds:g} s: the fastest takes "
            f"{fastest.seconds:.2g} s ({describe(fastest)}); give more time, or a smaller shape"
        )
    return [
        way
        if way.obstacle or (way.seconds or 0) <= seconds
        else replace(way, obstacle=f"takes longer than {seconds:g} s")
        for way in ways
    ]


def _choose(
    found: Fit,
    networks: Mapping[float, nn.Module],
    training: Training,
    judge: Judge,
    halo: int,
    seconds: float | None,
) -> Fit:
    """Return what was found with the best way, its network trained and tested."""
    way = max(
        (way for way in found.ways if not way.obstacle),
        key=lambda way: (round(way.psnr_db or 0, 2), -(way.seconds or 0), -(way.peak_bytes or 0)),
    )
    budget, executor, shape = found.budget, found.executor, single_shape(found.budget.input_shape)
    network, result, ways = networks[way.ratio], None, found.ways
    if way.ratio < 1:
        result = training.prune(networks[1.0], way.ratio, budget)
        network, planned = result.model, way
        again = {way.ratio: network}  # its channels may be others than those that were planned with
        anew = list_ways(again, budget, halo, executor, (way.precision,))
        fitting = [other for other in anew if not other.obstacle][:1]
        if not fitting:
            raise explain_misfit(anew, budget)
        timed = time_ways(again, fitting, budget, executor, seconds)
        way = replace(judge.rate(again, timed)[0], is_trained=True)
        ways = tuple(way if other is planned else other for other in ways)
    return replace(
        found,
        ways=ways,
        chosen=way,
        network=cast(network, way.precision),
        scores=training.test(make_runner(network, way, shape, executor)),
        result=result,
    )
