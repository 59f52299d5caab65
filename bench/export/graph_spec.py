"""A network as plain JSON: its operators in the order of execution, as torch.fx follows them, and its layers by class and arguments.

    spec, weights = described(model), weights_for(model)
    twin = rebuilt(spec, weights)                            # bench.export.rebuild

The description holds no code. It is written for networks whose layers and functions are allowed
(`bench.export.allowlist`):

    version   of this form
    name      of the network's class
    layers    path -> class and arguments
    tensors   path -> "parameter" or "buffer": what the code reads by itself, outside of layers
    shared    path of a tensor -> path of the one that it is
    frozen    paths of parameters that are not trained
    nodes     name, op, target, args, kwargs of each operator (as in torch.fx); arguments as in `bench.export.json_values`
"""

import keyword
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

from bench.errors import ConfigError
from bench.export.allowlist import ATTRIBUTES, METHODS, NAME, NOT_A_NAME, STEP, function_name
from bench.export.json_values import shortened, written
from bench.export.layers import described_layer, tensors_of_layer
from bench.graph.tracing import trace_module
from bench.torch_state import evaluating

VERSION = 1
LONGEST = 64  # steps of a path
ARGUMENTS = {"placeholder": (0, 1), "get_attr": (0,), "output": (1,)}  # how many there may be
RESERVED = frozenset(
    {"self", "torch", "getattr", "slice", "device", "inf", "nan"}
)  # names that the code of torch.fx itself uses


def described(model: nn.Module) -> dict[str, Any]:
    """A network in eval mode as JSON.

    Raises:
        ConfigError: it cannot be traced, or it uses what is not allowed, which is named.
    """
    traced = _traced(model)
    layers = {path: described_layer(layer, path) for path, layer in _layers(traced).items()}
    tensors, canonical = _tensors(traced), _canonical(traced)
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
            path: canonical[id(tensor)]
            for path, tensor in tensors.items()
            if canonical[id(tensor)] != path
        },
        "frozen": [
            path
            for path, tensor in tensors.items()
            if isinstance(tensor, nn.Parameter) and not tensor.requires_grad
        ],
        "nodes": [_described_node(node) for node in traced.graph.nodes],
    }


def weights_for(model: nn.Module) -> dict[str, Tensor]:
    """The tensors that `rebuilt` wants by name, contiguous on the CPU; of shared ones the first.

    Raises ConfigError as `described`.
    """
    traced = _traced(model)
    canonical, tensors = _canonical(traced), _tensors(traced)
    return {
        path: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for path, tensor in tensors.items()
        if canonical[id(tensor)] == path
    }


def check_paths(paths: list[str]) -> None:
    """Raises ConfigError for a path that is no path of a layer or tensor, or that leads through another one."""
    taken = set(paths)
    for path in paths:
        steps = path.split(".")
        if len(steps) > LONGEST:
            raise ConfigError(
                f"the path {shortened(path)} has {len(steps)} steps, more than {LONGEST}"
            )
        for place, step in enumerate(steps):
            if not STEP.fullmatch(step) or hasattr(_PLAIN, step):
                raise ConfigError(
                    f"a layer or tensor cannot have the path {shortened(path)}: {shortened(step)} is not allowed in it"
                )
            if place and ".".join(steps[:place]) in taken:
                raise ConfigError(
                    f"the path {shortened(path)} leads through another layer or tensor"
                )


def check_name(name: str) -> None:
    """Raises ConfigError for a name that a value, an input or a network cannot have in the code that torch.fx writes."""
    if (
        not NAME.fullmatch(name)
        or keyword.iskeyword(name)
        or name in RESERVED
        or name.startswith("__")
    ):
        raise ConfigError(f"{shortened(name)} cannot be the name of a value, an input or a network")


def check_call(op: str, target: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raises ConfigError for arguments that a node must not have."""
    if op in ARGUMENTS and (kwargs or len(args) not in ARGUMENTS[op]):
        raise ConfigError(f"{op} {shortened(target)} has arguments that it does not take")
    if not all(NAME.fullmatch(name) for name in kwargs):
        raise ConfigError(
            f"{target} is called with the argument {shortened(next(name for name in kwargs if not NAME.fullmatch(name)))}"
        )
    if op == "call_method" and not (args and isinstance(args[0], Node)):
        raise ConfigError(f"the method {target} is called on what no operator made")
    if target == "builtins.getattr":
        plain = (
            not kwargs and len(args) == 2 and isinstance(args[0], Node) and isinstance(args[1], str)
        )
        if not plain or args[1] not in ATTRIBUTES:
            asked = shortened(args[1]) if len(args) > 1 else "nothing"
            raise ConfigError(
                f"the attribute {asked} is read of a value; only {', '.join(sorted(ATTRIBUTES))} can be described"
            )


def _traced(model: nn.Module) -> GraphModule:
    with evaluating(model):
        traced = trace_module(model)
    if type(traced.graph._codegen) is not type(Graph()._codegen):
        raise ConfigError(
            f"{type(model).__name__} is called in a way of its own (a pytree of inputs); trace it with plain inputs"
        )
    return traced


def _layers(traced: GraphModule) -> dict[str, nn.Module]:
    """The layers that are called, by path, in the order of their first call."""
    return {
        str(node.target): traced.get_submodule(str(node.target))
        for node in traced.graph.nodes
        if node.op == "call_module"
    }


def _tensors(traced: GraphModule) -> dict[str, Tensor]:
    """Every tensor that is needed, by path: those of the layers and those that the code reads."""
    found = {
        f"{path}.{name}": tensor
        for path, layer in _layers(traced).items()
        for name, tensor in tensors_of_layer(layer).items()
    }
    for node in traced.graph.nodes:
        if node.op == "get_attr":
            home, _, name = str(node.target).rpartition(".")
            tensor = getattr(traced.get_submodule(home), name)
            if not isinstance(tensor, Tensor):
                raise ConfigError(
                    f"the network reads '{node.target}', which is no tensor but of type {type(tensor).__name__}"
                )
            found[str(node.target)] = tensor
    return found


def _canonical(traced: GraphModule) -> dict[int, str]:
    """Identity of a tensor -> its first path."""
    return {id(tensor): path for path, tensor in reversed(_tensors(traced).items())}


def _described_node(node: Node) -> dict[str, Any]:
    target = node.target if isinstance(node.target, str) else function_name(node.target)
    if target is None or (node.op == "call_method" and target not in METHODS):
        asked = (
            target
            or f"{getattr(node.target, '__module__', '')}.{getattr(node.target, '__name__', node.target)}"
        )
        raise ConfigError(
            f"the operator '{asked}' (at {node.name}) is not allowed in a description; see bench/export/allowlist.py"
        )
    check_name(target if node.op == "placeholder" else node.name)
    check_call(node.op, target, node.args, dict(node.kwargs))
    args = [written(each) for each in node.args]
    kwargs = {name: written(value) for name, value in node.kwargs.items()}
    return {"name": node.name, "op": node.op, "target": target, "args": args, "kwargs": kwargs}


_PLAIN = GraphModule({}, Graph())
