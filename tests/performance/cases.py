"""What is timed: pairs of calls that are run in turn, so that a busy machine slows down both."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from bench.api import prune
from bench.channels.units import Layout
from bench.contract import Budget, Kept, Recipe, Widths
from bench.export.onnx_file import write_onnx
from bench.graph.lowering import trace
from bench.lean.pipeline import make_lean
from bench.memory.peak_model import compute_min_widths, peak_model
from bench.memory.profile import peak_memory, profile
from bench.plugins.registry import METHODS
from bench.study.store import Store
from bench.surgery.analysis import analyse_network
from bench.surgery.least_squares import layer_outputs, update_weights
from bench.surgery.remove import remove_channels
from bench.training.trainer import TaskTrainer
from methods.mosp import MOSP
from methods.random_search import RandomSearch
from methods.slimmable.autoslim import GreedyPath, PathErrors
from methods.slimmable.s_net import SNet
from methods.slimmable.training import Slimmable
from tasks.denoising import Denoising
from tasks.models.unet import UNet

RECORDS = Path(__file__).parents[2] / "results/reference/table1_embedded"
Call = Callable[[], object]


@dataclass(frozen=True)
class Size:
    """How large the cases are.

    Args:
        width: of the U-Net; a quarter of it is trained too.
        levels: of the U-Net.
        patch: of the crops, in pixels.
        steps: of training and of searches in one call.
        layers: convolutions of the long network.
        records: in each store.
        lean: height and width of the image of the lean executor.
    """

    width: int = 16
    levels: int = 5
    patch: int = 64
    steps: int = 4
    layers: int = 1575
    records: tuple[int, ...] = (50, 1000)
    lean: tuple[int, int] = (512, 1024)

    @property
    def recipe(self) -> Recipe:
        return replace(Denoising.recipe, patch=self.patch, calibration_crops=4)


# Methods and options of the sweeps; the pretrained network is where the slimmable ones start.
SWEPT: dict[str, dict[str, Any]] = {
    "mosp": {},
    "mosp_joint": {},
    "group_lasso": {},
    "us_net": {"start": "pretrained"},
    "autoslim": {"groups": 4, "crops": 4},
    "dhp": {"start": "pretrained"},
    "random_search": {"samples": 10},
    "assl": {},
}
TINY = Size(width=4, levels=2, patch=16, steps=1, layers=6, records=(2,), lean=(32, 32))


@dataclass(frozen=True)
class Case:
    """A call beside another one.

    Args:
        name: what is measured / what it is divided by.
        ours: the call.
        other: the other call; None if there is none.
        parts: what one call of ours does so many times.
        once: it takes minutes, and is run once.
    """

    name: str
    ours: Call
    other: Call | None = None
    parts: int = 1
    once: bool = False


def all_cases(size: Size) -> Iterator[Case]:
    """Yield the cases; each is prepared when it is its turn."""
    for width in (size.width, max(1, size.width // 4)):
        yield training_case(size, width)
    yield mosp_case(size)
    yield autoslim_case(size)
    yield random_search_case(size)
    yield short_training_case(size)
    yield s_net_case(size)
    yield least_squares_case(size)
    yield from sweep_cases(size)
    yield from memory_cases(size)
    yield from runtime_cases(size)
    yield cell_case(size)
    yield from report_cases(size)


def make_network(size: Size, width: int | None = None) -> nn.Module:
    network = UNet(width or size.width, size.levels)
    Denoising().initialise(network, torch.Generator().manual_seed(0))
    return network.eval()


def make_trainer(size: Size) -> TaskTrainer:
    return TaskTrainer(Denoising(), "embedded", size.recipe, seed=0)


def shape_of(size: Size) -> tuple[int, int, int, int]:
    return (1, 3, 16 * size.patch, 16 * size.patch)


def training_case(size: Size, width: int) -> Case:
    """Train by `fit`, beside a loop on crops that were drawn before."""
    trainer = make_trainer(size)
    networks = [trainer.prepare(make_network(size, width)) for _ in range(2)]
    crops = list(trainer.batches(size.steps))

    def fit() -> None:
        with trainer.branch():
            trainer.fit(networks[0], size.steps, phase="finetune")

    def run_bare_loop() -> None:
        network = networks[1].train()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)
        for degraded, clean in crops:
            optimizer.zero_grad(set_to_none=True)
            trainer.criterion(network(degraded), clean).backward()
            nn.utils.clip_grad_norm_(network.parameters(), trainer.recipe.max_gradient_norm)
            optimizer.step()

    name = f"training step, width {width}: fit / bare loop"
    return Case(name, fit, run_bare_loop, size.steps)


class WholeRuns:
    """What measures each candidate of MOSP's search without saving anything."""

    def __init__(self, model: nn.Module, layout: Layout, units: Any) -> None:
        self.network, self.units = model, layout.units

    @contextmanager
    def narrow(self, kept: Kept) -> Iterator[nn.Module]:
        yield remove_channels(self.network, kept, (1, 3, 64, 64))

    def run_whole(self) -> Any:
        return nullcontext(self.network)

    def replace(self, smaller: nn.Module, kept: Kept) -> None:
        self.network = smaller


