"""A network with its forward function written out by torch.fx, which follows it symbolically; layers of torch.nn stay whole.

`bench.graph.lowering` makes a graph of it. These two modules are the only door to torch.fx.
"""

import operator
from collections import Counter
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node, Proxy, Tracer

from bench.contract import Shape
from bench.errors import ConfigError
from bench.graph.source_location import first_line, first_user_line


def trace_module(model: nn.Module) -> GraphModule:
    """The network with its forward function written out; it shares the layers of `model`.

    Raises ConfigError.
    """
    if isinstance(model, GraphModule):
        return model
    try:
        return GraphModule(model, FaithfulTracer().trace(model), type(model).__name__)
    except Exception as error:
        place, advice = (
            first_user_line(error),
            "write its forward without decisions that depend on data",
        )
        raise ConfigError(
            f"{type(model).__name__} cannot be traced{place}, {advice}: {first_line(error)}"
        ) from error


def node_names(traced: GraphModule) -> dict[Node, str]:
    """The name of every node: the path of its layer, "#k" behind it at the k-th call; or torch.fx's, with "()" where a layer has it."""
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
    """Puts a layer behind a value, in place; only the named readers read its result.

    It runs at once, or `late`: before they do.
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


def on_meta(model: nn.Module) -> nn.Module:
    """A copy in eval mode whose weights have shapes and no data; nothing is copied in between."""
    tensors = [*model.parameters(), *model.buffers()]
    shadows = [torch.empty_like(tensor, device="meta") for tensor in tensors]
    memo: dict[int, Any] = {
        id(tensor): nn.Parameter(shadow, tensor.requires_grad)
        if isinstance(tensor, nn.Parameter)
        else shadow
        for tensor, shadow in zip(tensors, shadows, strict=True)
    }
    return deepcopy(model, memo).eval()


def meta_inputs(model: nn.Module, shapes: tuple[Shape, ...]) -> list[Tensor]:
    """Inputs without data, in the number type of the network."""
    dtype = next((weight.dtype for weight in model.parameters()), torch.float32)
    return [torch.empty(shape, device="meta", dtype=dtype) for shape in shapes]


def torch_layer(layer: nn.Module) -> str | None:
    """The class of torch.nn that a layer is, also as a subclass that computes the same; None for anything else."""
    cls: Any = next(
        (cls for cls in type(layer).__mro__ if cls.__module__.startswith("torch.nn.")), nn.Module
    )
    return cls.__name__ if cls is not nn.Module and type(layer).forward is cls.forward else None


class _Proxy(Proxy):
    """Keeps `x += y` apart from `x + y`, which torch.fx does not."""

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
    """Layers of torch.nn stay whole, also where a user's class only sets them up; what is computed of buffers is seen."""

    proxy_buffer_attributes = True

    def proxy(self, node: Node) -> Proxy:
        """What stands for a value while the forward function runs."""
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one operator."""
        return not isinstance(m, nn.Sequential) and (
            torch_layer(m) is not None or super().is_leaf_module(m, module_qualified_name)
        )
