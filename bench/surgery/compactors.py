"""Compactors (MOSP): a 1x1 convolution on each long skip, so that the stored skip can shrink without the branch that made it.

    x = conv_k2(...);  s = C(x);  pool(x);  ...;  concat(up, s)

C starts as the identity with zero bias and has no activation: the network computes the same as
before. What waits in memory is s; x dies once the pooling and C have read it. A skip is *long* when
a concat reads it last and, while it waits, the network works at a lower resolution.

Skips that are added, not concatenated, stay tied: a narrower summand has nothing to be added to. A
pair makes it one, if asked for: C behind the value, and an expander E, the same kind of layer,
right before the addition.

    s = C(x);  ...;  y + E(s)

What waits is s, with channels of its own; E(s) is tied to y. A skip that is added is long when
other additions happen while it waits, such as the one around all blocks of EDSR, or when the
network works at a lower resolution.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import nn

from bench.contract import Inputs
from bench.errors import ConfigError
from bench.graph.ir import Graph, Op
from bench.graph.lowering import trace
from bench.graph.tracing import GraphModule, insert_layer, trace_module

SUMS = ("add", "iadd")


def long_skips(model: nn.Module, input_shape: Inputs) -> list[str]:
    """Names of the values that wait on a long skip for a concat, in the order of execution."""
    graph = trace(model, input_shape)
    return [value for value in graph.values if _concats(graph, value)]


def long_sums(model: nn.Module, input_shape: Inputs) -> list[str]:
    """Names of the values that wait on a long skip for an addition, in the order of execution."""
    graph = trace(model, input_shape)
    return [value for value in graph.values if _sums(graph, value)]


def insert(model: nn.Module, values: Sequence[str], input_shape: Inputs) -> GraphModule:
    """A copy of the network with a compactor, or a pair, on each of the named skips; same outputs.

    Args:
        model: left untouched.
        values: names as `long_skips` and `long_sums` give them.
        input_shape: an (N, C, H, W) that the network accepts.

    Raises:
        ConfigError: a name is not that of a long skip.
    """
    graph = trace(model, input_shape)
    compacted = deepcopy(trace_module(model))
    for value in values:
        concats, sums = (
            (_concats(graph, value), _sums(graph, value)) if value in graph.values else ([], [])
        )
        if not concats and not sums:
            known = ", ".join([*long_skips(model, input_shape), *long_sums(model, input_shape)])
            raise ConfigError(f"'{value}' is not a long skip; long skips are: {known or 'none'}")
        width, like, name = (
            graph.values[value].shape[1],
            next(compacted.parameters()),
            compactor_name(value),
        )
        insert_layer(compacted, value, name, _identity(width, like), concats or sums)
        if sums:
            insert_layer(
                compacted,
                name,
                name.replace("compactors", "expanders", 1),
                _identity(width, like),
                sums,
                late=True,
            )
    return compacted


def compactor_name(value: str) -> str:
    """Path of the compactor on a skip, "compactors.encoder_0_act2"."""
    return "compactors." + value.replace(".", "_").replace("#", "_")


def _concats(graph: Graph, value: str) -> list[str]:
    """The concats that end the long skip which this value waits on; none if it does not."""
    between, last = _wait(graph, value)
    if last is None or last.rule.channels != "concat":
        return []
    area = _area(graph, value)
    return [last.name] if any(_area(graph, op.name) < area for op in between) else []


def _sums(graph: Graph, value: str) -> list[str]:
    """The additions that end the long skip which this value waits on; none if it does not."""
    between, last = _wait(graph, value)
    made = (
        value not in graph.inputs
        and value not in graph.weights
        and len(graph.values[value].shape) == 4
    )
    if not made or last is None or not _is_sum(last):
        return []
    area = _area(graph, value)
    return [last.name] if any(_is_sum(op) or _area(graph, op.name) < area for op in between) else []


def _wait(graph: Graph, value: str) -> tuple[Sequence[Op], Op | None]:
    """What runs from the last reader but one to the last, and the last; nothing where a value has only one."""
    places = graph.readers(value)
    return (
        (graph.ops[places[-2] : places[-1]], graph.ops[places[-1]])
        if len(places) > 1
        else ((), None)
    )


def _is_sum(op: Op) -> bool:
    return op.layer is None and op.name.rstrip("_0123456789") in SUMS and len(set(op.reads)) == 2


def _area(graph: Graph, value: str) -> int:
    shape = graph.values[value].shape
    return shape[-1] * shape[-2]


def _identity(channels: int, like: nn.Parameter) -> nn.Conv2d:
    """A 1x1 convolution (N, C, H, W) -> (N, C, H, W) that changes nothing."""
    layer = nn.Conv2d(channels, channels, 1, device=like.device, dtype=like.dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(channels)[:, :, None, None])
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
