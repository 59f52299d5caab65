"""Let elementwise operators overwrite an operand that is not read any more, as the plan does.

Network inputs, which belong to the caller, and weights are never overwritten. An operator that
PyTorch has no in-place form of is applied to a few rows at a time, and these are copied back while
they are in the cache.
"""

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
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
READ_CHANNELS = ("prelu", "batch_norm")  # functions with an entry for each channel, which is axis 1


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
        or _overlaps_itself(operand)
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


def _overlaps_itself(tensor: Tensor) -> bool:
    """Return whether elements of a view may share memory, if expanded or of windows (`unfold`)."""
    reach = 0  # of the axes so far
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride <= reach:
            return True
        reach += (size - 1) * stride
    return False


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
        self.reads_channels = getattr(call, "__name__", call) in READ_CHANNELS or (
            isinstance(call, nn.Module) and bool(call.state_dict())
        )

    def forward(self, target: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Overwrite the target, one of the arguments, which has the result's shape and type."""
        if target.ndim < 3:
            return target.copy_(self._apply_call(args, kwargs))
        axis = -1 if self.reads_channels and target.ndim == 3 else ROW_AXIS
        size = target.shape[axis]
        step = max(1, size // PIECES)
        for first in range(0, size, step):
            rows = partial(_slice_rows, axis=axis, first=first, stop=first + step, size=size)
            named = {name: rows(arg) for name, arg in kwargs.items()}
            rows(target).copy_(self._apply_call([rows(arg) for arg in args], named))
        return target

    def _apply_call(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
        if isinstance(self.call, str):
            result: Tensor = getattr(args[0], self.call)(*args[1:], **kwargs)
            return result
        return self.call(*args, **kwargs)


def _slice_rows(arg: Any, axis: int, first: int, stop: int, size: int) -> Any:
    """Return some rows of a tensor that has all of them; return anything else unchanged."""
    has_all_rows = isinstance(arg, Tensor) and arg.ndim >= 2 and arg.shape[axis] == size
    return arg.narrow(axis, first, min(stop, size) - first) if has_all_rows else arg
