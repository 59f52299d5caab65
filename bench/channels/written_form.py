"""The form of a network that surgery can change: the network itself, or its traced form."""

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from bench.channels.rules import propagate_channels
from bench.contract import Inputs, Shape
from bench.graph.ir import Graph
from bench.graph.lowering import write_out_if


def write_out(
    model: nn.Module,
    shape: Inputs,
    examples: Sequence[Tensor] = (),
    shapes: Iterable[Shape] = (),
) -> nn.Module:
    """Return the network as it is, or its traced form if pruning needs that.

    It does if the network can only be traced at a shape, and if its code knows the number of
    channels (heads of attention, the sizes of a split): surgery cannot change code.

    Args:
        model: not changed.
        shape: at which memory is counted.
        examples: inputs (N, C, H, W) of other sizes at which the network will run.
        shapes: of further inputs; read only if the network decides on sizes.

    Raises:
        ConfigError: the network cannot be traced, does not accept the shape, or decides on the size
            of its input so that it is another network for an example.
    """
    return write_out_if(_knows_its_channels, model, shape, examples, shapes)


def _knows_its_channels(graph: Graph) -> bool:
    return propagate_channels(graph).wants_rewriting
