"""Let elementwise operators overwrite an operand that is not read any more, as the plan does.

Network inputs, which belong to the caller, and weights are never overwritten. An operator that
PyTorch has no in-place form of is applied to a few rows at a time, and these are copied back while
they are in the cache.
"""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from bench.graph.node_operators import called_layer, find_operator, operator_name
from bench.lean.alias_analysis import AliasAnalysis, is_part

OUT_FUNCTIONS: dict[str, Any] = {  # operators of two tensors that may write over either
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
ROW_AXIS = -2  # along which pieces are cut
PIECES = 64


def overwrite_operands(analysis: AliasAnalysis) -> None:
    """Change the traced network so that elementwise operators allocate nothing, where they may."""
    for node in list(analysis.traced.graph.nodes):
        target = find_overwritable(analysis, node)
        if target is not None:
            _write_into(analysis.traced, node, target)
    analysis.traced.graph.lint()


def is_elementwise(analysis: AliasAnalysis, node: Node) -> bool:
    """Return whether a node is an elementwise operator that makes a new tensor."""
    rule = find_operator(analysis.traced, node)
    return (
        rule is not None
        and rule.memory == "elementwise"
        and analysis.tensor(node) is not None
        and not analysis.writes_in_place(node)
    )


def find_overwritable(analysis: AliasAnalysis, node: Node) -> Node | None:
    """Return the first operand that an elementwise operator may overwrite, or None."""
    result = analysis.tensor(node)
    if result is None or not is_elementwise(analysis, node):
        return None
    reads: list[Node] = []
    map_arg((node.args, node.kwargs), lambda read: reads.append(read))
    return next((read for read in reads if _may_overwrite(analysis, node, read, result)), None)


def _may_overwrite(analysis: AliasAnalysis, node: Node, target: Node, result: Tensor) -> bool:
    operand = analysis.tensor(target)
    if (
        operand is None
        or (operand.shape, operand.dtype) != (result.shape, result.dtype)
        or _is_expanded(operand)
    ):
        return False
    if any(root.op in ("placeholder", "get_attr") for root in analysis.roots[target]):
        return False
    if any(
        analysis.last_read(alias) > analysis.order[node]
        for alias in {target, *analysis.aliases(target)}
    ):
        return False
    aliased_operands = [
        read
        for read in node.all_input_nodes
        if read is not target and analysis.roots[read] & analysis.roots[target]
    ]
    return all(_are_different_parts(read, target) for read in aliased_operands)


def _are_different_parts(first: Node, second: Node) -> bool:
    """Return whether two values are different parts of one chunk or split."""
    return (
        is_part(first)
        and is_part(second)
        and first.args[0] is second.args[0]
        and first.args[1] != second.args[1]
    )


def _is_expanded(tensor: Tensor) -> bool:
    return any(
        stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True)
    )


def _write_into(traced: GraphModule, node: Node, target: Node) -> None:
    """Change a node so that it overwrites this operand."""
    layer = called_layer(traced, node)
    name = operator_name(traced, node)
    is_first = bool(node.args) and node.args[0] is target
    if layer is not None and hasattr(layer, "inplace"):
        in_place = copy(layer)
        in_place.inplace = True  # type: ignore[assignment]
        node.target = f"{node.name}_in_place"
        traced.add_submodule(node.target, in_place)
    elif "inplace" in node.kwargs:
        node.kwargs = {**node.kwargs, "inplace": True}
    elif (
        name in OUT_FUNCTIONS
        and len(node.args) == 2
        and all(isinstance(arg, Node) for arg in node.args)
        and not node.kwargs
    ):
        node.op = "call_function"
        node.target = OUT_FUNCTIONS[name]
        node.kwargs = {"out": target}
    elif is_first and hasattr(Tensor, f"{name}_"):
        node.op = "call_method"
        node.target = f"{name}_"
    else:
        call: Any = layer or (node.target if node.op == "call_function" else name)
        node.args = (target, *node.args)
        node.op = "call_module"
        node.target = f"{node.name}_in_pieces"
        traced.add_submodule(node.target, PiecewiseOperator(call))


class PiecewiseOperator(nn.Module):
    """An elementwise operator that overwrites one of its operands, a few rows at a time.

    Args:
        call: a layer, a function, or the name of a tensor method.
    """

    def __init__(self, call: Callable[..., Tensor] | str) -> None:
        super().__init__()
        self.call: Any = call

    def forward(self, target: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Overwrite the target, one of the arguments, which has the result's shape and type."""
        if target.ndim < 3:
            return target.copy_(self._apply_call(args, kwargs))
        size = target.shape[ROW_AXIS]
        step = max(1, size // PIECES)
        for first in range(0, size, step):
            rows = slice(first, min(first + step, size))
            named = {name: _slice_rows(arg, rows, size) for name, arg in kwargs.items()}
            _slice_rows(target, rows, size).copy_(
                self._apply_call([_slice_rows(arg, rows, size) for arg in args], named)
            )
        return target

    def _apply_call(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
        if isinstance(self.call, str):
            result: Tensor = getattr(args[0], self.call)(*args[1:], **kwargs)
            return result
        return self.call(*args, **kwargs)


def _slice_rows(arg: Any, rows: slice, size: int) -> Any:
    """Return some rows of a tensor that has all of them; return anything else unchanged."""
    has_all_rows = isinstance(arg, Tensor) and arg.ndim >= 2 and arg.shape[ROW_AXIS] == size
    return arg[..., rows, :] if has_all_rows else arg