def mosp_case(size: Size) -> Case:
    """Take one inner step, beside one that copies, traces, cuts and runs whole networks."""
    trainer, network = make_trainer(size), make_network(size)
    budget = Budget(peak_memory(network, shape_of(size)), shape_of(size))
    start = MOSP().build_trajectory(trainer.prepare(network), budget, trainer)

    def advance() -> None:
        deepcopy(start, {id(trainer): trainer}).advance(1)

    def advance_naively() -> None:
        with patch("methods.mosp.trajectory.NarrowedRuns", WholeRuns):
            advance()

    return Case("MOSP's inner step / a naive one", advance, advance_naively)


def autoslim_case(size: Size) -> Case:
    """Take steps of the greedy path, beside steps that run every candidate whole."""
    trainer = make_trainer(size)
    slimmable = Slimmable(trainer.prepare(make_network(size)), Budget(1, shape_of(size)))
    model = slimmable.analysis.peak_model
    degraded, clean = trainer.calibration[0]

    def measure_whole(trials: list[Widths]) -> list[float]:
        with torch.inference_mode():
            outputs = [slimmable.run(widths, degraded) for widths in trials]
            return [float(trainer.criterion(output, clean)) for output in outputs]

    def walk(measure: Any) -> None:
        path = GreedyPath(model, compute_min_widths(model.widths, 1), 8, False, measure)
        for _ in range(size.steps):
            path.advance()

    return Case(
        "step of AutoSlim's path / with whole networks",
        lambda: walk(PathErrors(slimmable, trainer, len(clean))),
        lambda: walk(measure_whole),
        size.steps,
    )


