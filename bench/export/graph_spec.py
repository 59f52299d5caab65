"""The description of a network as plain JSON: its operators and its layers, without code.

    spec = describe_network(model)
    weights = weights_for(model)
    twin = rebuild_network(spec, weights)       # bench.export.rebuild

The operators are those that torch.fx traces, in the order of execution; a layer is its class and
arguments. Only networks whose layers and functions are allowed (`bench.export.allowlist`) can be
described:

    version   of this format
    name      of the network's class
    layers    path -> class and arguments
    tensors   path -> "parameter" or "buffer": tensors that the code reads outside of layers
    shared    path of a tensor -> path of the tensor that it is identical to
    frozen    paths of parameters that are not trained
    nodes     name, op, target, args, kwargs of each operator (as in torch.fx); arguments as in
              `bench.export.json_values`
"""

import keyword
from typing import Any

from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

from bench.errors import ConfigError
from bench.export.allowlist import ATTRIBUTES, METHODS, NAME, NOT_A_NAME, PATH_STEP, function_name
from bench.export.json_values import shorten, to_json
from bench.export.layers import describe_layer, layer_tensors
from bench.files.tensors import copy_to_cpu
from bench.graph.tracing import trace_module
from bench.torch_state import eval_mode

VERSION = 1
MAX_PATH_STEPS = 64
ARGUMENT_COUNTS = {"placeholder": (0, 1), "get_attr": (0,), "output": (1,)}  # that are allowed
# Names that the code written by torch.fx itself uses.
RESERVED_NAMES = frozenset({"self", "torch", "getattr", "slice", "device", "inf", "nan"})


def describe_network(model: nn.Module) -> dict[str, Any]:
    """Describe a network in eval mode as JSON.

    Raises:
        ConfigError: the network cannot be traced, or it uses a layer, function, method or
            attribute that is not allowed; the message names it.
    """
    traced = _trace(model)
    layers = {path: describe_layer(layer, path) for path, layer in _find_layers(traced).items()}
    tensors = _find_tensors(traced)
    first_paths = _map_first_paths(tensors)
    direct = {
        path: tensor for path, tensor in tensors.items() if path.rpartition(".")[0] not in layers
    }
    check_paths([*layers, *direct])
    return {
        "version": VERSION,
        "name": NOT_A_NAME.sub("_", type(model).__name__),
        "layers": layers,
        "tensors": {
            path: "parameter" if isinstance(tensor, nn.Parameter) else "buffer"
            for path, tensor in direct.items()
        },
        "shared": {
            path: first_paths[id(tensor)]
            for path, tensor in tensors.items()
            if first_paths[id(tensor)] != path
        },
        "frozen": [
            path
            for path, tensor in tensors.items()
            if isinstance(tensor, nn.Parameter) and not tensor.requires_grad
        ],
        "nodes": [_describe_node(node) for node in traced.graph.nodes],
    }


