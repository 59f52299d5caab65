"""Compactors (MOSP): 1x1 convolutions on long skips, so that a stored skip can shrink by itself.

    x = conv_k2(...);  s = C(x);  pool(x);  ...;  concat(up, s)

The compactor C starts as the identity with zero bias and has no activation, so the network computes
the same as before. The value that is stored until the concat is s; x is freed once the pooling and
C have read it. So s can lose channels while the branch that computes x keeps all of its own. A skip
is *long* when a concat reads it last and the network works at a lower resolution while it is
stored.

Skips that are added, not concatenated, stay tied to the other summand, because both must have the
same number of channels. A pair of layers unties them on request: a compactor C behind the value,
and an expander E, a layer of the same kind, right before the addition.

    s = C(x);  ...;  y + E(s)

The stored value is s, with channels of its own; E(s) is tied to y. An added skip is long when other
additions run while it is stored, as for the skip around all blocks of EDSR, or when the network
works at a lower resolution meanwhile.
"""

import re
from collections.abc import Sequence
from copy import deepcopy
from math import prod

import torch
from torch import nn

from bench.contract import Inputs
from bench.errors import ConfigError
from bench.graph.ir import Graph, Op
from bench.graph.lowering import trace
from bench.graph.tracing import insert_layer, trace_module

ADDITIONS = ("add", "iadd")


def long_skips(model: nn.Module, input_shape: Inputs) -> list[str]:
    """Return the values that wait on a long skip for a concat, in the order of execution."""
    graph = trace(model, input_shape)
    return [value for value in graph.values if _find_concats(graph, value)]


def long_added_skips(model: nn.Module, input_shape: Inputs) -> list[str]:
    """Return the values that wait on a long skip for an addition, in the order of execution."""
    graph = trace(model, input_shape)
    return [value for value in graph.values if _find_sums(graph, value)]


def insert_compactors(model: nn.Module, values: Sequence[str], input_shape: Inputs) -> nn.Module:
    """Return a copy of a network with a compactor, or a pair, on each named skip; same outputs.

    Args:
        model: left untouched.
        values: names from `long_skips` and `long_added_skips`.
        input_shape: an (N, C, H, W) that the network accepts.

    Raises:
        ConfigError: a name is not that of a long skip.
    """
    graph = trace(model, input_shape)
    compacted = deepcopy(trace_module(model))
    for value in values:
        concats = _find_concats(graph, value) if value in graph.values else []
        sums = _find_sums(graph, value) if value in graph.values else []
        if not concats and not sums:
            skips = [*long_skips(model, input_shape), *long_added_skips(model, input_shape)]
            names = ", ".join(skips) or "none"
            raise ConfigError(f"'{value}' is not a long skip; long skips are: {names}")
        width = graph.values[value].shape[1]
        like = next(compacted.parameters())
        name = compactor_name(value)
        while name in dict(compacted.named_modules()):  # of values "e.1" and "e_1"
            name += "_"
        insert_layer(compacted, value, name, _identity_convolution(width, like), concats or sums)
        if sums:
            expander = name.replace("compactors", "expanders", 1)
            identity = _identity_convolution(width, like)
            insert_layer(compacted, name, expander, identity, sums, late=True)
    return compacted


def compactor_name(value: str) -> str:
    """Return the module path of the compactor on a skip, "compactors.encoder_0_act2"."""
    return "compactors." + re.sub(r"\W", "_", value.removesuffix("()"))


def _find_concats(graph: Graph, value: str) -> list[str]:
    """Return the concat that ends the long skip on which a value waits, or an empty list."""
    between, last = _find_wait(graph, value)
    if last is None or last.rule.channels != "concat":
        return []
    return [last.name] if any(_is_smaller(graph, op, value) for op in between) else []


def _find_sums(graph: Graph, value: str) -> list[str]:
    """Return the addition that ends the long skip on which a value waits, or an empty list."""
    between, last = _find_wait(graph, value)
    is_computed = value not in graph.inputs and value not in graph.weights
    if not is_computed or last is None or not _is_sum(last):
        return []
    ends = any(_is_sum(op) or _is_smaller(graph, op, value) for op in between)
    return [last.name] if ends else []


def _find_wait(graph: Graph, value: str) -> tuple[Sequence[Op], Op | None]:
    """Return the operators that run before the last reader of a value, and that reader.

    The operators start at the last reader but one. A value with a single reader does not wait, and
    none that is no image could have a compactor: no operators and None.
    """
    readers = graph.readers(value)
    if len(readers) < 2 or not _is_image(graph, value):
        return (), None
    return graph.ops[readers[-2] : readers[-1]], graph.ops[readers[-1]]


def _is_sum(op: Op) -> bool:
    is_addition = op.layer is None and op.name.rstrip("_0123456789") in ADDITIONS
    return is_addition and len(set(op.reads)) == 2


def _is_image(graph: Graph, value: str) -> bool:
    return len(graph.values[value].shape) == 4


def _is_smaller(graph: Graph, op: Op, value: str) -> bool:
    """Return whether an operator makes an image of fewer pixels than the image `value`."""
    pixels = prod(graph.values[value].shape[2:])
    images = [made for made in op.makes if _is_image(graph, made)]
    return any(prod(graph.values[image].shape[2:]) < pixels for image in images)


def _identity_convolution(channels: int, like: nn.Parameter) -> nn.Conv2d:
    """Return a 1x1 convolution (N, C, H, W) -> (N, C, H, W) that computes the identity."""
    layer = nn.Conv2d(channels, channels, 1, device=like.device, dtype=like.dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(channels)[:, :, None, None])
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