def random_search_case(size: Size) -> Case:
    """Measure one candidate at half of all widths, beside verified surgery."""
    trainer, network = make_trainer(size), make_network(size)
    method = RandomSearch()
    context = method.prepare(trainer.prepare(network), Budget(1, shape_of(size)), trainer)
    widths = {unit: -(-full // 2) for unit, full in context.analysis.widths.items()}
    kept = context.analysis.select_kept(context.scores, widths)
    layout = context.analysis.layout

    def measure_verified() -> float:
        return trainer.loss(remove_channels(context.model, kept, shape_of(size), layout))

    return Case(
        "sample of random search / with verified surgery",
        lambda: method._measure_loss(context, widths, trainer),
        measure_verified,
    )


def short_training_case(size: Size) -> Case:
    """Train in many calls, beside one."""
    trainer, network = make_trainer(size), make_network(size)

    def fit(calls: int) -> None:
        with trainer.branch():
            for _ in range(calls):
                trainer.fit(network, size.steps // calls, phase="adapt")

    name = "training in calls of one step / in one call"
    return Case(name, lambda: fit(size.steps), lambda: fit(1), size.steps)


def s_net_case(size: Size) -> Case:
    """Train all switches for a step, beside the widest alone."""
    trainer = make_trainer(size)
    slimmable = Slimmable(trainer.prepare(make_network(size)), Budget(1, shape_of(size)))
    degraded, clean = next(trainer.batches(1))

    def train(shares: tuple[float, ...]) -> None:
        for share in shares:
            output = slimmable.run(slimmable.widths_at(share, 1), degraded)
            trainer.criterion(output, clean).backward()

    name = "step of S-Net / of a plain network"
    return Case(name, lambda: train(SNet().switches), lambda: train((1.0,)))


def least_squares_case(size: Size) -> Case:
    """Cut a network to half of its channels, and fit its weights to the outputs of the whole."""
    network, (crops, _) = make_network(size), make_trainer(size).calibration[0]
    layout = analyse_network(network, Budget(1, shape_of(size))).layout
    kept = {unit: range(-(-full // 2)) for unit, full in layout.widths.items()}
    outputs = layer_outputs(network, crops)

    def fit_weights() -> None:
        smaller = remove_channels(network, kept, shape_of(size), layout)
        update_weights(smaller, kept, layout, outputs, crops)

    return Case("least squares of one candidate at half of the channels", fit_weights)


def sweep_cases(size: Size) -> Iterator[Case]:
    """Answer nine budgets in one sweep, beside the smallest alone; half the width."""
    width, shape = max(1, size.width // 2), shape_of(size)
    peak = peak_memory(make_network(size, width), shape)
    budgets = [Budget(round(peak * percent / 100), shape) for percent in range(90, 20, -8)]
    recipe = replace(
        size.recipe, batch=2, adapt_steps=50 * size.steps, steps_per_epoch=5 * size.steps
    )
    for name, options in SWEPT.items():

        def prune_to(budgets: list[Budget], name: str = name, options: Any = options) -> None:
            own = TaskTrainer(Denoising(), "embedded", recipe, seed=0)
            model = own.prepare(make_network(size, width))
            for _ in METHODS.get(name)(**options).sweep(model, budgets, own):
                pass

        yield Case(
            f"{name}: {len(budgets)} budgets / the smallest alone",
            partial(prune_to, budgets),
            partial(prune_to, budgets[-1:]),
            once=True,
        )


def memory_cases(size: Size) -> Iterator[Case]:
    """Profile, and ask the linear model, for a long network beside a U-Net."""
    network, shape = make_network(size), (1, 3, 64, 64)
    layers = (nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()) for _ in range(size.layers))
    long = nn.Sequential(*layers).eval()
    for profiled, model in (("a chain", long), ("the U-Net", network)):
        count = len(trace(model, shape).ops)
        name = f"profile of {profiled}, for one of {count:,} operators"
        yield Case(name, partial(profile, model, shape), None, count)
    for name, model in (("chain", peak_model(long, shape)), ("U-Net", peak_model(network, shape))):
        widths = dict(model.widths)

        def query(model: Any = model, widths: Widths = widths) -> None:
            for _ in range(1000):
                model.peak_bytes(widths)

        yield Case(f"query of the peak model of the {name}", query, None, 1000)


def make_store(count: int) -> Path:
    """Return a folder with so many records: those of the reference run, at more seeds."""
    reference = [record for record in Store(RECORDS).records() if record.cell.seed == 0]
    store = Store(mkdtemp(prefix="prunebench-performance-"))
    copies = [
        replace(record, cell=replace(record.cell, seed=index // len(reference)))
        for index, record in ((index, reference[index % len(reference)]) for index in range(count))
    ]
    for record in copies:
        store.write(record)
    store.write_study("many", [record.cell for record in copies])
    return store.folder


def run_python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def report_cases(size: Size) -> Iterator[Case]:
    """Print and write what many records say, beside the import of torch."""
    for count in size.records:
        folder = make_store(count)
        for command in ("table", "report"):
            yield Case(
                f"`prunebench {command}` of {count:,} records / `import torch`",
                lambda command=command, folder=folder: run_python(
                    "-m", "prunebench", command, str(folder)
                ),
                lambda: run_python("-c", "import torch"),
                once=command == "report",
            )


def runtime_cases(size: Size) -> Iterator[Case]:
    """Export a network, and run it in the lean form beside the plain one."""
    network, shape = make_network(size), (1, 3, 64, 64)
    path = Path(mkdtemp(prefix="prunebench-performance-")) / "network.onnx"
    yield Case(
        "ONNX export, for one operator",
        lambda: write_onnx(network, shape, path),
        None,
        len(trace(network, shape).ops),
        once=True,
    )
    image = torch.rand(1, 3, *size.lean).to(memory_format=torch.channels_last)
    eager = make_network(size, 2 * size.width).to(memory_format=torch.channels_last)
    lean = make_lean(eager, tuple(image.shape))

    def run(model: nn.Module) -> None:
        with torch.inference_mode():
            model(image)

    name = f"{size.lean[0]}x{size.lean[1]}, width {2 * size.width}: lean / eager"
    yield Case(name, lambda: run(lean), lambda: run(eager))


def cell_case(size: Size) -> Case:
    """Prune, train for one step and test: what a cell costs beside its training."""
    network = make_network(size)
    recipe = {"patch": size.patch, "batch": 2, "finetune_steps": 1}
    return Case(
        "cell of one step",
        lambda: prune(network, "global_l2", 0.5, recipe=recipe, measured_at=shape_of(size)),
    )
