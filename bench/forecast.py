"""What a study will cost, before it starts: training steps from the recipe, seconds from a few timed steps of the unpruned network.

A smaller network trains faster; a step at ratio r is taken to last 0.3 + 0.7 r of an unpruned one. Tests, searches and what makes a step of
a method dearer than plain training are not in the forecast; a run corrects it as it goes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import torch

from bench.atomic import LOG
from bench.backbones import of_cell
from bench.cell import Cell, digest
from bench.options import cell_task, configured
from bench.pretrained import PACKAGED, find, pretrained_key
from bench.registry import METHODS
from bench.store import Store
from bench.training import TaskTrainer
from bench.units import format_duration

TIMED_STEPS = 4
FIXED_SHARE = 0.3
HARMLESS_RATE = 1e-6


@dataclass(frozen=True)
class Foreseen:
    """One cell that will run: how many training steps after pretraining, and about how many seconds."""

    cell: Cell
    steps: int
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """All that will run.

    Args:
        cells: those whose record is missing, in the order of the table.
        pretraining: (what, steps, seconds) of each unpruned network that must be trained first.
    """

    cells: tuple[Foreseen, ...]
    pretraining: tuple[tuple[str, int, float], ...]

    @property
    def steps(self) -> int:
        """Training steps of everything."""
        return sum(entry.steps for entry in self.cells) + sum(steps for _, steps, _ in self.pretraining)

    @property
    def pretraining_seconds(self) -> float:
        """Seconds of the pretraining."""
        return sum(seconds for _, _, seconds in self.pretraining)

    @property
    def seconds(self) -> float:
        """Seconds of everything."""
        return sum(entry.seconds for entry in self.cells) + self.pretraining_seconds


def foresee(cells: Iterable[Cell], store: Store, device: str = "cpu") -> Forecast:
    """The cost of these cells, given what the store has of their unpruned networks."""
    step_seconds: dict[str, float] = {}
    pretraining: dict[str, tuple[str, int, float]] = {}
    foreseen = []
    for cell in cells:
        network = [cell.task, cell.backbone, dict(cell.backbone_options), cell.backbone_source]
        kind = digest([*network, cell.recipe.patch, cell.recipe.batch, cell.recipe.threads])
        if kind not in step_seconds:
            step_seconds[kind] = timed_step_seconds(cell, device)
        key = pretrained_key(cell)
        if key not in pretraining and find(cell, (store.pretrained_folder, PACKAGED)) is None:
            steps = cell.recipe.pretrain_steps
            pretraining[key] = (f"unpruned {cell.backbone}, seed {cell.seed}", steps, steps * step_seconds[kind])
        steps = foreseen_steps(cell)
        foreseen.append(Foreseen(cell, steps, steps * step_seconds[kind] * (FIXED_SHARE + (1 - FIXED_SHARE) * cell.ratio)))
    return Forecast(tuple(foreseen), tuple(pretraining.values()))


def text(forecast: Forecast, asked: int, folder: Path) -> str:
    """What would run of the `asked` cells, and for how long, for a person."""
    lines = [f"{what}: {steps:,} steps, about {format_duration(seconds)}" for what, steps, seconds in forecast.pretraining]
    for entry in forecast.cells:
        place = f"{entry.cell.label}, ratio {entry.cell.ratio:g}, seed {entry.cell.seed}"
        lines.append(f"{place}: {entry.steps:,} steps after pretraining, about {format_duration(entry.seconds)}")
    total = f"{len(forecast.cells)} of {asked} cells to run, {forecast.steps:,} training steps, about {format_duration(forecast.seconds)}"
    return "\n".join([*lines, f"{total}; the others are stored in {folder}" if len(forecast.cells) < asked else total])


def foreseen_steps(cell: Cell) -> int:
    """Training steps after pretraining, as the method expects them."""
    steps: int = configured(METHODS.get(cell.method), cell.method_options, f"method {cell.method}").expected_steps(cell.trained_by)
    return steps


def timed_step_seconds(cell: Cell, device: str) -> float:
    """Seconds of one training step of the unpruned network, from a few; 0 if it cannot be trained, which its rows will say."""
    try:
        return _timed_step_seconds(cell, device)
    except Exception as error:
        LOG.info("no forecast for %s: %s", cell.backbone, error)
        return 0.0


def _timed_step_seconds(cell: Cell, device: str) -> float:
    torch.set_num_threads(cell.recipe.threads)
    task = cell_task(cell)
    recipe = replace(cell.recipe, pretrain_rate=HARMLESS_RATE)
    trainer = TaskTrainer(task, cell.data, recipe, cell.seed, device, stream="timing")
    model = of_cell(task, cell)
    if not cell.backbone_source:
        trainer.reinitialise(model)
    trainer.fit(model, 1, phase="pretrain")
    begun = perf_counter()
    trainer.fit(model, TIMED_STEPS, phase="pretrain")
    return (perf_counter() - begun) / TIMED_STEPS
