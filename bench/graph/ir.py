"""Data classes for a traced network: operators in execution order, and their values.

An operator is named after its layer ("decoder.d1.d11"), with "#2" appended at the second call of
the layer, or has the name that torch.fx gives to a function call ("cat_3"). Its result has the same
name; if it has several results, the k-th is named "chunk[k]". `bench.graph.lowering` builds these
objects; this module does not import torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.graph.operators import Operator


@dataclass(frozen=True)
class Value:
    """A result of an operator, a network input, or a weight that the forward code reads directly.

    Args:
        shape: usually (N, C, H, W).
        dtype: "float32", for example.
        size_bytes: size of all elements.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    size_bytes: int


@dataclass(frozen=True)
class NumberArgument:
    """A number in a call that the code computes from sizes.

    Args:
        path: where it stands: the position or name of an argument, then positions inside it.
        number: at the traced shape.
        sizes: (value, axis) of the sizes that it is computed from: x.shape[1] is (x, 1).
    """

    path: tuple[int | str, ...]
    number: int | float
    sizes: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Op:
    """One operator call of the forward pass.

    Args:
        name: of the operator.
        rule: its row of the operator table.
        reads: names of the values it reads, in argument order.
        makes: names of the values it makes.
        layer: path of the called layer, if it calls one.
        written_in_place: whether the code asks to overwrite the operand.
        shares: whether its result on meta tensors lies in the storage of an operand.
        arguments: the call arguments that its rule needs.
        numbers: among them those that the code computes from sizes.
        size_paths: if a rule needs the sizes of the result, where each of them stands.
        line: of the user's code, as text: ", net.py:12"; "" where it is not known.
    """

    name: str
    rule: Operator
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    layer: str | None
    written_in_place: bool
    shares: bool
    arguments: Mapping[str, Any]
    numbers: tuple[NumberArgument, ...] = ()
    size_paths: tuple[tuple[int | str, ...], ...] = ()
    line: str = ""


@dataclass(frozen=True)
class Graph:
    """A network as operators and values.

    Args:
        ops: in execution order.
        values: name -> value.
        inputs, outputs: names of the values that enter and leave the network.
        weights: names of the values that are weights.
        shared: layers, and values that are weights, that share a weight with another one.
        decisions: name of each check that the network is traced for inputs like these -> the
            (value, axis) of the sizes that it compares.
        rewritable: whether surgery may change the sizes in the calls, because the network is
            traced already and its code no longer runs.
    """

    ops: tuple[Op, ...]
    values: dict[str, Value]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[str, ...]
    shared: tuple[str, ...] = ()
    decisions: Mapping[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    rewritable: bool = False

    def readers(self, value: str) -> list[int]:
        """Return the positions in `ops` of all operators that read a value."""
        return [position for position, op in enumerate(self.ops) if value in op.reads]
