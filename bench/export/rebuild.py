"""Rebuilding of a network from its description (`bench.export.graph_spec`) and its weights.

A torch.fx.GraphModule writes Python code from the names and targets of its nodes, and runs it.
Therefore every name in a description is checked first: it must be an identifier, or it is looked up
in a table of allowed names. No other name is imported, called or followed, and memory is taken only
for weights that exist.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

from bench.errors import ConfigError
from bench.export.allowlist import FUNCTIONS, METHODS
from bench.export.graph_spec import VERSION, check_call, check_name, check_paths
from bench.export.json_values import from_json, shorten
from bench.export.layers import build_layer, layer_tensors
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


def rebuild_network(spec: Mapping[str, Any], weights: Mapping[str, Tensor]) -> GraphModule:
    """Rebuild a network on the CPU, in eval mode; it computes the same to the last bit.

    Args:
        spec: from `describe_network`, or from an untrusted file.
        weights: exactly the tensors that `weights_for` returns.

    Raises:
        ConfigError: the description is malformed or uses a name that is not allowed, or the weights
            do not belong to it.
    """
    _check_fields(spec, FIELDS, "the description of a network")
    if spec.get("version") != VERSION:
        raise ConfigError(
            f"the description of a network is of version {shorten(spec.get('version'))}; "
            f"this prunebench reads {VERSION}"
        )
    check_paths([*spec["layers"], *spec["tensors"]])
    with torch.inference_mode(False):
        layers = {path: build_layer(layer, path) for path, layer in spec["layers"].items()}
        return _assemble(spec, layers, _fill_weights(spec, layers, dict(weights)))


class _Assembly:
    """A torch.fx graph that grows by one checked node at a time."""

    def __init__(self, layers: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
        self.graph = Graph()
        self.nodes: dict[str, Node] = {}
        self.inputs: set[str] = set()
        self.allowed: dict[str, Any] = {
            "call_function": FUNCTIONS,
            "call_method": METHODS,
            "call_module": layers,
            "get_attr": tensors,
        }

    def add(self, entry: Any, last: bool) -> None:
        """Append the node of an entry of the description. Raises ConfigError."""
        _check_fields(entry, NODE_FIELDS, "a node of the description")
        op, name, target = entry["op"], entry["name"], entry["target"]
        self._check_target(op, name, target, last)
        check_name(name)
        args = tuple(from_json(value, self._find_node) for value in entry["args"])
        kwargs = {key: from_json(value, self._find_node) for key, value in entry["kwargs"].items()}
        check_call(op, target, args, kwargs)
        node = self.graph.create_node(
            op, FUNCTIONS[target] if op == "call_function" else target, args, kwargs, name
        )
        if node.name != name:
            raise ConfigError(f"a value cannot have the name {shorten(name)}, or has it twice")
        self.nodes[name] = node

    def _check_target(self, op: str, name: str, target: str, last: bool) -> None:
        if op in self.allowed:
            if target not in self.allowed[op]:
                raise ConfigError(
                    f"the node {shorten(name)} names {shorten(target)}, "
                    f"which is not allowed as {op}"
                )
        elif op == "placeholder":
            check_name(target)
            if target in self.inputs:
                raise ConfigError(f"two inputs have the name {shorten(target)}")
            self.inputs.add(target)
        elif op != "output" or not last:
            raise ConfigError(
                f"the node {shorten(name)} is of the kind {shorten(op)}, which is not allowed there"
            )

    def _find_node(self, name: Any) -> Node:
        if not isinstance(name, str) or name not in self.nodes:
            raise ConfigError(f"the value {shorten(name)} is read before it is made")
        return self.nodes[name]


def _assemble(
    spec: Mapping[str, Any], layers: dict[str, nn.Module], tensors: dict[str, Tensor]
) -> GraphModule:
    """Build the graph of a description around its layers and tensors. Raises ConfigError."""
    check_name(spec["name"])
    assembly = _Assembly(layers, tensors)
    entries = spec["nodes"]
    for number, entry in enumerate(entries, 1):
        assembly.add(entry, last=number == len(entries))
    if not entries or entries[-1]["op"] != "output":
        raise ConfigError("the description of a network does not end with its output")
    direct = {
        entry["target"]: tensors[entry["target"]] for entry in entries if entry["op"] == "get_attr"
    }
    try:
        return GraphModule(layers | direct, assembly.graph, spec["name"]).eval()
    except Exception as error:
        raise ConfigError(
            f"the description of a network cannot be put together: {first_line(error)}"
        ) from error


def _fill_weights(
    spec: Mapping[str, Any], layers: Mapping[str, nn.Module], weights: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return every tensor of the network by path, and put those of layers into the layers.

    The layers hold tensors without data before, and their weights afterwards. Raises ConfigError.
    """
    empty = {
        f"{path}.{name}": tensor
        for path, layer in layers.items()
        for name, tensor in layer_tensors(layer).items()
    }
    kinds = {
        path: "parameter" if isinstance(tensor, nn.Parameter) else "buffer"
        for path, tensor in empty.items()
    } | dict(spec["tensors"])
    stored = {path: kind for path, kind in kinds.items() if path not in spec["shared"]}
    _check_weights(stored, kinds, spec, weights)
    tensors: dict[str, Tensor] = {}
    frozen = {path for path in spec["frozen"] if isinstance(path, str)}
    for path, kind in stored.items():
        tensors[path] = weights[path].clone(memory_format=torch.contiguous_format)
        if kind == "parameter":
            tensors[path] = nn.Parameter(tensors[path], requires_grad=path not in frozen)
    tensors |= {path: tensors[first] for path, first in spec["shared"].items()}
    for path, blank in empty.items():
        expected, actual = tuple(blank.shape), tuple(tensors[path].shape)
        same_kind = isinstance(tensors[path], nn.Parameter) == isinstance(blank, nn.Parameter)
        if expected != actual or not same_kind:
            raise ConfigError(
                "the weights do not belong to the network: "
                f"{path} should be {expected}, is {actual}"
            )
        parent, _, name = path.rpartition(".")
        setattr(layers[parent], name, tensors[path])
    return tensors


