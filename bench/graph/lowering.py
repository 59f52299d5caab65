"""From a network to its graph: torch.fx's nodes, run on meta tensors (which have shapes and no data), as operators and values.

An operator written in place replaces its operand: later readers of the operand read the result.
Weights that the code reads directly are values too, without memory of their own. What is not made
of tensors (shapes, and arithmetic with them) is no operator.
"""

import math
import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import map_arg

from bench.contract import Inputs, Shape
from bench.errors import ConfigError
from bench.graph.ir import Graph, Op, Value
from bench.graph.operators import CALLS, LAYERS, STATISTICS, Operator
from bench.graph.source_location import first_line, user_line
from bench.graph.tracing import (
    FaithfulTracer,
    meta_inputs,
    node_names,
    on_meta,
    torch_layer,
    trace_module,
)
from bench.units import format_shape, shapes_of

OTHER_NAMES = {"axis": "dim", "axis0": "dim0", "axis1": "dim1"}  # of arguments
WRITING = ("iadd", "isub", "imul", "itruediv")  # `x += y` and its like


def trace(model: nn.Module, shape: Inputs) -> Graph:
    """The graph of a network at an input of (N, C, H, W), or at several inputs.

    Raises:
        ConfigError: it cannot be followed, it does not accept the shape, or it uses an operator
            that is not in the table.
    """
    for name, layer in model.named_modules():
        if any(
            type(hook).__module__.startswith("torch.nn.utils")
            for hook in layer._forward_pre_hooks.values()
        ):
            raise ConfigError(
                f"the layer '{name}' computes its weight at every call (weight or spectral norm); take that off first"
            )
    traced = trace_module(model)
    return _Reading(model, traced, _results(traced, shapes_of(shape))).graph()


