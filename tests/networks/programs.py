"""Networks that are lists of steps, and a builder that writes such a list while it runs it.

A program works on numbered slots, which hold values. A step calls a function, a tensor method or a
layer on the values of some slots, and puts the result into another slot, or into the same one if it
writes in place. The list is constant, so that torch.fx can trace the network.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tests.networks.public import Shape, random_inputs, scramble


@dataclass(frozen=True)
class Slot:
    """Placeholder for the value in a slot, in the arguments of a step."""

    number: int


@dataclass(frozen=True)
class Weight:
    """Placeholder for a parameter of the network, in the arguments of a step."""

    name: str


@dataclass(frozen=True)
class Layer:
    """Placeholder for a layer of the network that a step calls."""

    name: str


@dataclass(frozen=True)
class Step:
    """One call.

    Args:
        call: a function, the name of a tensor method, or a layer.
        args, kwargs: may contain Slots and Weights.
        makes: the slots of its results; several if it returns a tuple.
    """

    call: Callable[..., Any] | str | Layer
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    makes: tuple[int, ...]


class Program(nn.Module):
    """A network that runs its steps one after another.

    Args:
        shape: of the input, or of the inputs in the order of the arguments.

    Attributes:
        features: name of each kind of operator or structure in it -> how often it occurs.
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
        """Run all steps; return the result."""
        slots: dict[int, Any] = dict(enumerate(inputs))
        for step in self.steps:
            self.run_step(step, slots)
        return self.substitute(self.result, slots)

    def run_step(self, step: Step, slots: dict[int, Any]) -> None:
        """Run one step."""
        args = self.substitute(step.args, slots)
        kwargs = self.substitute(step.kwargs, slots)
        if isinstance(step.call, Layer):
            result = self.layers[step.call.name](*args, **kwargs)
        elif isinstance(step.call, str):
            result = getattr(args[0], step.call)(*args[1:], **kwargs)
        else:
            result = step.call(*args, **kwargs)
        if len(step.makes) == 1:
            slots[step.makes[0]] = result
        else:
            slots.update({number: result[part] for part, number in enumerate(step.makes)})

    def substitute(self, tree: Any, slots: dict[int, Any]) -> Any:
        """Return nested arguments with values in place of Slots and Weights."""
        if isinstance(tree, Slot):
            return slots[tree.number]
        if isinstance(tree, Weight):
            return self.weights[tree.name]
        if isinstance(tree, tuple | list):
            return type(tree)(self.substitute(leaf, slots) for leaf in tree)
        if isinstance(tree, dict):
            return {name: self.substitute(leaf, slots) for name, leaf in tree.items()}
        return tree


class OneInput(Program):
    """A program with one input."""

    def forward(self, x: Tensor) -> Any:
        """(N, C, H, W) -> what the program returns."""
        return self.run((x,))


class TwoInputs(Program):
    """A program with two inputs."""

    def forward(self, x: Tensor, other: Tensor) -> Any:
        """(N, C, H, W) and (N, 1, H, W) -> what the program returns."""
        return self.run((x, other))


class Builder:
    """Writes a program, and runs each step at once, so that shapes and shared memory are known."""

    def __init__(self, shape: Shape | tuple[Shape, ...]) -> None:
        inputs = random_inputs(shape)
        self.program: Program = (OneInput if len(inputs) == 1 else TwoInputs)(shape).eval()
        self.values: dict[int, Tensor] = dict(enumerate(inputs))
        self.inputs = len(inputs)
        self.read: Counter[int] = Counter()

    def note(self, *features: str) -> None:
        """Count features of the program."""
        self.program.features.update(features)

    def call(
        self, call: Callable[..., Any] | str | Layer, *args: Any, parts: int = 1, **kwargs: Any
    ) -> int:
        """Add a step; return the slot of its result, the first of `parts` consecutive slots."""
        first = len(self.values)
        self._add(Step(call, args, kwargs, tuple(range(first, first + parts))))
        return first

    def write(
        self, call: Callable[..., Any] | str | Layer, target: int, *args: Any, **kwargs: Any
    ) -> int:
        """Add a step that writes in place: the slot of the target holds the result."""
        self.note("in place")
        self._add(Step(call, (Slot(target), *args), kwargs, (target,)))
        return target

    def add_layer(self, layer: nn.Module) -> Layer:
        """Add a layer to the network."""
        name = f"{type(layer).__name__.lower()}{len(self.program.layers)}"
        if isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d | nn.GroupNorm | nn.LayerNorm):
            scramble(layer)
        self.program.layers[name] = layer.eval()
        return Layer(name)

    def apply(self, layer: nn.Module, x: int) -> int:
        """Add a step that calls a new layer."""
        return self.call(self.add_layer(layer), Slot(x))

    def add_weight(self, channels: int) -> Weight:
        """Add a parameter that scales channels."""
        name = f"scale{len(self.program.weights)}"
        self.program.weights[name] = nn.Parameter(torch.rand(1, channels, 1, 1) + 0.5)
        return Weight(name)

    def is_writable(self, slot: int) -> bool:
        """Return whether a value may be written in place: no input, no view, and not viewed."""
        own = self.values[slot].untyped_storage()._cdata
        others = [value for number, value in self.values.items() if number != slot]
        is_shared = any(value.untyped_storage()._cdata == own for value in others)
        return slot >= self.inputs and not is_shared

    def shape(self, slot: int) -> torch.Size:
        """Return the shape of the value in a slot."""
        return self.values[slot].shape

    @torch.no_grad()
    def _add(self, step: Step) -> None:
        self.program.steps.append(step)
        self.program.run_step(step, self.values)
        self.read.update(list_slots((step.args, step.kwargs)))


def list_slots(tree: Any) -> list[int]:
    """Return the numbers of all slots in the arguments of a step."""
    if isinstance(tree, Slot):
        return [tree.number]
    if isinstance(tree, dict):
        tree = list(tree.values())
    leaves = tree if isinstance(tree, tuple | list) else ()
    return [number for leaf in leaves for number in list_slots(leaf)]
