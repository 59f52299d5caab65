"""One layer of torch.nn as its class and the arguments of its constructor, and back.

A layer is described only if the layer that is built from its description has the same attributes,
and tensors of the same shapes. Layers are built on the meta device, so that large numbers in a
description take no memory until weights of those shapes exist.
"""

import inspect
from collections.abc import Mapping
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import ConfigError
from bench.export.allowlist import LAYER_CLASSES
from bench.export.json_values import from_json, shorten, to_json
from bench.graph.source_location import first_line
from bench.graph.tracing import torch_class_name

MODULE_ATTRIBUTES = frozenset(vars(nn.Module()))  # attributes that every module has
HARMLESS_OVERRIDES = ("extra_repr", "reset_parameters", "train")  # that a subclass may have
SPECIAL_METHODS = ("__call__", "__getattr__", "__getattribute__")
HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def describe_layer(layer: nn.Module, path: str) -> dict[str, Any]:
    """Return {"class": ..., "arguments": {...}}, without arguments that have their default.

    Raises:
        ConfigError: the class is not allowed, or the layer does not compute the same as its class
            with these arguments.
    """
    name = torch_class_name(layer) or type(layer).__name__
    if torch_class_name(layer) is None or name not in LAYER_CLASSES:
        raise ConfigError(
            f"the layer '{path}' is a {name}, which is not in the table of "
            "bench/graph/operators.py; it cannot be described"
        )
    cls = LAYER_CLASSES[name]
    if any(getattr(layer, hooks) for hooks in HOOKS):
        raise ConfigError(
            f"the layer '{path}' has hooks, which cannot be described; take them off first"
        )
    changed = _find_overrides(type(layer), cls)
    if changed:
        raise ConfigError(
            f"the layer '{path}' changes {', '.join(sorted(changed))} of {name}, "
            "which cannot be described"
        )
    spec = {"class": name, "arguments": _read_arguments(layer, cls)}
    difference = _find_difference(build_layer(spec, path), layer)
    if difference:
        raise ConfigError(
            f"the layer '{path}' is not the {name} that its arguments build: {difference}"
        )
    return spec


def build_layer(spec: Any, path: str) -> nn.Module:
    """Build the layer of a description on the meta device. Raises ConfigError."""
    if (
        not isinstance(spec, Mapping)
        or not isinstance(spec.get("arguments"), Mapping)
        or not isinstance(spec.get("class"), str)
    ):
        raise ConfigError(f"the layer '{path}' has no class and arguments")
    if spec["class"] not in LAYER_CLASSES:
        raise ConfigError(
            f"the layer '{path}' is of the class {shorten(spec['class'])}, which is not allowed"
        )
    cls = LAYER_CLASSES[spec["class"]]
    unknown = set(spec["arguments"]) - _default_arguments(cls).keys()
    if unknown:
        raise ConfigError(
            f"the layer '{path}' has the argument {shorten(min(unknown))}, "
            f"which {spec['class']} does not take"
        )
    arguments = {name: from_json(value, _refuse_node) for name, value in spec["arguments"].items()}
    try:
        with torch.device("meta"):
            return cls(**arguments).eval()
    except Exception as error:
        raise ConfigError(f"the layer '{path}' cannot be built: {first_line(error)}") from error


def layer_tensors(layer: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a layer by name, without those of layers inside it."""
    return {
        name: tensor
        for name, tensor in (layer._parameters | layer._buffers).items()
        if tensor is not None
    }


def _default_arguments(cls: type[nn.Module]) -> dict[str, Any]:
    """Return argument -> default of a constructor.

    The dtype and the device are left out because they come with the weights, and so does the
    initial slope of PReLU (`init`); `min_value` and `max_value` are old names in Hardtanh.
    """
    parameters = inspect.signature(cls.__init__).parameters.values()
    left_out = ("self", "device", "dtype", "init", "min_value", "max_value")
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.name not in left_out
        and not parameter.name.startswith("_")
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }


def _read_arguments(layer: nn.Module, cls: type[nn.Module]) -> dict[str, Any]:
    defaults = _default_arguments(cls)
    arguments = {
        name: layer.bias is not None if name == "bias" else getattr(layer, name)
        for name in defaults
    }
    return {
        name: to_json(value)
        for name, value in arguments.items()
        if not _is_same(value, defaults[name])
    }


def _find_overrides(sub: type, cls: type) -> set[str]:
    """Return the attributes of torch's class that its subclass overrides, except harmless ones."""
    between = sub.__mro__[: sub.__mro__.index(cls)]
    names = {name for ancestor in between for name in vars(ancestor)} - set(HARMLESS_OVERRIDES)
    overrides = {name for name in names if hasattr(cls, name) or name in ("weight", "bias")}
    return {name for name in overrides if not name.startswith("__") or name in SPECIAL_METHODS}


def _find_difference(built: nn.Module, layer: nn.Module) -> str:
    """Return the first disagreement of attributes or shapes in words, or an empty string."""
    for name, value in vars(built).items():
        if name not in MODULE_ATTRIBUTES and not _is_same(value, getattr(layer, name, None)):
            return f"{name} should be {shorten(value)}, is {shorten(getattr(layer, name, None))}"
    for name, tensor in (built._parameters | built._buffers).items():
        expected, actual = (_shape(value) for value in (tensor, getattr(layer, name, None)))
        if expected != actual:
            return f"{name} should be {expected}, is {actual}"
    extra = [*layer_tensors(layer).keys() - layer_tensors(built).keys(), *layer._modules]
    return f"{min(extra)} should not be there" if extra else ""


def _shape(tensor: Tensor | None) -> tuple[int, ...] | None:
    return None if tensor is None else tuple(tensor.shape)


def _is_same(first: Any, second: Any) -> bool:
    if isinstance(first, tuple | list):
        return first == second
    return _kind(first) is _kind(second) and bool(first == second)


def _kind(value: Any) -> type:
    """Return the type of a value; integers of numpy are integers."""
    return int if isinstance(value, Integral) and not isinstance(value, bool) else type(value)


def _refuse_node(content: Any) -> Any:
    raise ConfigError(f"an argument of a layer names the value {shorten(content)}")