def _check_weights(
    stored: Mapping[str, Any],
    kinds: Mapping[str, Any],
    spec: Mapping[str, Any],
    weights: Mapping[str, Tensor],
) -> None:
    """Raise ConfigError if a description and weights disagree.

    Args:
        stored: path -> kind of the tensors that `weights` must hold.
        kinds: the same of all tensors, with those that are shared.
        spec: the description.
        weights: path -> tensor.
    """
    for path, kind in kinds.items():
        if kind not in ("parameter", "buffer"):
            raise ConfigError(
                f"the tensor {shorten(path)} is {shorten(kind)}, neither a parameter nor a buffer"
            )
    for path, first in spec["shared"].items():
        if path not in kinds or not isinstance(first, str) or first not in stored:
            raise ConfigError(
                f"the tensors {shorten(path)} and {shorten(first)} cannot be the same tensor"
            )
    unmatched = stored.keys() ^ weights.keys()
    if unmatched:
        path = min(unmatched)
        problem = "missing" if path in stored else "not used by it"
        raise ConfigError(f"the weights do not belong to the network: {shorten(path)} is {problem}")
    for path, kind in stored.items():
        if kind == "parameter" and not weights[path].is_floating_point():
            raise ConfigError(f"the parameter {shorten(path)} is of the type {weights[path].dtype}")


def _check_fields(content: Any, fields: Mapping[str, type], subject: str) -> None:
    """Raise ConfigError unless `content` is an object whose fields have these types."""
    if not isinstance(content, Mapping):
        raise ConfigError(f"{subject} is {shorten(content)}, not an object")
    for name, kind in fields.items():
        if not isinstance(content.get(name), kind):
            raise ConfigError(
                f"{subject} should have {name} as a {kind.__name__}, "
                f"and has {shorten(content.get(name))}"
            )
    tables = [value for value in content.values() if isinstance(value, Mapping)]
    if any(not isinstance(key, str) for table in tables for key in table):
        raise ConfigError(f"{subject} has a key that is no string")
