"""A network as a graph of operators and values. The only door to torch.fx.

trace(model, shape) follows the forward function symbolically (leaf modules of torch.nn stay whole), then runs it on meta tensors, which
have shapes and no data. Every operator makes one value, which has the operator's name: the path of its layer ("decoder.d1.d11"), with
"#2" for the second call of a layer, or the name that torch.fx gives to a function call ("cat_3").

An operator written in place replaces its operand: later readers of the operand read the result.
"""

import math
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph as FxGraph
from torch.fx import GraphModule, Interpreter, Node, symbolic_trace
from torch.utils.flop_counter import FlopCounterMode

from bench.contract import Shape
from bench.errors import ConfigError
from bench.memory.operators import TABLE, Operator
from bench.units import format_shape

IN_PLACE = {"iadd", "isub", "imul"}


@dataclass(frozen=True)
class Value:
    """What an operator made, or an input of the network.

    Args:
        shape: usually (N, C, H, W).
        dtype: "float32".
        size_bytes: all elements.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    size_bytes: int


@dataclass(frozen=True)
class Op:
    """One call in the forward function, in the order of execution.

    Args:
        name: of the operator and of the value that it makes.
        operator: its name in the operator table ("Conv2d", "cat").
        reads: names of the values that it reads; weights are not values.
        layer: path of the layer that is called, if it is one.
        written_in_place: the code asks for its operand to be overwritten.
    """

    name: str
    operator: str
    reads: tuple[str, ...]
    layer: str | None
    written_in_place: bool

    @property
    def rule(self) -> Operator:
        """Its row of the operator table."""
        return TABLE[self.operator]


@dataclass(frozen=True)
class Graph:
    """Operators in the order of execution, the values by name, and which of them enter and leave the network."""

    ops: tuple[Op, ...]
    values: dict[str, Value]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def readers(self, value: str) -> list[int]:
        """Places in `ops` of all operators that read the value."""
        return [place for place, op in enumerate(self.ops) if value in op.reads]


def trace(model: nn.Module, shape: Shape) -> Graph:
    """The graph of a network at an input of (N, C, H, W).

    Raises:
        ConfigError: it cannot be followed, it does not accept the shape, or it uses an operator that is not in the table.
    """
    traced = trace_module(model)
    names = node_names(traced)
    results = _Shapes(_on_meta(traced)).shapes(shape)
    values: dict[str, Value] = {}
    ops: list[Op] = []
    latest: dict[Node, str] = {}
    for node in _activations(traced.graph):
        name = names[node]
        if node.op != "placeholder":
            operator, in_place = _operator(traced, node)
            ops.append(Op(name, operator, tuple(latest[read] for read in _reads(node)), _layer(node), in_place))
            if in_place:
                latest[node.all_input_nodes[0]] = name
        values[name] = _value(name, results[node.name])
        latest[node] = name
    outputs = next(node for node in traced.graph.nodes if node.op == "output").all_input_nodes
    inputs = tuple(names[node] for node in traced.graph.nodes if node.op == "placeholder")
    return Graph(tuple(ops), values, inputs, tuple(latest[node] for node in outputs))


def trace_module(model: nn.Module) -> GraphModule:
    """The network with its forward function written out; it shares the layers of `model`."""
    if isinstance(model, GraphModule):
        return model
    try:
        return symbolic_trace(model)
    except Exception as error:
        advice = "write its forward without decisions that depend on data"
        raise ConfigError(f"{type(model).__name__} cannot be traced, {advice}: {_first_line(error)}") from error


def count_macs(model: nn.Module, shape: Shape) -> int:
    """Multiply-accumulates of one forward pass at (N, C, H, W), counted by torch's own counter on meta tensors."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        shadow = _on_meta(model)
        shadow(_meta_input(shadow, shape))
    return counter.get_total_flops() // 2


