"""Write out the forward function of a network by torch.fx, which runs it symbolically.

Layers of torch.nn stay whole. `bench.graph.lowering` builds a graph from the result. Only
`bench.graph`, `bench.lean` and `bench.export` import torch.fx.
"""

import operator
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node, Proxy, Tracer

from bench.errors import ConfigError
from bench.graph.source_location import calling_user_line, first_line, first_user_line
from bench.torch_state import eval_mode

_running: list[Tracer] = []  # the tracers that are at work


def is_tracing() -> bool:
    """Return whether a trace is running in this process.

    torch.fx patches `nn.Module` for as long as it traces. An exception out of a signal handler may
    hit it while it takes the patch back, and then no network runs or traces any more.
    """
    return bool(_running)


def trace_module(model: nn.Module) -> GraphModule:
    """Return the network with its forward function written out, as it runs in eval mode.

    It shares the layers of `model`, and is in its mode.

    Raises:
        ConfigError: the network cannot be traced.
    """
    if isinstance(model, GraphModule):
        return model
    try:
        with eval_mode(model), restore_attributes(model):
            graph = _drop_unread_extras(FaithfulTracer().trace(model))
        return GraphModule(model, graph, type(model).__name__)
    except Exception as error:
        raise ConfigError(
            f"{type(model).__name__} cannot be traced{first_user_line(error)}, "
            f"write its forward without decisions that depend on data: {first_line(error)}"
        ) from error


def _drop_unread_extras(graph: Graph) -> Graph:
    """Remove `*args` and `**kwargs` that the forward function takes and does not read."""
    for node in graph.find_nodes(op="placeholder"):
        if str(node.target).startswith("*") and not node.users:
            graph.erase_node(node)
    return graph


@contextmanager
def restore_attributes(model: nn.Module) -> Iterator[None]:
    """Take back, at the end, what its forward function assigns to a network, or keeps in lists.

    While it is traced, that is a stand-in for a value, with which the network no longer runs.
    """
    before = [
        (module, dict(vars(module)), [(held, copy(held)) for held in _containers(module)])
        for module in model.modules()
    ]
    try:
        yield
    finally:
        for module, attributes, containers in before:
            vars(module).clear()
            vars(module).update(attributes)
            for held, content in containers:
                held.clear()
                (held.extend if isinstance(held, list) else held.update)(content)


def _containers(module: nn.Module) -> list[Any]:
    """Return the attributes that are lists, dictionaries or sets, such as those of the layers."""
    return [value for value in vars(module).values() if isinstance(value, list | dict | set)]


def check_inputs(name: str, traced: GraphModule) -> None:
    """Raise ConfigError if a traced network reads `*args` or `**kwargs`; their number is unknown.

    Args:
        name: for the message.
        traced: from `trace_module`, which drops those that are not read.
    """
    for node in traced.graph.find_nodes(op="placeholder"):
        if str(node.target).startswith("*") and node.users:
            raise ConfigError(
                f"the forward of {name} reads its inputs from {node.target}; "
                "give each input a name of its own"
            )


def node_names(traced: GraphModule) -> dict[Node, str]:
    """Return the name of every node.

    A node that calls a layer has the path of the layer, followed by "#k" at the k-th call. Any
    other node has its torch.fx name, followed by "()" if a layer has that name.
    """
    taken = {
        str(node.target) for node in traced.graph.nodes if node.op in ("call_module", "get_attr")
    }
    calls: Counter[str] = Counter()
    names = {}
    for node in traced.graph.nodes:
        if node.op == "call_module":
            calls[node.target] += 1
            names[node] = node.target + (f"#{calls[node.target]}" if calls[node.target] > 1 else "")
        else:
            names[node] = node.name + ("()" if node.name in taken else "")
    return names


def insert_layer(
    traced: GraphModule,
    value: str,
    layer_name: str,
    layer: nn.Module,
    readers: list[str],
    late: bool = False,
) -> None:
    """Insert a layer behind a value, in place.

    Args:
        traced: changed.
        value: name of the node that the layer reads.
        layer_name: path of the new layer.
        layer: the new layer.
        readers: names of the nodes that read the result of the layer instead of the value.
        late: run the layer right before the first reader instead of right after the value.
    """
    nodes = {name: node for node, name in node_names(traced).items()}
    traced.add_submodule(layer_name, layer)
    with (
        traced.graph.inserting_before(nodes[readers[0]])
        if late
        else traced.graph.inserting_after(nodes[value])
    ):
        inserted = traced.graph.call_module(layer_name, (nodes[value],))
    for reader in readers:
        nodes[reader].replace_input_with(nodes[value], inserted)
    traced.graph.lint()
    traced.recompile()


def torch_class_name(layer: nn.Module) -> str | None:
    """Return the name of the torch.nn class whose forward function a layer uses; None if none.

    A subclass that only sets up such a layer has the name of its torch.nn class.
    """
    cls: Any = next(
        (cls for cls in type(layer).__mro__ if cls.__module__.startswith("torch.nn.")), nn.Module
    )
    return cls.__name__ if cls is not nn.Module and type(layer).forward is cls.forward else None


class WritingProxy(Proxy):
    """Distinguishes `x += y` from `x + y`, which torch.fx does not."""

    def __iadd__(self, other: Any) -> Any:
        return self._write(operator.iadd, other)

    def __isub__(self, other: Any) -> Any:
        return self._write(operator.isub, other)

    def __imul__(self, other: Any) -> Any:
        return self._write(operator.imul, other)

    def __itruediv__(self, other: Any) -> Any:
        return self._write(operator.itruediv, other)

    def _write(self, function: Any, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})


class FaithfulTracer(Tracer):
    """A torch.fx tracer that records buffers and `x += y`, and keeps torch.nn layers whole.

    A layer stays whole also where a user's subclass only sets it up.
    """

    proxy_buffer_attributes = True

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> Graph:
        """Trace a network; `is_tracing` is True meanwhile."""
        _running.append(self)
        try:
            return super().trace(root, concrete_args)
        finally:
            _running.remove(self)

    def create_arg(self, a: Any) -> Any:
        """Return a value in the form in which it is an argument of a node."""
        argument: Any = super().create_arg(a)
        if isinstance(a, Tensor) and str(argument.target).startswith("_tensor_constant"):
            raise ConfigError("it creates a constant tensor; register it as a buffer")
        return argument

    def create_node(self, *args: Any, **kwargs: Any) -> Node:
        """Create a node that knows the line of the user's code."""
        node = super().create_node(*args, **kwargs)
        node.meta["line"] = calling_user_line()
        return node

    def proxy(self, node: Node) -> Proxy:
        """Return the object that stands for the value of a node while the forward function runs."""
        return WritingProxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a module is recorded as one operator."""
        return not isinstance(m, nn.Sequential) and (
            torch_class_name(m) is not None or super().is_leaf_module(m, module_qualified_name)
        )
