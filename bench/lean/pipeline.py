"""A network rewritten so that its measured peak on the CPU is the planned one; its outputs stay the same.

The rules work on the traced network: first nothing is written in place
(`bench.lean.functionalize`), then concats, shuffles and layers with large buffers are computed in
strips (`bench.lean.fuse_concat`), then elementwise operators overwrite (`bench.lean.reinplace`).
The generated code lets go of every value after its last use.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from bench.contract import Inputs
from bench.graph.tracing import trace_module
from bench.lean.alias_analysis import Values
from bench.lean.functionalize import make_pure, plain
from bench.lean.fuse_concat import Joins
from bench.lean.headroom import Excess, Room, remaining
from bench.lean.reinplace import overwrite

SCRATCH_SHARE = 64  # a strip is one part in so many of the planned peak
MOST_SCRATCH_BYTES = 8 * 2**20  # larger strips leave the cache


class Lean(nn.Module):
    """A rewritten network, for inference.

    A caller holds the inputs while `forward` runs; after `consume` they are gone as soon as the
    network has read them.

    Args:
        body: takes the list of inputs, and empties it.
        remaining: operators that make it need more than planned.
    """

    def __init__(self, body: GraphModule, remaining: tuple[Excess, ...] = ()) -> None:
        super().__init__()
        self.body, self.remaining = body, remaining

    def forward(self, *inputs: Tensor) -> Any:
        """What the network gives; inputs are left as they are."""
        return self.consume(list(inputs))

    def consume(self, inputs: list[Tensor]) -> Any:
        """The same; takes the inputs out of the list."""
        with torch.no_grad():
            return self.body(inputs)


def lean(model: nn.Module, shape: Inputs) -> Lean:
    """A rewritten network with the weights of `model`, which is left untouched, in eval mode.

    Args:
        model: any network that can be traced.
        shape: (N, C, H, W), or several for several inputs, at which the rules are chosen; it also
            runs at others.

    Raises:
        ConfigError: the network cannot be traced or uses an operator that the ruler does not know.
    """
    traced = _sharing_weights(trace_module(model))
    room = Room(model, traced, shape)
    plain(traced)
    values = Values(traced, shape)
    if make_pure(values):
        Joins(values, room, min(MOST_SCRATCH_BYTES, room.peak // SCRATCH_SHARE)).apply()
    values = Values(traced, shape)
    left = remaining(values, room, overwrite(values))
    _take_inputs(traced)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return Lean(traced, left).eval()


def take(inputs: list[Any], place: int, *default: Any) -> Any:
    """One input, which leaves the list; its default where the caller gave none."""
    if place >= len(inputs) and default:
        return default[0]
    taken, inputs[place] = inputs[place], None
    return taken


def _sharing_weights(traced: GraphModule) -> GraphModule:
    """A copy in eval mode with tensors of its own that share the data."""
    memo: dict[int, Any] = {
        id(weight): nn.Parameter(weight.detach(), requires_grad=False)
        for weight in traced.parameters()
    }
    memo |= {id(buffer): buffer.detach() for buffer in traced.buffers()}
    copied: GraphModule = deepcopy(traced, memo).eval()
    return copied


def _take_inputs(traced: GraphModule) -> None:
    """Makes the network ask for a list of inputs."""
    asked = [node for node in traced.graph.nodes if node.op == "placeholder"]
    with traced.graph.inserting_before(asked[0]):
        inputs = traced.graph.placeholder("given_inputs")
    for place, node in enumerate(asked):
        with traced.graph.inserting_before(node):
            taken = traced.graph.call_function(take, (inputs, place, *node.args))
        node.replace_all_uses_with(taken)
        traced.graph.erase_node(node)
    traced.graph.lint()