class _Results(Interpreter):
    """Runs a traced network node by node and keeps the result of each."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.results: dict[str, Any] = {}

    def run_node(self, n: Node) -> Any:
        """The result of one node, kept by its name."""
        self.results[n.name] = result = super().run_node(n)
        return result


def _results(traced: GraphModule, shapes: tuple[Shape, ...]) -> dict[str, Any]:
    """Node name -> what it gives on meta tensors.

    Raises ConfigError if the network does not accept the shapes.
    """
    asked = [node for node in traced.graph.nodes if node.op == "placeholder"]
    if len(shapes) > len(asked):
        raise ConfigError(
            f"the network takes {len(asked)} inputs, and {len(shapes)} shapes were given: {format_shape(shapes)}"
        )
    shadow = on_meta(traced)
    runner = _Results(shadow)  # type: ignore[arg-type]
    try:
        with torch.no_grad():
            runner.run(*meta_inputs(shadow, shapes))
    except Exception as error:
        raise ConfigError(
            f"the network does not accept an input of {format_shape(shapes)}: {first_line(error)}"
        ) from error
    return runner.results


class _Reading:
    """Reads a torch.fx graph, with the results of its nodes, as a Graph."""

    def __init__(self, model: nn.Module, traced: GraphModule, results: dict[str, Any]) -> None:
        self.model, self.traced, self.results = model, traced, results
        self.values: dict[str, Value] = {}
        self.ops: list[Op] = []
        self.made: dict[
            Node, tuple[str, ...]
        ] = {}  # names of the values of a node, as its readers find them now
        self.holders: dict[tuple[str, ...], list[Node]] = {}  # the same, the other way round

    def graph(self) -> Graph:
        """The whole graph. Raises ConfigError for an operator that is not in the table."""
        names = node_names(self.traced)
        inputs: list[str] = []
        weights: list[str] = []
        for node in self.traced.graph.nodes:
            if node.op == "output" or not _tensors(self.results[node.name]):
                continue
            if str(node.target).startswith("_tensor_constant"):
                raise ConfigError(
                    f"a tensor is made in forward ({node.name}{self._place(node)}): not followed; register it as a buffer"
                )
            if node.op in ("placeholder", "get_attr"):
                name = names[node] if node.op == "placeholder" else str(node.target)
                (inputs if node.op == "placeholder" else weights).append(name)
                self._hold(node, self._keep(name, [self.results[node.name]]))
            elif not self._is_part(node):
                self._call(node, names[node])
        outputs = _reads(next(node for node in self.traced.graph.nodes if node.op == "output"))
        left = dict.fromkeys(name for node in outputs for name in self.made.get(node, ()))
        weights = list(dict.fromkeys(weights))
        return Graph(
            tuple(self.ops),
            self.values,
            tuple(inputs),
            tuple(left),
            tuple(weights),
            self._shared(weights),
        )

    def _shared(self, weights: list[str]) -> tuple[str, ...]:
        """Which layers and weights have a weight in common with another one."""
        users: dict[int, set[str]] = {}
        called = {op.layer for op in self.ops}
        for name, weight in self.traced.named_parameters(remove_duplicate=False):
            for user in (name, name.rpartition(".")[0]):
                if user in called or (user == name and name in weights):
                    users.setdefault(id(weight), set()).add(user)
        return tuple(
            sorted({user for sharing in users.values() if len(sharing) > 1 for user in sharing})
        )

    def _is_part(self, node: Node) -> bool:
        """Whether a node only takes some of the values of a call that made several; their names are known."""
        whole: Any = node.args[0] if node.target is operator.getitem else None
        if whole is None or isinstance(self.results[whole.name], Tensor):
            return False
        part = self.made[whole][node.args[1]]  # type: ignore[index]
        self._hold(node, part if isinstance(part, tuple) else (part,))
        return True

    def _hold(self, node: Node, names: tuple[str, ...]) -> None:
        """From now on, who reads this node reads these values."""
        self.made[node] = names
        self.holders.setdefault(names, []).append(node)

    def _call(self, node: Node, name: str) -> None:
        rule, writes = self._rule(node)
        reads, result = (
            [read for read in _reads(node) if read in self.made],
            self.results[node.name],
        )
        if (
            rule.memory == "view" and reads and result is self.results[reads[0].name]
        ):  # an identity: another name of the same value
            return self._hold(node, self.made[reads[0]])
        homes = {_storage(tensor) for read in reads for tensor in _tensors(self.results[read.name])}
        found = tuple(name for read in reads for name in self.made[read])
        makes = self._keep(name, _tensors(result))
        shares = all(_storage(tensor) in homes for tensor in _tensors(result))
        layer = str(node.target) if node.op == "call_module" else None
        sizes = tuple(
            (self.made[read][0], axis) for read, axis in self._sizes(node) if read in self.made
        )
        self.ops.append(
            Op(name, rule, found, makes, layer, writes, shares, self._arguments(node, rule), sizes)
        )
        if writes:
            for holder in self.holders.pop(self.made[reads[0]]):
                self._hold(holder, makes)
        self._hold(node, makes)

    def _sizes(self, node: Node) -> set[tuple[Node, int]]:
        """(tensor, axis) of every size that numbers among the arguments of a node were computed from."""
        found: set[tuple[Node, int]] = set()
        for number in _reads(node):
            if not _tensors(self.results[number.name]):
                found |= self._sizes_in(number)
        return found

    def _sizes_in(self, number: Node) -> set[tuple[Node, int]]:
        """The same for a node that is no tensor itself; of x.shape[1] it is (x, 1), of x.shape every axis."""
        source: Any = number.args[0] if number.args else None
        shape = isinstance(source, Node) and bool(_tensors(self.results[source.name]))
        if shape and number.target in ("size", getattr):
            axes = list(range(self.results[source.name].ndim))
            axis = (
                number.args[1] if number.target == "size" and len(number.args) > 1 else slice(None)
            )
            return {(source, each) for each in _picked(axes, axis)}
        if (
            number.target is operator.getitem
            and isinstance(source, Node)
            and source.target in ("size", getattr)
        ):
            axes = sorted(axis for _, axis in self._sizes_in(source))
            return {(source.args[0], each) for each in _picked(axes, number.args[1])}  # type: ignore[misc]
        return self._sizes(number)

    def _keep(self, name: str, tensors: list[Tensor]) -> tuple[str, ...]:
        """Notes the values of a node; returns their names."""
        names = (
            (name,)
            if len(tensors) == 1
            else tuple(f"{name}[{part}]" for part in range(len(tensors)))
        )
        for each, tensor in zip(names, tensors, strict=True):
            size_bytes = math.prod(tensor.shape) * tensor.itemsize
            self.values[each] = Value(
                each, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), size_bytes
            )
        return names

    def _rule(self, node: Node) -> tuple[Operator, bool]:
        """The row of the table, and whether the code asks for it in place.

        Raises ConfigError if there is no row.
        """
        if node.op == "call_module":
            layer = self.traced.get_submodule(str(node.target))
            written = torch_layer(layer) or type(layer).__name__
            writes = bool(getattr(layer, "inplace", False))
            table = STATISTICS if getattr(layer, "track_running_stats", True) is False else LAYERS
        else:
            written, table = (
                node.target
                if isinstance(node.target, str)
                else getattr(node.target, "__name__", str(node.target)),
                CALLS,
            )
            writes = (
                written.endswith("_") or written in WRITING or node.kwargs.get("inplace") is True
            )
        rule = table.get(
            "gather"
            if written == "getitem" and not self._is_plain(node.args[1])
            else written.rstrip("_")
        )
        if rule is None or (
            isinstance(self.results[node.name], tuple | list) and rule.memory != "view"
        ):
            fault = (
                "is not in the table of bench/graph/operators.py"
                if rule is None
                else "gives several results here"
            )
            raise ConfigError(
                f"the operator '{written}' (at {node.name}{self._place(node)}) {fault}: its memory is not known"
            )
        return rule, writes and rule.memory == "elementwise"

    def _is_plain(self, index: Any) -> bool:
        """Whether x[index] only takes slices, so that it is a view."""
        parts = index if isinstance(index, tuple) else (index,)
        known = [self.results[part.name] if isinstance(part, Node) else part for part in parts]
        return all(
            part is None or part is Ellipsis or isinstance(part, int | slice) for part in known
        )

    def _arguments(self, node: Node, rule: Operator) -> dict[str, Any]:
        if node.op == "call_module":
            layer = self.traced.get_submodule(str(node.target))
            return {name: getattr(layer, name) for name in rule.arguments}
        named = {OTHER_NAMES.get(name, name): value for name, value in node.kwargs.items()}
        given = dict(zip(rule.arguments, node.args, strict=False)) | named
        given = {
            name: map_arg(value, lambda read: self.results[read.name])
            for name, value in given.items()
            if name in rule.arguments
        }
        if rule.arguments and rule.arguments[-1].startswith(
            "*"
        ):  # sizes and axes, one by one or as a tuple; None where they are computed
            rest = node.args[len(rule.arguments) - 1 :] or tuple(
                named[name] for name in ("dims", "shape", "size") if name in named
            )
            flat = rest[0] if len(rest) == 1 and isinstance(rest[0], tuple | list) else rest
            given[rule.arguments[-1][1:]] = tuple(
                each if isinstance(each, int) else None for each in flat
            )
        return given

    def _place(self, node: Node) -> str:
        """ ", net.py:12": where a node stands in the user's code, found by tracing once more with an eye on the lines."""
        if isinstance(self.model, GraphModule):
            return ""
        watching = FaithfulTracer()
        watching.record_stack_traces = True
        again = zip(self.traced.graph.nodes, watching.trace(self.model).nodes, strict=True)
        return next(user_line(twin.stack_trace or "") for one, twin in again if one is node)


def _reads(node: Node) -> list[Node]:
    """The nodes that a node reads, in the order of its arguments, each as often as it stands there."""
    found: list[Node] = []
    map_arg((node.args, node.kwargs), lambda read: found.append(read))
    return found


def _picked(axes: list[int], which: Any) -> list[int]:
    """The axes that an index of a shape picks; all where that is not known."""
    if isinstance(which, slice) and any(
        isinstance(end, Node) for end in (which.start, which.stop, which.step)
    ):
        return axes
    picked = axes[which] if isinstance(which, int | slice) else axes
    return picked if isinstance(picked, list) else [picked]


def _tensors(result: Any) -> list[Tensor]:
    parts = result if isinstance(result, tuple | list) else (result,)
    return [part for part in parts if isinstance(part, Tensor)]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