def node_names(traced: GraphModule) -> dict[Node, str]:
    """The name of every node: the path of its layer, "#k" behind it at the k-th call, or torch.fx's name."""
    calls: Counter[str] = Counter()
    names = {}
    for node in traced.graph.nodes:
        calls[str(node.target)] += 1
        times = calls[str(node.target)]
        names[node] = node.name if node.op != "call_module" else f"{node.target}" + (f"#{times}" if times > 1 else "")
    return names


def insert_layer(traced: GraphModule, value: str, layer_name: str, layer: nn.Module, readers: list[str]) -> None:
    """Puts a layer behind a value, in place; only the named readers read its result."""
    nodes = {name: node for node, name in node_names(traced).items()}
    traced.add_submodule(layer_name, layer)
    with traced.graph.inserting_after(nodes[value]):
        inserted = traced.graph.call_module(layer_name, (nodes[value],))
    for reader in readers:
        nodes[reader].replace_input_with(nodes[value], inserted)
    traced.graph.lint()
    traced.recompile()


def _activations(graph: FxGraph) -> Iterator[Node]:
    """Inputs and calls; weights that are read directly (get_attr) are not activations."""
    return (node for node in graph.nodes if node.op in ("placeholder", "call_module", "call_function", "call_method"))


def _reads(node: Node) -> list[Node]:
    return [read for read in node.all_input_nodes if read.op != "get_attr"]


def _layer(node: Node) -> str | None:
    return str(node.target) if node.op == "call_module" else None


def _operator(traced: GraphModule, node: Node) -> tuple[str, bool]:
    """Name in the table, and whether the code asks for it in place. Raises ConfigError if it is not in the table."""
    if node.op == "call_module":
        layer = traced.get_submodule(str(node.target))
        name, in_place = type(layer).__name__, bool(getattr(layer, "inplace", False))
    else:
        written = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        name = written.rstrip("_")
        in_place = written.endswith("_") or name in IN_PLACE or bool(node.kwargs.get("inplace", False))
    if name not in TABLE:
        raise ConfigError(
            f"the operator '{name}' (at {node.name}) is not in the table of bench/memory/operators.py: its memory is not known"
        )
    return name, in_place


def _value(name: str, result: Any) -> Value:
    if not isinstance(result, Tensor):
        raise ConfigError(f"'{name}' gives a {type(result).__name__}, not a tensor; its memory is not known")
    return Value(name, tuple(result.shape), str(result.dtype).removeprefix("torch."), math.prod(result.shape) * result.itemsize)


def _on_meta(model: nn.Module) -> nn.Module:
    """A copy in eval mode whose weights have shapes and no data; nothing is copied in between."""
    tensors = [*model.parameters(), *model.buffers()]
    shadows = [torch.empty_like(tensor, device="meta") for tensor in tensors]
    memo: dict[int, Any] = {
        id(tensor): nn.Parameter(shadow, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else shadow
        for tensor, shadow in zip(tensors, shadows, strict=True)
    }
    return deepcopy(model, memo).eval()


class _Shapes(Interpreter):
    """Runs a traced network node by node and keeps the result of each."""

    def shapes(self, shape: Shape) -> dict[str, Any]:
        """Node name -> meta tensor. Raises ConfigError if the network does not accept (N, C, H, W)."""
        self.results: dict[str, Any] = {}
        try:
            with torch.no_grad():
                self.run(_meta_input(self.module, shape))
        except Exception as error:
            raise ConfigError(f"the network does not accept an input of {format_shape(shape)}: {_first_line(error)}") from error
        return self.results

    def run_node(self, node: Node) -> Any:
        """The result of one node, kept by its name."""
        self.results[node.name] = super().run_node(node)
        return self.results[node.name]


def _meta_input(model: nn.Module, shape: Shape) -> Tensor:
    return torch.empty(shape, device="meta", dtype=next((weight.dtype for weight in model.parameters()), torch.float32))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]
