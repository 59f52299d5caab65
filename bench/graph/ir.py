"""The nouns of the ruler: a network as operators in the order of execution, and the values that they read and make. No torch here.

An operator has the name of its layer ("decoder.d1.d11"), with "#2" for the second call of a layer,
or the name that torch.fx gives to a function call ("cat_3"). The value that it makes has its name;
of several the k-th is "chunk[k]". `bench.graph.lowering` makes graphs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.graph.operators import Operator


@dataclass(frozen=True)
class Value:
    """What an operator made, an input of the network, or a weight that the code reads directly.

    Args:
        shape: usually (N, C, H, W).
        dtype: "float32".
        size_bytes: all elements.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    size_bytes: int


@dataclass(frozen=True)
class Op:
    """One call in the forward function, in the order of execution.

    Args:
        name: of the operator.
        rule: its row of the operator table.
        reads: names of the values that it reads, in the order of the arguments.
        makes: names of the values that it makes.
        layer: path of the layer that is called, if it is one.
        written_in_place: the code asks for its operand to be overwritten.
        shares: what it made on meta tensors lies in the storage of what it read.
        arguments: what its rule wants to know.
        sizes: (value, axis) of the sizes that it computes with: x.shape[1] is (x, 1).
    """

    name: str
    rule: Operator
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    layer: str | None
    written_in_place: bool
    shares: bool
    arguments: Mapping[str, Any]
    sizes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Graph:
    """A network.

    Args:
        ops: in the order of execution.
        values: by name.
        inputs, outputs: values that enter and leave the network.
        weights: values that are weights.
        shared: layers, and weights that are values, that have a weight in common with another one.
    """

    ops: tuple[Op, ...]
    values: dict[str, Value]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[str, ...]
    shared: tuple[str, ...] = ()

    def readers(self, value: str) -> list[int]:
        """Places in `ops` of all operators that read the value."""
        return [place for place, op in enumerate(self.ops) if value in op.reads]
