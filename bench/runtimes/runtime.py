"""A runtime that executes networks, and the memory plan of one that plans before it runs.

A plan decides three things: which tensors need a buffer, from which instruction to which each is
alive, and at which offset it lies. The first two depend on the structure of a network alone. So the
plan of one network can be made again for other widths, by the planner of the runtime itself, from
the sizes of its tensors: `replay`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.contract import Inputs

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor that a runtime lays into its arena.

    Args:
        name: in the program of the runtime.
        size_bytes: without the padding of an alignment.
        birth, death: first and last instruction at which it is alive.
        place: the same for tensors that lie in one buffer at the same time.
    """

    name: str
    size_bytes: int
    birth: int
    death: int
    place: Hashable


@dataclass(frozen=True)
class MemoryPlan:
    """What a runtime plans for one network at one input.

    Args:
        peak_bytes: size of the arena. Inputs and outputs count, weights do not.
        tensors: in the order of the program.
        replay: sizes of all tensors in bytes, in this order -> size of the arena that the planner
            of the runtime then needs.
    """

    peak_bytes: int
    tensors: tuple[PlannedTensor, ...]
    replay: Callable[[Sequence[int]], int]


class Runtime(ABC):
    """A runtime; networks are given to it in float32 and eval mode, for one input size.

    Attributes:
        protocol: how its peak is found, in words.
    """

    protocol: str

    @abstractmethod
    def measure(self, model: "nn.Module", shape: Inputs) -> tuple[int, float | None]:
        """Return the peak of the activations in bytes, and the seconds of an image.

        The seconds are None where a run says nothing about the speed of the runtime.

        Args:
            model: left untouched.
            shape: of its input (N, C, H, W), or several.

        Raises:
            ConfigError: the runtime does not take the network, or computes something else.
        """


class Planner(Runtime):
    """A runtime that plans the memory of a network without running it."""

    @abstractmethod
    def plan(self, model: "nn.Module", shape: Inputs) -> MemoryPlan:
        """Return the plan of a network at an input of (N, C, H, W), or at several.

        Raises:
            ConfigError: the runtime does not take the network.
        """
