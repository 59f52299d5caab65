"""Networks that are lists of steps, and a builder that writes such a list while it runs it.

A program works on numbered slots that hold values. A step calls a function, a tensor method or a
layer on what its slots hold, and puts the result into another slot, or into the same one if it is
written in place. The list is fixed data, so that torch.fx can follow it.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tests.networks.public import Shape, inputs_of, scramble


@dataclass(frozen=True)
class Slot:
    """Stands in the arguments of a step for the value in a slot."""

    number: int


@dataclass(frozen=True)
class Weight:
    """Stands in the arguments of a step for a parameter of the network."""

    name: str


@dataclass(frozen=True)
class Layer:
    """Stands for a layer that is called."""

    name: str


@dataclass(frozen=True)
class Step:
    """One call.

    Args:
        call: a function, the name of a tensor method, or a layer.
        args, kwargs: with Slots and Weights in them.
        makes: the slots of what it returns; several where it returns a tuple.
    """

    call: Callable[..., Any] | str | Layer
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    makes: tuple[int, ...]


class Program(nn.Module):
    """A network that does its steps one after another.

    Args:
        shape: of the input, or of the inputs in the order of the arguments.
        features: what occurs in it, and how often.
        result: slots that are returned: one, a tuple, or a dict.
    """

    def __init__(self, shape: Shape | tuple[Shape, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.features: Counter[str] = Counter()
        self.steps: list[Step] = []
        self.result: Any = None
        self.layers, self.weights = nn.ModuleDict(), nn.ParameterDict()

    def run(self, inputs: tuple[Tensor, ...]) -> Any:
        """Does all steps."""
        slots: dict[int, Any] = dict(enumerate(inputs))
        for step in self.steps:
            self.do(step, slots)
        return self.read(self.result, slots)

    def do(self, step: Step, slots: dict[int, Any]) -> None:
        """Does one step."""
        args, kwargs = self.read(step.args, slots), self.read(step.kwargs, slots)
        if isinstance(step.call, Layer):
            made = self.layers[step.call.name](*args, **kwargs)
        elif isinstance(step.call, str):
            made = getattr(args[0], step.call)(*args[1:], **kwargs)
        else:
            made = step.call(*args, **kwargs)
        if len(step.makes) == 1:
            slots[step.makes[0]] = made
        else:
            slots.update({number: made[part] for part, number in enumerate(step.makes)})

    def read(self, tree: Any, slots: dict[int, Any]) -> Any:
        """The arguments with values in them."""
        if isinstance(tree, Slot):
            return slots[tree.number]
        if isinstance(tree, Weight):
            return self.weights[tree.name]
        if isinstance(tree, tuple | list):
            return type(tree)(self.read(each, slots) for each in tree)
        return (
            {name: self.read(each, slots) for name, each in tree.items()}
            if isinstance(tree, dict)
            else tree
        )


class OneInput(Program):
    """A program that is fed one value."""

    def forward(self, x: Tensor) -> Any:
        """(N, C, H, W) -> what the program returns."""
        return self.run((x,))


class TwoInputs(Program):
    """A program that is fed two values."""

    def forward(self, x: Tensor, other: Tensor) -> Any:
        """(N, C, H, W) and (N, 1, H, W) -> what the program returns."""
        return self.run((x, other))


class Builder:
    """Writes a program, and runs every step at once, so that the shapes are known, and who shares memory with whom."""

    def __init__(self, shape: Shape | tuple[Shape, ...]) -> None:
        inputs = inputs_of(shape)
        self.program: Program = (OneInput if len(inputs) == 1 else TwoInputs)(shape).eval()
        self.values: dict[int, Tensor] = dict(enumerate(inputs))
        self.inputs = len(inputs)
        self.read: Counter[int] = Counter()

    def note(self, *features: str) -> None:
        """Counts what occurs."""
        self.program.features.update(features)

    def call(
        self, call: Callable[..., Any] | str | Layer, *args: Any, parts: int = 1, **kwargs: Any
    ) -> int:
        """Adds a step; returns the slot of what it makes, the first of several that follow one another."""
        first = len(self.values)
        self._add(Step(call, args, kwargs, tuple(range(first, first + parts))))
        return first

    def write(
        self, call: Callable[..., Any] | str | Layer, target: int, *args: Any, **kwargs: Any
    ) -> int:
        """Adds a step that is written in place: the target's slot holds the result."""
        self.note("in place")
        self._add(Step(call, (Slot(target), *args), kwargs, (target,)))
        return target

    def layer(self, layer: nn.Module) -> Layer:
        """Puts a layer into the network."""
        name = f"{type(layer).__name__.lower()}{len(self.program.layers)}"
        if isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d | nn.GroupNorm | nn.LayerNorm):
            scramble(layer)
        self.program.layers[name] = layer.eval()
        return Layer(name)

    def apply(self, layer: nn.Module, x: int) -> int:
        """Adds a step that calls a new layer."""
        return self.call(self.layer(layer), Slot(x))

    def weight(self, channels: int) -> Weight:
        """A new parameter that scales channels."""
        name = f"scale{len(self.program.weights)}"
        self.program.weights[name] = nn.Parameter(torch.rand(1, channels, 1, 1) + 0.5)
        return Weight(name)

    def writable(self, slot: int) -> bool:
        """Whether a value may be written in place: it is no input, no view, and nobody has a view of it."""
        own = self.values[slot].untyped_storage()._cdata
        others = [value for number, value in self.values.items() if number != slot]
        return slot >= self.inputs and all(
            value.untyped_storage()._cdata != own for value in others
        )

    def shape(self, slot: int) -> torch.Size:
        """Of the value in a slot."""
        return self.values[slot].shape

    @torch.no_grad()
    def _add(self, step: Step) -> None:
        self.program.steps.append(step)
        self.program.do(step, self.values)
        self.read.update(slots_in((step.args, step.kwargs)))


def slots_in(tree: Any) -> list[int]:
    """Numbers of all slots in the arguments of a step."""
    if isinstance(tree, Slot):
        return [tree.number]
    parts = (
        tree.values() if isinstance(tree, dict) else tree if isinstance(tree, tuple | list) else ()
    )
    return [number for part in parts for number in slots_in(part)]
