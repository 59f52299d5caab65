"""Stand-ins for the values of a forward function that is traced at one input shape.

A tensor is a `ValueProxy`, which also has its result on the meta device. Its sizes are numbers that
know how they were computed: `Size` is an int, `Ratio` a float. Arithmetic with them is recorded;
a decision about them (a comparison, a loop count) is taken with their present value and recorded as
a check, so that the traced network refuses an input for which the decision would be another one.
"""

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.fx import Node

from bench.errors import ConfigError
from bench.graph.functions import set_item
from bench.graph.tracing import WritingProxy

ARITHMETIC = ("add", "sub", "mul", "floordiv", "mod", "truediv", "pow")
ONE_OPERAND = {"neg": operator.neg, "ceil": math.ceil, "floor": math.floor}
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
OPPOSITE = {"eq": "ne", "ne": "eq", "lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}


class ValueTracer(Protocol):
    """What stand-ins need of their tracer.

    Attributes:
        values: node -> its value.
    """

    values: dict[Node, Any]

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        """Record a call and return a stand-in for its result."""

    def create_node(self, kind: str, target: Any, args: Any, kwargs: Any) -> Node:
        """Record a call."""

    def check(self, comparison: str, number: "Number", other: Any) -> None:
        """Record that the network is traced for inputs of which a comparison holds."""


class ValueProxy(WritingProxy):
    """A tensor, or a tuple of tensors, while a network is traced at one shape."""

    tracer: Any  # a ValueTracer

    @property
    def value(self) -> Any:
        """The result of the node on the meta device."""
        return self.tracer.values[self.node]

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Return itself: only code that takes what is callable for a function calls a tensor."""
        return self

    def __getattr__(self, name: str) -> Any:
        """Return an attribute or a method of the tensor."""
        if name == "data":
            return self
        attribute = getattr(self.value, name)
        if isinstance(self.value, tuple) and isinstance(attribute, Tensor):  # x.max(1).values
            position = [part is attribute for part in self.value].index(True)
            return self[position]  # type: ignore[index]
        if isinstance(attribute, Tensor | torch.Size | torch.device):
            return self.tracer.create_proxy("call_function", getattr, (self, name), {})
        if callable(attribute):
            return lambda *args, **kwargs: self.tracer.create_proxy(
                "call_method", name, (self, *args), kwargs
            )
        return attribute

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the tensors of a tuple, or over the first axis of a tensor."""
        is_tensor = isinstance(self.value, Tensor)
        count = self.value.shape[0] if is_tensor else len(self.value)
        return (self[position] for position in range(count))  # type: ignore[index]

    def __len__(self) -> int:
        """Return the number of tensors, or the size of the first axis."""
        return int(self.shape[0]) if isinstance(self.value, Tensor) else len(self.value)

    def __setitem__(self, index: Any, content: Any) -> None:
        """Record an assignment; what reads the tensor later reads the result."""
        arguments = (self, index, content)
        self.node = self.tracer.create_proxy("call_function", set_item, arguments, {}).node

    def _refuse(self, *_: Any) -> Any:
        raise ConfigError("it decides on the values in a tensor, which differ between images")

    __bool__ = __int__ = __float__ = __index__ = __contains__ = _refuse


class Number:
    """What `Size` and `Ratio` have in common.

    Attributes:
        tracer: to which the number belongs.
        source: node that computes it, or (node of a shape, axis).
    """

    tracer: "ValueTracer"
    source: Node | tuple[Node, int]

    __hash__ = None  # type: ignore[assignment]  # a cache would outlive the trace

    @property
    def node(self) -> Node:
        """The node that computes the number, made when it is first needed."""
        if not isinstance(self.source, Node):
            shape, axis = self.source
            self.source = self.tracer.create_node(
                "call_function", operator.getitem, (shape, axis), {}
            )
            self.tracer.values[self.source] = self.plain
        return self.source

    @property
    def plain(self) -> Any:
        """The present value, a plain number."""
        return (int if isinstance(self, int) else float).__add__(self, 0)  # type: ignore[operator]

    def settle(self) -> Any:
        """Return the plain number, and record that the network is traced for this one."""
        self.tracer.check("eq", self, self.plain)
        return self.plain

    def __bool__(self) -> bool:
        """Decide whether the number is zero."""
        return bool(self != 0)

    def __round__(self, digits: int | None = None) -> Any:
        return round(self.settle(), digits)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, _: Any) -> Any:
        return self

    __int__ = __index__ = lambda self: int(self.settle())
    __trunc__ = __int__
    __float__ = lambda self: float(self.settle())  # noqa: E731


class Size(Number, int):  # type: ignore[misc]
    """A whole number that is computed from the shapes of tensors."""


class Ratio(Number, float):  # type: ignore[misc]
    """A fraction that is computed from the shapes of tensors."""


def make_number(tracer: "ValueTracer", plain: Any, source: Node | tuple[Node, int]) -> Any:
    """Return a stand-in for a number."""
    number: Any = (Size if isinstance(plain, int) else Ratio)(plain)
    number.tracer, number.source = tracer, source
    return number


def _make_arithmetic(function: Any, is_reflected: bool) -> Callable[[Any, Any], Any]:
    def compute(self: Number, other: Any) -> Any:
        if not isinstance(other, int | float):
            return NotImplemented
        operands = (other, self) if is_reflected else (self, other)
        return self.tracer.create_proxy("call_function", function, operands, {})

    return compute


def _make_comparison(name: str) -> Callable[[Any, Any], Any]:
    function = getattr(operator, name)

    def compare(self: Number, other: Any) -> Any:
        if not isinstance(other, int | float):
            return NotImplemented
        known = other.plain if isinstance(other, Number) else other
        holds = bool(function(self.plain, known))
        self.tracer.check(name if holds else OPPOSITE[name], self, other)
        return holds

    return compare


for _name in ARITHMETIC:
    setattr(Number, f"__{_name}__", _make_arithmetic(getattr(operator, _name), False))
    setattr(Number, f"__r{_name}__", _make_arithmetic(getattr(operator, _name), True))
for _name, _function in ONE_OPERAND.items():
    setattr(
        Number,
        f"__{_name}__",
        lambda self, function=_function: self.tracer.create_proxy(
            "call_function", function, (self,), {}
        ),
    )
for _name in COMPARISONS:
    setattr(Number, f"__{_name}__", _make_comparison(_name))
