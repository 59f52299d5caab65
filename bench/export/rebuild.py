"""A network from its description (`bench.export.graph_spec`) and its weights.

A torch.fx.GraphModule writes Python code from the names and targets of its nodes, and runs it. So
every name that a description holds is checked first: it is an identifier, or it is looked up in a
table of what is allowed. Nothing that was not allowed is imported, called or followed, and memory
is taken for the weights that are there only.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

from bench.errors import ConfigError
from bench.export.allowlist import FUNCTIONS, METHODS
from bench.export.graph_spec import VERSION, check_call, check_name, check_paths
from bench.export.json_values import read, shortened
from bench.export.layers import built_layer, tensors_of_layer
from bench.graph.source_location import first_line

FIELDS: dict[str, type] = {
    "name": str,
    "layers": Mapping,
    "tensors": Mapping,
    "shared": Mapping,
    "frozen": list,
    "nodes": list,
}
NODE_FIELDS: dict[str, type] = {
    "name": str,
    "op": str,
    "target": str,
    "args": list,
    "kwargs": Mapping,
}


def rebuilt(spec: Mapping[str, Any], weights: Mapping[str, Tensor]) -> GraphModule:
    """The network, on the CPU, in eval mode; it computes the same, bit for bit, as the one that was described.

    Args:
        spec: from `described`, or from anybody.
        weights: from `weights_for`: no tensor less and none more.

    Raises:
        ConfigError: the description names what is not allowed or is not one, or the weights do not
            belong to it.
    """
    _check_fields(spec, FIELDS, "the description of a network")
    if spec.get("version") != VERSION:
        raise ConfigError(
            f"the description of a network is of version {shortened(spec.get('version'))}; this prunebench reads {VERSION}"
        )
    check_paths([*spec["layers"], *spec["tensors"]])
    with torch.inference_mode(False):
        root = {path: built_layer(layer, path) for path, layer in spec["layers"].items()}
        return _assembled(spec, root, _filled(spec, root, dict(weights)))


class _Assembly:
    """A torch.fx graph that grows by one node at a time, after all names of the node are checked."""

    def __init__(self, layers: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
        self.graph = Graph()
        self.made: dict[str, Node] = {}
        self.inputs: set[str] = set()
        self.allowed: dict[str, Any] = {
            "call_function": FUNCTIONS,
            "call_method": METHODS,
            "call_module": layers,
            "get_attr": tensors,
        }

    def add(self, one: Any, last: bool) -> None:
        """One more node. Raises ConfigError."""
        _check_fields(one, NODE_FIELDS, "a node of the description")
        op, name, target = one["op"], one["name"], one["target"]
        self._check_target(op, name, target, last)
        check_name(name)
        args = tuple(read(each, self._node) for each in one["args"])
        kwargs = {key: read(each, self._node) for key, each in one["kwargs"].items()}
        check_call(op, target, args, kwargs)
        node = self.graph.create_node(
            op, FUNCTIONS[target] if op == "call_function" else target, args, kwargs, name
        )
        if node.name != name:
            raise ConfigError(f"a value cannot have the name {shortened(name)}, or has it twice")
        self.made[name] = node

    def _check_target(self, op: str, name: str, target: str, last: bool) -> None:
        if op in self.allowed:
            if target not in self.allowed[op]:
                raise ConfigError(
                    f"the node {shortened(name)} names {shortened(target)}, which is not allowed as {op}"
                )
        elif op == "placeholder":
            check_name(target)
            if target in self.inputs:
                raise ConfigError(f"two inputs have the name {shortened(target)}")
            self.inputs.add(target)
        elif op != "output" or not last:
            raise ConfigError(
                f"the node {shortened(name)} is of the kind {shortened(op)}, which is not allowed there"
            )

    def _node(self, name: Any) -> Node:
        if not isinstance(name, str) or name not in self.made:
            raise ConfigError(f"the value {shortened(name)} is read before it is made")
        return self.made[name]


def _assembled(
    spec: Mapping[str, Any], layers: dict[str, nn.Module], tensors: dict[str, Tensor]
) -> GraphModule:
    check_name(spec["name"])
    assembly, nodes = _Assembly(layers, tensors), spec["nodes"]
    for place, one in enumerate(nodes, 1):
        assembly.add(one, last=place == len(nodes))
    if not nodes or nodes[-1]["op"] != "output":
        raise ConfigError("the description of a network does not end with its output")
    read_by_code = {
        one["target"]: tensors[one["target"]] for one in nodes if one["op"] == "get_attr"
    }
    try:
        return GraphModule(layers | read_by_code, assembly.graph, spec["name"]).eval()
    except Exception as error:
        raise ConfigError(
            f"the description of a network cannot be put together: {first_line(error)}"
        ) from error


def _filled(
    spec: Mapping[str, Any], layers: Mapping[str, nn.Module], weights: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Every tensor of the network by path; the layers hold theirs, instead of those without data.

    Raises ConfigError.
    """
    shapes = {
        f"{path}.{name}": one
        for path, layer in layers.items()
        for name, one in tensors_of_layer(layer).items()
    }
    kinds = {
        path: "parameter" if isinstance(one, nn.Parameter) else "buffer"
        for path, one in shapes.items()
    } | dict(spec["tensors"])
    own = {path: kind for path, kind in kinds.items() if path not in spec["shared"]}
    _check_weights(own, kinds, spec, weights)
    made: dict[str, Tensor] = {}
    frozen = {path for path in spec["frozen"] if isinstance(path, str)}
    for path, kind in own.items():
        made[path] = weights[path].clone(memory_format=torch.contiguous_format)
        if kind == "parameter":
            made[path] = nn.Parameter(made[path], requires_grad=path not in frozen)
    made |= {path: made[first] for path, first in spec["shared"].items()}
    for path, one in shapes.items():
        home, _, name = path.rpartition(".")
        wanted, found = tuple(one.shape), tuple(made[path].shape)
        if wanted != found or isinstance(made[path], nn.Parameter) != isinstance(one, nn.Parameter):
            raise ConfigError(
                f"the weights do not belong to the network: {path} should be {wanted}, is {found}"
            )
        setattr(layers[home], name, made[path])
    return made


