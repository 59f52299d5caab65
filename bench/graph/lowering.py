"""Build the graph of a network from its torch.fx nodes and their results on meta tensors.

An operator that writes in place replaces its operand: later readers of the operand read the result.
Weights that the code reads directly are values too, without memory of their own. Nodes that compute
no tensors (shapes, and arithmetic with them) are not operators.
"""

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from bench.contract import Inputs, Shape
from bench.errors import ConfigError
from bench.graph.ir import Graph, NumberArgument, Op, Value
from bench.graph.meta_run import accepts, copy_to_meta, run_nodes
from bench.graph.node_operators import (
    called_layer,
    find_operator,
    operator_name,
    writes_in_place,
)
from bench.graph.operators import Operator
from bench.graph.plain_layers import with_plain_layers
from bench.graph.size_sources import (
    Sizes,
    SizeSources,
    find_size_paths,
    find_tensors,
    list_reads,
)
from bench.graph.source_location import first_line, line_of
from bench.graph.tracing import check_inputs, node_names, trace_module
from bench.graph.tracing_at_shape import AT_SHAPE, relax_checks, trace_at_shape
from bench.units import as_shapes, format_shape

MANY = ("view", "allocate")  # kinds of operators that may have several results
ARGUMENT_ALIASES = {"axis": "dim", "axis0": "dim0", "axis1": "dim1", "self": "input"}


def trace(model: nn.Module, shape: Inputs) -> Graph:
    """Return the graph of a network at an input of (N, C, H, W), or at several inputs.

    Raises:
        ConfigError: the network cannot be traced, does not accept the shape, or uses an operator
            that is not in the table.
    """
    traced, results = _trace_and_run(model, as_shapes(shape))
    return _GraphBuilder(model, traced, results).build()


def write_out_if(
    wants: Callable[[Graph], bool],
    model: nn.Module,
    shape: Inputs,
    examples: Sequence[Tensor] = (),
    shapes: Iterable[Shape] = (),
) -> nn.Module:
    """Return the network as it is, or its form that is traced at a shape.

    That is taken if the network can only be traced so (`bench.graph.tracing_at_shape`), or if it is
    wanted. It shares the layers of the network, and works wherever a network does.

    Args:
        wants: whether it is wanted, given the graph of the network as it is.
        model: not changed.
        shape: at which memory is counted.
        examples: inputs (N, C, H, W) of other sizes at which the network will run.
        shapes: of further inputs; read only if the network decides on sizes.

    Raises:
        ConfigError: the network cannot be traced, does not accept the shape, or decides on the size
            of its input so that it is another network for an example.
    """
    if isinstance(model, GraphModule):
        return model
    traced, results = _trace_and_run(model, as_shapes(shape))
    is_plain = AT_SHAPE not in traced.meta
    if is_plain and not wants(_GraphBuilder(model, traced, results).build()):
        return model
    shapes = list(shapes)
    try:
        if is_plain:
            traced = trace_at_shape(model, as_shapes(shape))
        relax_checks(traced, model, examples, shapes)
    except ConfigError as refused:
        if is_plain:  # as it is, it works at all sizes; less of it can be pruned
            return model
        return _trace_at_example(model, as_shapes(shape), examples, shapes, refused)
    return traced


def _trace_at_example(
    model: nn.Module,
    at: tuple[Shape, ...],
    examples: Sequence[Tensor],
    shapes: list[Shape],
    refused: ConfigError,
) -> GraphModule:
    """Return a network that is traced at an example, and works where memory is counted too.

    Networks may keep a mask for one size and compute that of any other.

    Raises:
        ConfigError: the refusal that is given, if it does not work there.
    """
    if not examples or len(at) > 1:
        raise refused
    try:
        traced = trace_at_shape(model, ((*examples[-1].shape,),))
        relax_checks(traced, model, examples, [*shapes, *at])
    except ConfigError:
        raise refused from None
    traced.meta[AT_SHAPE] = at
    return traced


def _trace_and_run(
    model: nn.Module, shapes: tuple[Shape, ...]
) -> tuple[GraphModule, dict[str, Any]]:
    """Return the traced network, and node name -> its result on meta tensors."""
    if isinstance(model, GraphModule):
        _check_plain_weights(model)
        return model, _run(model, shapes)
    plain = with_plain_layers(model)
    _check_plain_weights(plain)
    if plain is not model:
        at_shape = trace_at_shape(plain, shapes)
        return at_shape, _run(at_shape, shapes)
    try:
        traced = trace_module(model)
    except ConfigError:
        at_shape = trace_at_shape(model, shapes)
        return at_shape, _run(at_shape, shapes)
    check_inputs(type(model).__name__, traced)
    try:
        return traced, _run(traced, shapes)
    except ConfigError as refused:
        try:
            at_shape = trace_at_shape(model, shapes)
            return at_shape, _run(at_shape, shapes)
        except ConfigError:  # the network is at fault, not the way of tracing
            hint = _suggest_shapes(model, shapes)
            raise ConfigError(f"{refused}{hint}") from None


