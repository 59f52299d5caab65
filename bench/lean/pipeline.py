"""Rewrite a network so that its measured peak on the CPU is the planned one, with equal outputs.

The rewrites work on the traced network. First, sizes are read as early as they can be, and writes
in place are removed (`bench.lean.functionalize`); then concats, shuffles and layers with large
buffers are computed in strips (`bench.lean.fuse_concat`), and instance normalisations without a
copy of their input (`bench.lean.norms`); then elementwise operators overwrite an operand
(`bench.lean.reinplace`). The generated code drops every value after its last use.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from bench.channels.written_form import write_out
from bench.contract import Inputs
from bench.errors import ConfigError
from bench.graph.tracing import trace_module
from bench.lean.alias_analysis import AliasAnalysis
from bench.lean.functionalize import functionalize, read_sizes_early, simplify_calls
from bench.lean.fuse_concat import ConcatFusion
from bench.lean.headroom import Excess, Headroom, find_excess
from bench.lean.norms import replace_instance_norms
from bench.lean.reinplace import overwrite_operands

SCRATCH_SHARE = 64  # a strip has this fraction (1/64) of the planned peak
MAX_SCRATCH_BYTES = 8 * 2**20  # larger strips do not fit into the cache


class LeanNetwork(nn.Module):
    """A rewritten network, for inference.

    The caller holds the inputs while `forward` runs; `consume` frees each as soon as the network
    has read it.

    Args:
        network: takes the list of inputs, and empties it.
        excess: operators that make it need more than planned.
    """

    def __init__(self, network: GraphModule, excess: tuple[Excess, ...] = ()) -> None:
        super().__init__()
        self.network, self.excess = network, excess

    def forward(self, *inputs: Tensor) -> Any:
        """Return the output of the network; the inputs are left unchanged."""
        return self.consume(list(inputs))

    def consume(self, inputs: list[Tensor]) -> Any:
        """Return the output of the network; takes the inputs out of the list."""
        with torch.no_grad():
            return self.network(inputs)


def make_lean(model: nn.Module, shape: Inputs) -> LeanNetwork:
    """Return a rewritten network in eval mode that shares the weights of `model`.

    Args:
        model: any network that can be traced; it is not changed.
        shape: (N, C, H, W), or several for several inputs, for which the rewrites are chosen; the
            network also runs at other shapes.

    Raises:
        ConfigError: the network cannot be traced, uses an operator that is not in the table, or
            reads inputs that have no name.
    """
    traced = _copy_sharing_weights(trace_module(write_out(model, shape)))
    headroom = Headroom(model, traced, shape)
    simplify_calls(traced)
    analysis = AliasAnalysis(traced, shape)
    read_sizes_early(analysis)
    if functionalize(analysis):
        scratch_bytes = min(MAX_SCRATCH_BYTES, headroom.peak // SCRATCH_SHARE)
        replace_instance_norms(analysis, headroom)
        ConcatFusion(analysis, headroom, scratch_bytes).apply()
    overwrite_operands(AliasAnalysis(traced, shape))
    excess = find_excess(traced, shape, headroom)
    _take_inputs_from_list(traced)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return LeanNetwork(traced, excess).eval()


def take_input(inputs: list[Any], index: int, *default: Any) -> Any:
    """Take one input out of the list; return its default if the caller did not give it.

    Raises ConfigError if it has none.
    """
    if index >= len(inputs) and default:
        return default[0]
    if index >= len(inputs):
        raise ConfigError(
            f"the network was given {len(inputs)} inputs and reads a {index + 1}. one; "
            "give all that its forward takes, in their order"
        )
    taken = inputs[index]
    inputs[index] = None
    return taken


def _copy_sharing_weights(traced: GraphModule) -> GraphModule:
    """Return a copy in eval mode with its own tensors, which share the data of the weights."""
    memo: dict[int, Any] = {
        id(weight): nn.Parameter(weight.detach(), requires_grad=False)
        for weight in traced.parameters()
    }
    memo |= {id(buffer): buffer.detach() for buffer in traced.buffers()}
    twin: GraphModule = deepcopy(traced, memo).eval()
    return twin


def _take_inputs_from_list(traced: GraphModule) -> None:
    """Change the network so that it takes one argument, a list of the inputs."""
    placeholders = [node for node in traced.graph.nodes if node.op == "placeholder"]
    with traced.graph.inserting_before(placeholders[0]):
        inputs = traced.graph.placeholder("given_inputs")
    for index, node in enumerate(placeholders):
        with traced.graph.inserting_before(node):
            taken = traced.graph.call_function(take_input, (inputs, index, *node.args))
        node.replace_all_uses_with(taken)
        traced.graph.erase_node(node)
    traced.graph.lint()
