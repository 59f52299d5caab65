"""What a study will cost, before it starts: training steps from the recipe, seconds from a few timed steps of the unpruned network.

A smaller network trains faster; a step at ratio r is taken to last 0.3 + 0.7 r of an unpruned one.
Tests, searches and what makes a step of a method dearer than plain training are in the forecast
where the store has records of the same row, at any ratio or seed; a run corrects it as it goes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from time import perf_counter

import torch

from bench.files.hashing import digest
from bench.files.log import LOG
from bench.plugins.backbones import of_cell
from bench.plugins.options import cell_task, configured
from bench.plugins.registry import METHODS
from bench.records import Cell, Record
from bench.study.store import Store
from bench.training.pretrained import PACKAGED, find, pretrained_key
from bench.training.trainer import TaskTrainer

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
        return sum(entry.steps for entry in self.cells) + sum(
            steps for _, steps, _ in self.pretraining
        )

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
    timed: dict[str, float] = {}

    def step_seconds(cell: Cell) -> float:
        if (kind := _kind(cell)) not in timed:
            timed[kind] = timed_step_seconds(cell, device)
        return timed[kind]

    known = _known_step_seconds(store.records(), device)
    pretraining: dict[str, tuple[str, int, float]] = {}
    foreseen = []
    for cell in cells:
        key = pretrained_key(cell)
        if key not in pretraining and find(cell, (store.pretrained_folder, PACKAGED)) is None:
            steps = cell.recipe.pretrain_steps
            pretraining[key] = (
                f"unpruned {cell.backbone}, seed {cell.seed}",
                steps,
                steps * step_seconds(cell),
            )
        steps = foreseen_steps(cell)
        seconds = (
            steps
            * (known.get(_kind(cell, "method", "method_options")) or step_seconds(cell))
            * _share(cell)
        )
        foreseen.append(Foreseen(cell, steps, seconds))
    return Forecast(tuple(foreseen), tuple(pretraining.values()))


def _kind(cell: Cell, *more: str) -> str:
    """Cells of one kind have steps of one length, but for their ratio."""
    names = ("task", "task_options", "backbone", "backbone_options", "backbone_source", *more)
    return digest(
        [
            *(getattr(cell, name) for name in names),
            cell.recipe.patch,
            cell.recipe.batch,
            cell.recipe.threads,
        ]
    )


def _share(cell: Cell) -> float:
    """Of the time of an unpruned step."""
    return FIXED_SHARE + (1 - FIXED_SHARE) * cell.ratio


def _known_step_seconds(records: Iterable[Record], device: str) -> dict[str, float]:
    """Kind of row -> seconds of everything for one unpruned step, from what finished cells took on such a device."""
    taken: dict[str, list[float]] = {}
    for record in records:
        place = str(record.environment.get("device", "")).split(" ")[0]
        if (
            record.status == "done"
            and record.steps
            and (place if place in ("cpu", "mps") else "cuda") == device.split(":")[0]
        ):
            total = taken.setdefault(_kind(record.cell, "method", "method_options"), [0.0, 0.0])
            total[0] += sum(record.seconds.values())
            total[1] += sum(record.steps.values()) * _share(record.cell)
    return {kind: seconds / steps for kind, (seconds, steps) in taken.items()}


def foreseen_steps(cell: Cell) -> int:
    """Training steps after pretraining, as the method expects them."""
    steps: int = configured(
        METHODS.get(cell.method), cell.method_options, f"method {cell.method}"
    ).expected_steps(cell.trained_by)
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
