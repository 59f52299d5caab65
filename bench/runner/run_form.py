"""The form in which a row runs its network: whole or in tiles, in float32 or in fewer bits.

    budget of a row = ratio x peak of the unpruned network, whole and in float32
    peak of a run   = peak of the network on the largest tile + input and output of the image

Tiles are those that fit the budget at the shape of the budget. They keep their size on test
photographs, which are cut into as many as they need. Training and what is stored are in float32.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.contract import Budget, Shape
from bench.errors import ConfigError, Infeasible
from bench.memory.as_run import as_run_peak_bytes
from bench.memory.profile import peak_memory, profile
from bench.records import Cell, RunOptions
from bench.tiling.largest import largest_tile
from bench.tiling.network import InPrecision, TiledNetwork
from bench.tiling.plan import TilePlan
from bench.units import format_mib

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
BUFFERS = "input and output"


@dataclass(frozen=True)
class RunForm:
    """How a network is run.

    Args:
        shape: of the image at which it is measured.
        dtype: of weights, activations, input and output.
        plan: of its tiles; None if it runs whole.
    """

    shape: Shape
    dtype: torch.dtype = torch.float32
    plan: TilePlan | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is the network as it was trained, whole and in float32."""
        return self.plan is None and self.dtype == torch.float32

    @property
    def largest_input(self) -> Shape:
        """The shape of the largest tile, or of the whole image."""
        return (*self.shape[:2], *self.plan.tile) if self.plan else self.shape

    def cast(self, model: nn.Module) -> nn.Module:
        """Return a copy of a network in the precision of the form."""
        return deepcopy(model).to(self.dtype)

    def apply(self, model: nn.Module) -> nn.Module:
        """Return a copy of a network that runs in this form; it takes and gives float32."""
        network = self.cast(model)
        tiled = TiledNetwork(network, self.plan) if self.plan else network
        return tiled if self.dtype == torch.float32 else InPrecision(tiled)

    def measure_memory(self, model: nn.Module) -> dict[str, Any]:
        """Return the fields of a Record that the form decides, for a network in float32.

        What the referee has measured of a network that runs whole and in float32 is left out.
        """
        network, buffer_bytes = self.cast(model), self.plan.buffer_bytes if self.plan else 0
        try:
            as_run_bytes = buffer_bytes + as_run_peak_bytes(network, self.largest_input)
        except ConfigError:  # a network may need the values of its input to go on
            as_run_bytes = None
        as_run = {"as_run_peak_bytes": as_run_bytes}
        if self.is_plain:
            return as_run
        planned = profile(network, self.largest_input)
        buffers = {BUFFERS: buffer_bytes} if buffer_bytes else {}
        return as_run | {
            "peak_bytes": planned.peak_bytes + buffer_bytes,
            "peak_bytes_eager": peak_memory(network, self.largest_input, "eager") + buffer_bytes,
            "peak_step": planned.peak_step,
            "timeline": tuple(
                vars(step) | {"bytes": step.bytes + buffer_bytes, "live": step.live | buffers}
                for step in planned.timeline
            ),
            "macs": self.plan.macs if self.plan else planned.macs,
            "tiling": _describe_tiles(self.plan) if self.plan else {},
        }


def choose_form(model: nn.Module, cell: Cell, budget: Budget) -> RunForm:
    """Return the form in which a row runs a pruned network within its budget.

    Args:
        model: in float32.
        cell: of the row.
        budget: of the cell, for the run.

    Raises:
        Infeasible: the network does not fit in this form, or cannot be run in it.
    """
    options = RunOptions(**cell.run_options)
    form = RunForm(cell.measured_at, DTYPES[options.precision])
    if not cell.run_options:
        return form
    network = form.cast(model)
    if options.tiles:
        try:
            plan = largest_tile(network, budget, halo=options.halo)
        except ConfigError as error:  # of a network that has no tiles, or no exact ones
            raise Infeasible(str(error)) from error
        return RunForm(cell.measured_at, form.dtype, plan)
    peak_bytes = peak_memory(network, cell.measured_at, cell.convention)
    if peak_bytes > budget.peak_bytes:
        raise Infeasible(
            f"a peak of {format_mib(budget.peak_bytes)} is not possible: in {options.precision} "
            f"the network takes {format_mib(peak_bytes)}",
            peak_bytes,
        )
    return form


def _describe_tiles(plan: TilePlan) -> dict[str, Any]:
    """Return a plan as the field `tiling` of a Record."""
    return {
        "tile": list(plan.tile),
        "count": plan.count,
        "is_exact": plan.is_exact,
        "buffer_bytes": plan.buffer_bytes,
    }
