"""Pruning groups: the units that have a tensor alive at one time step ("Layer Grouping" of MOSP).

The nonzero entries of a row of the linear peak model are the group of that step: only its units can
lower the memory of that step. A unit may be in several groups.
"""

from dataclasses import dataclass

import numpy as np

from bench.contract import Widths
from bench.memory.peak_model import PeakModel


@dataclass(frozen=True)
class PruningGroup:
    """The units alive at one time step.

    Args:
        step: index of the time step.
        name: of its operator.
        bytes: alive at it.
        per_channel: unit -> bytes that one of its channels costs at this step.
    """

    step: int
    name: str
    bytes: int
    per_channel: dict[str, int]


def step_group(model: PeakModel, widths: Widths, step: int) -> PruningGroup:
    """Return the group of one time step at the given widths."""
    return PruningGroup(
        step, model.steps[step], int(model.step_bytes(widths)[step]), model.per_channel(step)
    )


def peak_group(model: PeakModel, widths: Widths) -> PruningGroup:
    """Return the group of the first time step with the most bytes."""
    return step_group(model, widths, int(np.argmax(model.step_bytes(widths))))
