"""Elementwise operators write over an operand that nobody reads any more, as planned memory has it.

The network's inputs are never overwritten, they are the caller's, nor are weights. Where PyTorch
has no form of an operator that writes in place, it is applied to a few rows at a time, which are
copied back while they are in the cache.
"""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from bench.lean.alias_analysis import Values, is_part, layer_of, name_of, rule_of

INTO: dict[str, Any] = {  # operators of two tensors that may write over either
    "add": torch.add,
    "sub": torch.sub,
    "subtract": torch.sub,
    "mul": torch.mul,
    "multiply": torch.mul,
    "div": torch.div,
    "divide": torch.div,
    "truediv": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}
ROWS = -2  # the axis along which pieces are cut
PIECES = 64


def overwrite(values: Values) -> list[Node]:
    """Changes the traced network; the elementwise operators that allocate."""
    allocating = []
    for node in list(values.traced.graph.nodes):
        target = overwritten(values, node)
        if target is not None:
            _write_into(values.traced, node, target)
        elif is_elementwise(values, node):
            allocating.append(node)
    values.traced.graph.lint()
    return allocating


def is_elementwise(values: Values, node: Node) -> bool:
    """Whether a node is an elementwise operator that gives a new tensor."""
    rule = rule_of(values.traced, node)
    return (
        rule is not None
        and rule.memory == "elementwise"
        and values.tensor(node) is not None
        and not values.writes(node)
    )


def overwritten(values: Values, node: Node) -> Node | None:
    """The operand that an elementwise operator may overwrite; None if there is none."""
    result = values.tensor(node)
    if result is None or not is_elementwise(values, node):
        return None
    reads: list[Node] = []
    map_arg((node.args, node.kwargs), lambda read: reads.append(read))
    return next((read for read in reads if _may_overwrite(values, node, read, result)), None)


def _may_overwrite(values: Values, node: Node, target: Node, result: Tensor) -> bool:
    operand = values.tensor(target)
    if (
        operand is None
        or (operand.shape, operand.dtype) != (result.shape, result.dtype)
        or _is_expanded(operand)
    ):
        return False
    if any(root.op in ("placeholder", "get_attr") for root in values.roots[target]):
        return False
    if any(
        values.last_read(other) > values.order[node] for other in {target, *values.sharing(target)}
    ):
        return False
    beside = [
        read
        for read in node.all_input_nodes
        if read is not target and values.roots[read] & values.roots[target]
    ]
    return all(_apart(read, target) for read in beside)


def _apart(one: Node, other: Node) -> bool:
    """Whether two values are different parts of one chunk or split."""
    return (
        is_part(one)
        and is_part(other)
        and one.args[0] is other.args[0]
        and one.args[1] != other.args[1]
    )


def _is_expanded(tensor: Tensor) -> bool:
    return any(
        stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True)
    )


def _write_into(traced: GraphModule, node: Node, target: Node) -> None:
    """Makes a node overwrite this operand."""
    layer, name = layer_of(traced, node), name_of(traced, node)
    first = bool(node.args) and node.args[0] is target
    if layer is not None and hasattr(layer, "inplace"):
        writing = copy(layer)
        writing.inplace = True  # type: ignore[assignment]
        node.target = f"{node.name}_in_place"
        traced.add_submodule(node.target, writing)
    elif "inplace" in node.kwargs:
        node.kwargs = {**node.kwargs, "inplace": True}
    elif (
        name in INTO
        and len(node.args) == 2
        and all(isinstance(arg, Node) for arg in node.args)
        and not node.kwargs
    ):
        node.op, node.target, node.kwargs = "call_function", INTO[name], {"out": target}
    elif first and hasattr(Tensor, f"{name}_"):
        node.op, node.target = "call_method", f"{name}_"
    else:
        call: Any = layer or (node.target if node.op == "call_function" else name)
        node.args, node.op, node.target = (
            (target, *node.args),
            "call_module",
            f"{node.name}_in_pieces",
        )
        traced.add_submodule(node.target, InPieces(call))


class InPieces(nn.Module):
    """An elementwise operator that overwrites one of its operands, some rows at a time.

    Args:
        call: a layer, a function, or the name of a tensor method.
    """

    def __init__(self, call: Callable[..., Tensor] | str) -> None:
        super().__init__()
        self.call: Any = call

    def forward(self, target: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Overwrites the target, which is one of the arguments and has the shape and type of the result."""
        if target.ndim < 3:
            return target.copy_(self._called(args, kwargs))
        size = target.shape[ROWS]
        step = max(1, size // PIECES)
        for first in range(0, size, step):
            rows = slice(first, min(first + step, size))
            named = {name: _rows_of(arg, rows, size) for name, arg in kwargs.items()}
            _rows_of(target, rows, size).copy_(
                self._called([_rows_of(arg, rows, size) for arg in args], named)
            )
        return target

    def _called(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
        if isinstance(self.call, str):
            result: Tensor = getattr(args[0], self.call)(*args[1:], **kwargs)
            return result
        return self.call(*args, **kwargs)


def _rows_of(arg: Any, rows: slice, size: int) -> Any:
    """Some rows of a tensor that has all of them; anything else as it is."""
    whole = isinstance(arg, Tensor) and arg.ndim >= 2 and arg.shape[ROWS] == size
    return arg[..., rows, :] if whole else arg