def _suggest_shapes(model: nn.Module, shapes: tuple[Shape, ...]) -> str:
    """Return the end of a message: sizes that are accepted, multiples of a power of two; or ""."""
    if accepts(model, shapes):
        return ""
    for multiple in (2**power for power in range(1, 8)):
        larger = tuple(
            (n, c, -(-h // multiple) * multiple, -(-w // multiple) * multiple)
            for n, c, h, w in shapes
        )
        if larger != shapes and accepts(model, larger):
            return f"; it accepts multiples of {multiple}, such as {format_shape(larger)}"
    return ""


def _check_plain_weights(model: nn.Module) -> None:
    """Raise ConfigError if a layer computes its weight anew at every call."""
    for name, layer in model.named_modules():
        if any(
            type(hook).__module__.startswith("torch.nn.utils")
            for hook in layer._forward_pre_hooks.values()
        ):
            raise ConfigError(
                f"the layer '{name}' computes its weight at every call (weight norm); "
                "take that off first"
            )


def _run(traced: GraphModule, shapes: tuple[Shape, ...]) -> dict[str, Any]:
    """Return node name -> its result on meta tensors.

    Raises:
        ConfigError: the network does not accept the shapes.
    """
    inputs = traced.graph.find_nodes(op="placeholder")
    required = sum(not node.args for node in inputs)  # those without a default
    if not required <= len(shapes) <= len(inputs):
        raise ConfigError(
            f"the network takes {required if len(shapes) < required else len(inputs)} inputs "
            f"({', '.join(str(node.target) for node in inputs)}), "
            f"and {len(shapes)} shapes were given: {format_shape(shapes)}"
        )
    shadow = copy_to_meta(traced)
    try:
        return run_nodes(shadow, shapes)
    except Exception as error:
        raise ConfigError(
            f"the network does not accept an input of {format_shape(shapes)}: {first_line(error)}"
        ) from error


class _GraphBuilder:
    """Builds a Graph from a traced network and the results of its nodes.

    Attributes:
        bound: node -> names of the values that a reader of the node reads now.
        holders: the inverse: names of values -> nodes that are bound to them.
    """

    def __init__(self, model: nn.Module, traced: GraphModule, results: dict[str, Any]) -> None:
        self.model, self.traced, self.results = model, traced, results
        self.values: dict[str, Value] = {}
        self.ops: list[Op] = []
        self.bound: dict[Node, tuple[str, ...]] = {}
        self.holders: dict[tuple[str, ...], list[Node]] = {}
        self.sizes = SizeSources(results)
        self.decisions: dict[str, tuple[tuple[str, int], ...]] = {}

    def build(self) -> Graph:
        """Return the whole graph.

        Raises:
            ConfigError: an operator is not in the table.
        """
        names = node_names(self.traced)
        inputs: list[str] = []
        weights: list[str] = []
        for node in self.traced.graph.nodes:
            if node.target is torch._assert:
                self.decisions[names[node]] = self._name_sizes(self.sizes.find(node))
            if node.op == "output" or not find_tensors(self.results[node.name]):
                continue
            if node.op in ("placeholder", "get_attr"):
                name = names[node] if node.op == "placeholder" else str(node.target)
                (inputs if node.op == "placeholder" else weights).append(name)
                self._bind(node, self._add_values(name, [self.results[node.name]]))
            elif not self._bind_part(node):
                self._add_op(node, names[node])
        output = next(node for node in self.traced.graph.nodes if node.op == "output")
        outputs = [name for read in list_reads(output) for name in self.bound.get(read, ())]
        weights = list(dict.fromkeys(weights))
        return Graph(
            ops=tuple(self.ops),
            values=self.values,
            inputs=tuple(inputs),
            outputs=tuple(dict.fromkeys(outputs)),
            weights=tuple(weights),
            shared=self._find_shared(weights),
            decisions=self.decisions,
            rewritable=isinstance(self.model, GraphModule) and AT_SHAPE in self.model.meta,
        )

    def _find_shared(self, weights: list[str]) -> tuple[str, ...]:
        """Return the layers and weights that share a weight with another one."""
        users: dict[int, set[str]] = {}
        called = {op.layer for op in self.ops if op.layer}
        layers = dict(self.model.named_modules(remove_duplicate=False))
        copied = {
            layer for layer in called if layers.get(layer) is not self.traced.get_submodule(layer)
        }  # of a network that is not written out
        for name, weight in self.traced.named_parameters(remove_duplicate=False):
            for user in (name, name.rpartition(".")[0]):
                if user in called or (user == name and name in weights):
                    users.setdefault(id(weight), set()).add(user)
        return tuple(
            sorted(copied.union(*(sharing for sharing in users.values() if len(sharing) > 1)))
        )

    def _bind_part(self, node: Node) -> bool:
        """Bind a node that only picks some results of a call with several; return whether it does.

        The values of these results have names already.
        """
        whole: Any = node.args[0] if node.target is operator.getitem else None
        if whole is None or isinstance(self.results[whole.name], Tensor):
            return False
        part = self.bound[whole][node.args[1]]  # type: ignore[index]
        self._bind(node, part if isinstance(part, tuple) else (part,))
        return True

    def _bind(self, node: Node, names: tuple[str, ...]) -> None:
        """Let later readers of a node read these values."""
        self.bound[node] = names
        self.holders.setdefault(names, []).append(node)

    def _add_op(self, node: Node, name: str) -> None:
        """Add the operator of a node, and bind the node to its results."""
        rule = self._find_rule(node)
        writes = writes_in_place(self.traced, node) and rule.memory == "elementwise"
        reads = [read for read in list_reads(node) if read in self.bound]
        result = self.results[node.name]
        if rule.memory in ("view", "convert") and reads and result is self.results[reads[0].name]:
            return self._bind(node, self.bound[reads[0]])  # an identity: the same value
        storages = {
            _storage_id(tensor)
            for read in reads
            for tensor in find_tensors(self.results[read.name])
        }
        operands = tuple(value for read in reads for value in self.bound[read])
        makes = self._add_values(name, find_tensors(result))
        self.ops.append(
            Op(
                name,
                rule,
                operands,
                makes,
                layer=str(node.target) if node.op == "call_module" else None,
                written_in_place=writes,
                shares=all(_storage_id(tensor) in storages for tensor in find_tensors(result)),
                arguments=self._read_arguments(node, rule),
                numbers=tuple(
                    NumberArgument(path, number, self._name_sizes(sizes))
                    for path, number, sizes in self.sizes.find_numbers(node)
                ),
                size_paths=find_size_paths(node, rule),
                line=line_of(node),
            )
        )
        if writes:
            for holder in self.holders.pop(self.bound[reads[0]]):
                self._bind(holder, makes)
        self._bind(node, makes)

    def _name_sizes(self, sizes: Sizes) -> tuple[tuple[str, int], ...]:
        """Return (value, axis) for each (node, axis)."""
        return tuple(
            (self.bound[read][0], axis)
            for read, axis in sorted(sizes, key=lambda size: (size[0].name, size[1]))
            if read in self.bound
        )

    def _add_values(self, name: str, tensors: list[Tensor]) -> tuple[str, ...]:
        """Add the values of a node; return their names."""
        if len(tensors) == 1:
            names: tuple[str, ...] = (name,)
        else:
            names = tuple(f"{name}[{part}]" for part in range(len(tensors)))
        for value, tensor in zip(names, tensors, strict=True):
            shape = tuple(tensor.shape)
            dtype = str(tensor.dtype).removeprefix("torch.")
            self.values[value] = Value(value, shape, dtype, math.prod(shape) * tensor.itemsize)
        return names

    def _find_rule(self, node: Node) -> Operator:
        """Return the row of the operator table for a node.

        Raises:
            ConfigError: there is none, or it does not describe several results.
        """
        rule = find_operator(self.traced, node, self.results)
        if rule is None:
            fault = "is not in the table of bench/graph/operators.py"
        elif isinstance(self.results[node.name], tuple | list) and rule.memory not in MANY:
            fault = "gives several results here"
        else:
            return rule
        raise ConfigError(
            f"the operator '{operator_name(self.traced, node)}' "
            f"(at {node.name}{line_of(node)}) {fault}: its memory is not known"
        )

    def _read_arguments(self, node: Node, rule: Operator) -> dict[str, Any]:
        """Return the call arguments or layer attributes that the rule needs, by name."""
        layer = called_layer(self.traced, node)
        if layer is not None:
            return {name: getattr(layer, name) for name in rule.arguments}
        named = {ARGUMENT_ALIASES.get(name, name): value for name, value in node.kwargs.items()}
        given = dict(zip(rule.arguments, node.args, strict=False)) | named
        arguments: dict[str, Any] = {
            name: map_arg(value, lambda read: self.results[read.name])
            for name, value in given.items()
            if name in rule.arguments
        }
        if rule.arguments and rule.arguments[-1].startswith("*"):
            # Sizes or axes, one by one or as a tuple; None where they are computed.
            rest = node.args[len(rule.arguments) - 1 :] or tuple(
                named[name] for name in ("dims", "shape", "size") if name in named
            )
            flat = rest[0] if len(rest) == 1 and isinstance(rest[0], tuple | list) else rest
            arguments[rule.arguments[-1][1:]] = tuple(
                number if isinstance(number, int) else None for number in flat
            )
        return arguments


def _storage_id(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
