"""The expected cost of a study: training steps from the recipe, seconds from a few timed steps.

The steps of the unpruned network are timed. A smaller network trains faster; a step at ratio r is
taken to last 0.3 + 0.7 r of an unpruned one. Tests, searches, and all that makes a step of a method
slower than plain training are in the forecast if the store has records of the same row, at any
ratio or seed; a run corrects the forecast while it works.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import NamedTuple

import torch

from bench.errors import one_line
from bench.files.hashing import digest
from bench.files.log import LOG
from bench.plugins.backbones import build_for_cell
from bench.plugins.options import build_task, configure
from bench.plugins.registry import METHODS
from bench.records import Cell, Record
from bench.study.store import Store
from bench.study.study import METHOD_FIELDS, NETWORK_FIELDS
from bench.training.pretrained import (
    PACKAGED_NETWORKS,
    find_weights,
    has_pretraining,
    pretrained_key,
)
from bench.training.trainer import TaskTrainer

TIMED_STEPS = 4
MAX_STEPS = 10**12  # of one cell, in a forecast
FIXED_SHARE = 0.3
TIMING_RATE = 1e-6  # a learning rate at which no network diverges


@dataclass(frozen=True)
class CellForecast:
    """A cell that will run: its training steps after pretraining, and about how many seconds."""

    cell: Cell
    steps: int
    seconds: float


class PretrainingForecast(NamedTuple):
    """An unpruned network that must be trained: what it is, its training steps, and seconds."""

    what: str
    steps: int
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """The cost of all that will run.

    Args:
        cells: the cells without a record, in the order of the table.
        pretraining: the unpruned networks that must be trained first.
    """

    cells: tuple[CellForecast, ...]
    pretraining: tuple[PretrainingForecast, ...]

    @property
    def steps(self) -> int:
        """Training steps in all."""
        pretraining_steps = sum(entry.steps for entry in self.pretraining)
        return sum(entry.steps for entry in self.cells) + pretraining_steps

    @property
    def pretraining_seconds(self) -> float:
        """Seconds of the pretraining."""
        return sum(entry.seconds for entry in self.pretraining)

    @property
    def seconds(self) -> float:
        """Seconds in all."""
        return sum(entry.seconds for entry in self.cells) + self.pretraining_seconds


def forecast_cells(cells: Iterable[Cell], store: Store, device: str = "cpu") -> Forecast:
    """Forecast the cost of cells, given the unpruned networks and records in the store."""
    timed: dict[str, float] = {}

    def step_seconds(cell: Cell) -> float:
        kind = _step_kind(cell)
        if kind not in timed:
            timed[kind] = time_training_step(cell, device)
        return timed[kind]

    folders = (store.pretrained_folder, PACKAGED_NETWORKS)
    recorded = _recorded_step_seconds(store.records(), device)
    pretraining: dict[str, PretrainingForecast] = {}
    entries = []
    for cell in cells:
        key = pretrained_key(cell)
        if key not in pretraining and find_weights(cell, folders) is None:
            what = f"unpruned {cell.backbone}, seed {cell.seed}"
            steps = cell.recipe.pretrain_steps
            pretraining[key] = PretrainingForecast(what, steps, steps * step_seconds(cell))
        steps = expected_steps(cell)
        unpruned_seconds = recorded.get(_step_kind(cell, METHOD_FIELDS)) or step_seconds(cell)
        spared = cell.recipe.pretrain_steps if has_pretraining(cell, folders) else 0
        seconds = max(0, steps - spared) * unpruned_seconds * _relative_step_time(cell)
        entries.append(CellForecast(cell, steps, seconds))
    return Forecast(tuple(entries), tuple(pretraining.values()))


def _step_kind(cell: Cell, more_fields: tuple[str, ...] = ()) -> str:
    """Return a key of cells whose training steps take equally long, apart from their ratio."""
    fields = [getattr(cell, name) for name in (*NETWORK_FIELDS, *more_fields)]
    return digest([*fields, cell.recipe.patch, cell.recipe.batch, cell.recipe.threads])


def _relative_step_time(cell: Cell) -> float:
    """Return the time of a step as a share of that of the unpruned network."""
    return FIXED_SHARE + (1 - FIXED_SHARE) * cell.pruning_ratio


def _recorded_step_seconds(records: Iterable[Record], device: str) -> dict[str, float]:
    """Return step kind -> seconds of all work per unpruned step, from cells done on this device."""
    totals: dict[str, list[float]] = {}
    for record in records:
        name = str(record.environment.get("device", "")).split(" ")[0]
        device_type = name if name in ("cpu", "mps") else "cuda"
        if record.status != "done" or not record.steps or device_type != device.split(":")[0]:
            continue
        total = totals.setdefault(_step_kind(record.cell, METHOD_FIELDS), [0.0, 0.0])
        total[0] += sum(record.seconds.values())
        total[1] += sum(record.steps.values()) * _relative_step_time(record.cell)
    return {kind: seconds / steps for kind, (seconds, steps) in totals.items()}


def expected_steps(cell: Cell) -> int:
    """Return the training steps after pretraining, as the method expects them.

    0 if it gives no number that can be one; a wrong forecast costs no row.
    """
    method = configure(METHODS.get(cell.method), cell.method_options, f"method {cell.method}")
    try:
        steps: int = method.expected_steps(cell.effective_recipe)
        is_possible = 0 <= steps <= MAX_STEPS
    except (Exception, SystemExit) as error:
        LOG.warning("no forecast for method %s: %s", cell.method, one_line(repr(error)))
        return 0
    return int(steps) if is_possible else 0


def time_training_step(cell: Cell, device: str) -> float:
    """Return the seconds of one training step of the unpruned network, from a few steps.

    0 if the network cannot be trained; its rows will say why.
    """
    try:
        return _measure_step_seconds(cell, device)
    except Exception as error:
        LOG.info("no forecast for %s: %s", cell.backbone, error)
        return 0.0


def _measure_step_seconds(cell: Cell, device: str) -> float:
    torch.set_num_threads(cell.recipe.threads)
    task = build_task(cell)
    recipe = replace(cell.recipe, pretrain_rate=TIMING_RATE)
    trainer = TaskTrainer(task, cell.data, recipe, cell.seed, device=device, stream="timing")
    model = build_for_cell(task, cell)
    if not cell.backbone_source:
        trainer.reinitialise(model)
    trainer.fit(model, 1, phase="pretrain")
    start = perf_counter()
    trainer.fit(model, TIMED_STEPS, phase="pretrain")
    return (perf_counter() - start) / TIMED_STEPS
