"""Functions that read a weight of the network, as layers that hold the weight.

Code that calls `F.linear(x, self.weight)` does what a layer does. Pruning knows layers, so the call
becomes the call of one. So does `F.layer_norm(x, [x.shape[-1]])`, which has no weight.
"""

import operator
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg
from torch.nn import functional as F

PARAMETERS: dict[Any, tuple[str, ...]] = {
    F.linear: ("input", "weight", "bias"),
    F.conv2d: ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    F.layer_norm: ("input", "normalized_shape", "weight", "bias", "eps"),
}
SETTINGS = ("stride", "padding", "dilation", "groups", "eps")


def call_layers(traced: GraphModule, values: Mapping[Node, Any]) -> bool:
    """Let a network call layers, not functions that read a weight of it; return whether it does.

    The layers share the weights. A bias that is computed is added in place to what a layer gives.

    Args:
        traced: changed.
        values: node -> what it gives, for sizes that the code computes.
    """
    made: dict[str, nn.Module] = {}
    is_changed = False
    for node in list(traced.graph.nodes):
        names = PARAMETERS.get(node.target)
        if node.op != "call_function" or names is None:
            continue
        given = dict(zip(names, node.args, strict=False)) | node.kwargs
        weight = _find_parameter(traced, given.get("weight"))
        settings = {name: given[name] for name in SETTINGS if name in given}
        if any(isinstance(value, Node) for value in settings.values()):
            continue
        if weight is not None:
            _call_layer(traced, node, given, settings, made)
            is_changed = True
        elif node.target is F.layer_norm and not (given.get("weight") or given.get("bias")):
            shape = map_arg(given["normalized_shape"], values.__getitem__)
            layer = nn.LayerNorm(shape, **settings, elementwise_affine=False)
            _replace(traced, node, f"{node.name}_layer", layer, given["input"])
            is_changed = True
    return is_changed


def _call_layer(
    traced: GraphModule,
    node: Node,
    given: dict[str, Any],
    settings: dict[str, Any],
    made: dict[str, nn.Module],
) -> None:
    """Replace one call of a function."""
    bias = given.get("bias")
    kept = bias is None or _find_parameter(traced, bias) is not None
    owner, _, _ = str(given["weight"].target).rpartition(".")
    if owner and type(traced.get_submodule(owner)) is not nn.Module:
        return  # the weight of a layer that is called too
    path = f"{owner}.{node.target.__name__}".lstrip(".")  # type: ignore[union-attr]
    if path not in made:
        made[path] = _make_layer(node.target, traced, given, settings, bool(bias and kept))
    _replace(traced, node, path, made[path], given["input"], None if kept else bias)


def _replace(
    traced: GraphModule, node: Node, path: str, layer: nn.Module, x: Any, bias: Any = None
) -> None:
    """Replace a node by the call of a layer at `x`, and the sum with a bias."""
    traced.add_submodule(path, layer)
    with traced.graph.inserting_before(node):
        result = traced.graph.call_module(path, (x,))
        result.meta = dict(node.meta)
        if bias is not None:
            result = traced.graph.call_function(operator.iadd, (result, bias))
            result.meta = dict(node.meta)
    node.replace_all_uses_with(result)
    traced.graph.erase_node(node)


def _make_layer(
    function: Any, traced: GraphModule, given: dict[str, Any], settings: dict[str, Any], kept: bool
) -> nn.Module:
    """Return a layer with the weight, and the bias if it is kept, of a call."""
    weight: Any = _find_parameter(traced, given["weight"])
    bias: Any = _find_parameter(traced, given.get("bias")) if kept else None
    layer: Any
    if function is F.layer_norm:
        layer = nn.LayerNorm(weight.shape, **settings, bias=kept, device="meta")
    elif function is F.linear:
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=kept, device="meta")
    else:
        channels = weight.shape[1] * int(settings.get("groups", 1))
        layer = nn.Conv2d(
            channels, weight.shape[0], weight.shape[2:], **settings, bias=kept, device="meta"
        )
    layer.weight = weight
    if kept:
        layer.bias = bias
    return layer


def _find_parameter(traced: GraphModule, node: Any) -> nn.Parameter | None:
    """Return the parameter that a node reads; None if it reads none."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    weight = operator.attrgetter(str(node.target))(traced)
    return weight if isinstance(weight, nn.Parameter) else None
