"""Compactors (MOSP): a 1x1 convolution on each long skip, so that the stored skip can shrink without the branch that made it.

    x = conv_k2(...);  s = C(x);  pool(x);  ...;  concat(up, s)

C starts as the identity with zero bias and has no activation: the network computes the same as before. What waits in memory is s; x dies
once the pooling and C have read it. A skip is *long* when a concat reads it last and, while it waits, the network works at a lower
resolution. Skips that are added, not concatenated, stay tied: a narrower summand has nothing to be added to.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import nn

from bench.contract import Inputs
from bench.errors import ConfigError
from bench.memory.graph import Graph
from bench.memory.reading import trace
from bench.memory.tracing import GraphModule, insert_layer, trace_module


def long_skips(model: nn.Module, input_shape: Inputs) -> list[str]:
    """Names of the values that wait on a long skip, in the order of execution."""
    graph = trace(model, input_shape)
    return [value for value in graph.values if _concats(graph, value)]


def insert(model: nn.Module, values: Sequence[str], input_shape: Inputs) -> GraphModule:
    """A copy of the network with a compactor on each of the named skips; same outputs.

    Args:
        model: left untouched.
        values: names as `long_skips` gives them.
        input_shape: an (N, C, H, W) that the network accepts.

    Raises:
        ConfigError: a name is not that of a long skip.
    """
    graph = trace(model, input_shape)
    compacted = deepcopy(trace_module(model))
    for value in values:
        readers = _concats(graph, value) if value in graph.values else []
        if not readers:
            raise ConfigError(f"'{value}' is not a long skip; long skips are: {', '.join(long_skips(model, input_shape)) or 'none'}")
        compactor = _identity(graph.values[value].shape[1], next(compacted.parameters()))
        insert_layer(compacted, value, compactor_name(value), compactor, readers)
    return compacted


def compactor_name(value: str) -> str:
    """Path of the compactor on a skip, "compactors.encoder_0_act2"."""
    return "compactors." + value.replace(".", "_").replace("#", "_")


def _concats(graph: Graph, value: str) -> list[str]:
    """The concats that end the long skip which this value waits on; none if it does not."""
    places = graph.readers(value)
    last = graph.ops[places[-1]] if len(places) > 1 else None
    if last is None or last.rule.channels != "concat":
        return []
    area = _area(graph, value)
    waits_below = any(_area(graph, op.name) < area for op in graph.ops[places[-2] + 1 : places[-1]])
    return [last.name] if waits_below else []


def _area(graph: Graph, value: str) -> int:
    shape = graph.values[value].shape
    return shape[-1] * shape[-2]


def _identity(channels: int, like: nn.Parameter) -> nn.Conv2d:
    """A 1x1 convolution (N, C, H, W) -> (N, C, H, W) that changes nothing."""
    compactor = nn.Conv2d(channels, channels, 1, device=like.device, dtype=like.dtype)
    with torch.no_grad():
        compactor.weight.copy_(torch.eye(channels)[:, :, None, None])
        nn.init.zeros_(compactor.bias)  # type: ignore[arg-type]
    return compactor
