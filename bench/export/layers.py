"""One layer of torch.nn as its class and the arguments of its constructor, and back.

A layer is only written if the layer that is built from what was written has the same attributes and
tensors of the same shapes. Layers are built on the meta device: however large the numbers in a
description are, no memory is taken until weights of those shapes are there.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import ConfigError
from bench.export.allowlist import LAYER_CLASSES
from bench.export.json_values import read, shortened, written
from bench.graph.source_location import first_line
from bench.graph.tracing import torch_layer

UNIVERSAL = frozenset(vars(nn.Module()))  # attributes that every module has
HARMLESS = ("extra_repr", "reset_parameters", "train")  # what a subclass may change
HIDDEN = ("__call__", "__getattr__", "__getattribute__")
HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def described_layer(layer: nn.Module, path: str) -> dict[str, Any]:
    """{"class": ..., "arguments": {...}}; arguments that have their default are left out.

    Raises:
        ConfigError: the class is not allowed, or the layer does not compute what its class does
            with these arguments.
    """
    name = torch_layer(layer) or type(layer).__name__
    if torch_layer(layer) is None or name not in LAYER_CLASSES:
        raise ConfigError(
            f"the layer '{path}' is a {name}, which is not in the table of bench/graph/operators.py; it cannot be described"
        )
    cls = LAYER_CLASSES[name]
    if any(getattr(layer, hooks) for hooks in HOOKS):
        raise ConfigError(
            f"the layer '{path}' has hooks, which cannot be described; take them off first"
        )
    changed = _overridden(type(layer), cls)
    if changed:
        raise ConfigError(
            f"the layer '{path}' changes {', '.join(sorted(changed))} of {name}, which cannot be described"
        )
    spec = {"class": name, "arguments": _arguments(layer, cls)}
    difference = _difference(built_layer(spec, path), layer)
    if difference:
        raise ConfigError(
            f"the layer '{path}' is not the {name} that its arguments build: {difference}"
        )
    return spec


def built_layer(spec: Any, path: str) -> nn.Module:
    """The layer of a description, on the meta device. Raises ConfigError."""
    if (
        not isinstance(spec, Mapping)
        or not isinstance(spec.get("arguments"), Mapping)
        or not isinstance(spec.get("class"), str)
    ):
        raise ConfigError(f"the layer '{path}' has no class and arguments")
    if spec["class"] not in LAYER_CLASSES:
        raise ConfigError(
            f"the layer '{path}' is of the class {shortened(spec['class'])}, which is not allowed"
        )
    cls = LAYER_CLASSES[spec["class"]]
    unknown = set(spec["arguments"]) - _allowed_arguments(cls).keys()
    if unknown:
        raise ConfigError(
            f"the layer '{path}' has the argument {shortened(min(unknown))}, which {spec['class']} does not take"
        )
    arguments = {name: read(value, _no_node) for name, value in spec["arguments"].items()}
    try:
        with torch.device("meta"):
            return cls(**arguments).eval()
    except Exception as error:
        raise ConfigError(f"the layer '{path}' cannot be built: {first_line(error)}") from error


def tensors_of_layer(layer: nn.Module) -> dict[str, Tensor]:
    """Its parameters and buffers by name."""
    return {
        name: tensor
        for name, tensor in (layer._parameters | layer._buffers).items()
        if tensor is not None
    }


def _allowed_arguments(cls: type[nn.Module]) -> dict[str, Any]:
    """Argument -> default of a constructor.

    Number type and device come with the weights; PReLU's first slope is one of them.
    """
    named = inspect.signature(cls.__init__).parameters.values()
    left_out = (
        "self",
        "device",
        "dtype",
        "init",
        "min_value",
        "max_value",
    )  # the last two are old names in Hardtanh
    return {
        one.name: one.default
        for one in named
        if one.name not in left_out and one.kind is one.POSITIONAL_OR_KEYWORD
    }


def _arguments(layer: nn.Module, cls: type[nn.Module]) -> dict[str, Any]:
    given = {
        name: layer.bias is not None if name == "bias" else getattr(layer, name)
        for name in _allowed_arguments(cls)
    }
    return {
        name: written(value)
        for name, value in given.items()
        if not _same(value, _allowed_arguments(cls)[name])
    }


def _overridden(sub: type, cls: type) -> set[str]:
    """Names that classes between a subclass and torch's own class define anew, and that torch's own code may read."""
    names = {name for one in sub.__mro__[: sub.__mro__.index(cls)] for name in vars(one)} - set(
        HARMLESS
    )
    read = {name for name in names if hasattr(cls, name) or name in ("weight", "bias")}
    return {name for name in read if not name.startswith("__") or name in HIDDEN}


def _difference(built: nn.Module, layer: nn.Module) -> str:
    """The first disagreement in attributes or shapes, or nothing."""
    for name, value in vars(built).items():
        if name not in UNIVERSAL and not _same(value, getattr(layer, name, None)):
            return (
                f"{name} should be {shortened(value)}, is {shortened(getattr(layer, name, None))}"
            )
    for name, tensor in (built._parameters | built._buffers).items():
        found = getattr(layer, name, None)
        shapes = [None if one is None else tuple(one.shape) for one in (tensor, found)]
        if shapes[0] != shapes[1]:
            return f"{name} should be {shapes[0]}, is {shapes[1]}"
    own = [*tensors_of_layer(layer).keys() - tensors_of_layer(built).keys(), *layer._modules]
    return f"{min(own)} should not be there" if own else ""


def _same(first: Any, second: Any) -> bool:
    return (
        type(first) is type(second) and bool(first == second)
        if not isinstance(first, tuple | list)
        else first == second
    )


def _no_node(content: Any) -> Any:
    raise ConfigError(f"an argument of a layer names the value {shortened(content)}")