def _check_weights(
    own: Mapping[str, Any],
    kinds: Mapping[str, Any],
    spec: Mapping[str, Any],
    weights: Mapping[str, Tensor],
) -> None:
    for path, kind in kinds.items():
        if kind not in ("parameter", "buffer"):
            raise ConfigError(
                f"the tensor {shortened(path)} is {shortened(kind)}, neither a parameter nor a buffer"
            )
    for path, first in spec["shared"].items():
        if path not in kinds or not isinstance(first, str) or first not in own:
            raise ConfigError(f"the tensors {shortened(path)} and {shortened(first)} cannot be one")
    unlike = own.keys() ^ weights.keys()
    if unlike:
        path = min(unlike)
        raise ConfigError(
            f"the weights do not belong to the network: {shortened(path)} is {'missing' if path in own else 'too much'}"
        )
    for path, kind in own.items():
        if kind == "parameter" and not weights[path].is_floating_point():
            raise ConfigError(
                f"the parameter {shortened(path)} is of the type {weights[path].dtype}"
            )


def _check_fields(found: Any, fields: Mapping[str, type], what: str) -> None:
    if not isinstance(found, Mapping):
        raise ConfigError(f"{what} is {shortened(found)}, not an object")
    for name, kind in fields.items():
        if not isinstance(found.get(name), kind):
            raise ConfigError(
                f"{what} should have {name} as a {kind.__name__}, and has {shortened(found.get(name))}"
            )
    if any(
        not isinstance(key, str)
        for each in found.values()
        if isinstance(each, Mapping)
        for key in each
    ):
        raise ConfigError(f"{what} has a key that is no string")