def weights_for(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that `rebuild_network` needs, by path, contiguous on the CPU.

    A tensor that is shared appears under its first path only. Raises ConfigError like
    `describe_network`.
    """
    tensors = _find_tensors(_trace(model))
    first_paths = _map_first_paths(tensors)
    return {
        path: copy_to_cpu(tensor)
        for path, tensor in tensors.items()
        if first_paths[id(tensor)] == path
    }


def check_paths(paths: list[str]) -> None:
    """Raise ConfigError if a layer or tensor cannot have one of the paths.

    Each step of a path must be a plain name, and no path may lead through another one.
    """
    taken = set(paths)
    for path in paths:
        steps = path.split(".")
        if len(steps) > MAX_PATH_STEPS:
            raise ConfigError(
                f"the path {shorten(path)} has {len(steps)} steps, more than {MAX_PATH_STEPS}"
            )
        for depth, step in enumerate(steps):
            if not PATH_STEP.fullmatch(step) or hasattr(_EMPTY, step):
                raise ConfigError(
                    f"a layer or tensor cannot have the path {shorten(path)}: "
                    f"{shorten(step)} is not allowed in it"
                )
            if depth and ".".join(steps[:depth]) in taken:
                raise ConfigError(f"the path {shorten(path)} leads through another layer or tensor")


def check_name(name: str) -> None:
    """Raise ConfigError if the code that torch.fx writes cannot contain a name.

    The name is that of a value, of an input or of the network.
    """
    if (
        not NAME.fullmatch(name)
        or keyword.iskeyword(name)
        or name in RESERVED_NAMES
        or name.startswith("__")
    ):
        raise ConfigError(f"{shorten(name)} cannot be the name of a value, an input or a network")


def check_call(op: str, target: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise ConfigError if a node must not have these arguments."""
    if op in ARGUMENT_COUNTS and (kwargs or len(args) not in ARGUMENT_COUNTS[op]):
        raise ConfigError(f"{op} {shorten(target)} has arguments that it does not take")
    for name in kwargs:
        if not NAME.fullmatch(name):
            raise ConfigError(f"{target} is called with the argument {shorten(name)}")
    if op == "call_method" and not (args and isinstance(args[0], Node)):
        raise ConfigError(f"the method {target} is called on a value that no operator made")
    if target == "builtins.getattr":
        plain = (
            not kwargs and len(args) == 2 and isinstance(args[0], Node) and isinstance(args[1], str)
        )
        if not plain or args[1] not in ATTRIBUTES:
            attribute = shorten(args[1]) if len(args) > 1 else "nothing"
            raise ConfigError(
                f"the attribute {attribute} is read of a value; "
                f"only {', '.join(sorted(ATTRIBUTES))} can be described"
            )


def _trace(model: nn.Module) -> GraphModule:
    with eval_mode(model):
        traced = trace_module(model)
    if type(traced.graph._codegen) is not type(Graph()._codegen):
        raise ConfigError(
            f"{type(model).__name__} takes a pytree of inputs, which cannot be described; "
            "trace it with plain inputs"
        )
    return traced


def _find_layers(traced: GraphModule) -> dict[str, nn.Module]:
    """Return the layers that are called, by path, in the order of their first call."""
    return {
        str(node.target): traced.get_submodule(str(node.target))
        for node in traced.graph.nodes
        if node.op == "call_module"
    }


def _find_tensors(traced: GraphModule) -> dict[str, Tensor]:
    """Return every tensor of the network by path: those of layers, then those that code reads."""
    tensors = {
        f"{path}.{name}": tensor
        for path, layer in _find_layers(traced).items()
        for name, tensor in layer_tensors(layer).items()
    }
    for node in traced.graph.nodes:
        if node.op == "get_attr":
            parent, _, name = str(node.target).rpartition(".")
            tensor = getattr(traced.get_submodule(parent), name)
            if not isinstance(tensor, Tensor):
                raise ConfigError(
                    f"the network reads '{node.target}', which is no tensor "
                    f"but of type {type(tensor).__name__}"
                )
            tensors[str(node.target)] = tensor
    return tensors


def _map_first_paths(tensors: dict[str, Tensor]) -> dict[int, str]:
    """Map the identity of each tensor to its first path."""
    return {id(tensor): path for path, tensor in reversed(tensors.items())}


def _describe_node(node: Node) -> dict[str, Any]:
    target = node.target if isinstance(node.target, str) else function_name(node.target)
    if target is None or (node.op == "call_method" and target not in METHODS):
        module = getattr(node.target, "__module__", "")
        operator = target or f"{module}.{getattr(node.target, '__name__', node.target)}"
        raise ConfigError(
            f"the operator '{operator}' (at {node.name}) is not allowed in a description; "
            "see bench/export/allowlist.py"
        )
    check_name(target if node.op == "placeholder" else node.name)
    check_call(node.op, target, node.args, dict(node.kwargs))
    args = [to_json(argument) for argument in node.args]
    kwargs = {name: to_json(value) for name, value in node.kwargs.items()}
    return {"name": node.name, "op": node.op, "target": target, "args": args, "kwargs": kwargs}


_EMPTY = GraphModule({}, Graph())  # its attributes cannot be names of layers or tensors
