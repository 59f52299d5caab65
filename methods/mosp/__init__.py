"""MOSP: Memory-Oriented Structural Pruning (Shi et al., AAAI 2023).

Peak memory is the largest sum of activations alive at one time step, so prune the units that are
alive *at that step*.

    put a compactor on every long skip; train (paper: 10 epochs)    (Sec. "Compactor")
    while the peak exceeds the budget:                              outer loop
        take the time step with the highest memory and its group    (Sec. "Layer Grouping")
        while less than the outer stride is freed at it:            inner loop
            order the channels of each unit; measure its sensitivity           (Eq. 2b)
            solve the integer program for the cheapest cut of an inner stride  (Eq. 2c)
        remove the channels, fine-tune for one epoch

One trajectory serves a whole sweep (bench.surgery.trajectory).

Choices where the paper is silent: compactors start as the identity without activation; channels are
ordered by the mean over photographs of the absolute gradient of a gate (`importance = "gradient"`;
norms agree badly with measured losses); strides are fractions of the unpruned peak (2 MiB of 24 at
256x256 is 1/12); the harness does the last fine-tuning.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from bench.contract import Budget, Departure, Trainer
from bench.plugins.registry import method
from bench.surgery.channel_scores import Importance
from bench.surgery.trajectory import TrajectoryMethod, parse_share
from methods.mosp.trajectory import GroupTrajectory

CHANNEL = "channel"


@method("mosp")
@dataclass(frozen=True)
class MOSP(TrajectoryMethod):
    """Prunes the units that are alive at the peak step.

    Args:
        compactors: put a 1x1 convolution on every long skip.
        pairs: also put a pair of them on every long skip that is added, such as the one around all
            blocks of EDSR.
        outer_stride: share of the unpruned peak that is freed between two fine-tunings, as a
            fraction.
        inner_stride: share that is freed between two measurements of sensitivity; "channel" is the
            channel of the group that costs most memory.
        importance: orders the channels of a unit, before each inner step anew.
        points: at how many removals the loss of a unit is measured.
    """

    paper: ClassVar[str] = (
        "Shi et al., Memory-Oriented Structural Pruning for Efficient Image Restoration, AAAI 2023"
    )
    departures: ClassVar[tuple[Departure, ...]] = (
        Departure(
            paper="does not say which channels of a layer go",
            here="those with the smallest gate gradient",
            why=(
                "norms agree badly with the measured loss of single channels (rank correlation "
                "-0.4 to 0.6, gradients about 0.9)"
            ),
            effect=(
                "-0.00, +0.31 and +2.95 dB over l2 at 0.75, 0.5 and 0.25 (photographs, three "
                "seeds); level, corrected for all comparisons"
            ),
        ),
        Departure(
            paper="does not say how compactors start",
            here="as the identity, without activation",
            why="they change nothing when they are inserted",
            effect="not measured",
        ),
        Departure(
            paper="strides in MB at 256 x 256",
            here="as shares of the unpruned peak (2 of 24 MB: 1/12)",
            why="they serve any network and size",
            effect="none at the paper's setting",
        ),
        Departure(
            paper="one network for each budget",
            here=(
                "one trajectory for all; a copy takes a shorter last stride to meet a budget "
                "exactly"
            ),
            why="a sweep costs one trajectory",
            effect="not measured",
        ),
    )
    inner_stride: str = CHANNEL
    importance: Importance = "gradient"
    points: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inner_stride != CHANNEL:
            parse_share("mosp", "inner_stride", self.inner_stride)

    def start(
        self, network: nn.Module, budget: Budget, trainer: Trainer, peak_bytes: int
    ) -> GroupTrajectory:
        """Return the start of a trajectory."""
        inner_bytes = None
        if self.inner_stride != CHANNEL:
            inner_bytes = int(parse_share("mosp", "inner_stride", self.inner_stride) * peak_bytes)
        return GroupTrajectory(
            network,
            budget,
            trainer,
            self.outer_bytes(peak_bytes),
            inner_bytes=inner_bytes,
            importance=self.importance,
            points=self.points,
        )
