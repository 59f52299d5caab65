"""Rewrite the numbers in the calls of a traced network, in place or for a while.

A forward function that writes `x.view(b, heads, c // heads, h * w)` knows the number of channels.
Its traced form (`bench.graph.tracing_at_shape`) has the number, or its computation, as an argument.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from torch.fx import GraphModule

from bench.graph.size_sources import Path
from bench.graph.tracing import node_names

RESHAPES = ("view", "reshape")


def rewrite_numbers(traced: GraphModule, numbers: Mapping[tuple[str, Path], float]) -> None:
    """Replace numbers in the calls of a network.

    A size of a reshape that has no other -1 becomes -1, which keeps it visible that it is computed.

    Args:
        traced: changed.
        numbers: (operator, path of the number in its arguments) -> the new number.
    """
    nodes = {name: node for node, name in node_names(traced).items()}
    for (name, path), number in numbers.items():
        node, (first, *rest) = nodes[name], path
        is_free = node.target in RESHAPES and -1 not in _flatten(node.args[1:])
        new = -1 if is_free and number != 1 else number
        if isinstance(first, str):
            node.kwargs = {**node.kwargs, first: _replace(node.kwargs[first], rest, new)}
        else:
            node.args = _replace(node.args, [first, *rest], new)
    traced.recompile()


def forward_with_numbers(
    traced: GraphModule, numbers: Mapping[tuple[str, Path], float]
) -> Callable[..., Any]:
    """Return the forward function that a network would have with other numbers, see above."""
    twin = GraphModule(traced, deepcopy(traced.graph))
    rewrite_numbers(twin, numbers)
    forward: Callable[..., Any] = type(twin).forward
    return forward


@contextmanager
def run_forward(traced: GraphModule, forward: Callable[..., Any]) -> Iterator[None]:
    """Let a traced network run another forward function inside the context."""
    cls: Any = type(traced)  # of this network alone
    before = cls.forward
    cls.forward = forward
    try:
        yield
    finally:
        cls.forward = before


def _replace(content: Any, path: Sequence[int | str], number: float) -> Any:
    """Return a nested argument with the number at a path replaced."""
    if not path:
        return number
    first, *rest = path
    if isinstance(content, slice):
        ends = {name: getattr(content, name) for name in ("start", "stop", "step")}
        return slice(*(ends | {str(first): number}).values())
    changed: list[Any] = list(content)
    changed[int(first)] = _replace(content[first], rest, number)
    return changed if isinstance(content, list) else tuple(changed)


def _flatten(content: Any) -> list[Any]:
    if isinstance(content, tuple | list):
        return [item for part in content for item in _flatten(part)]
    return [content]
