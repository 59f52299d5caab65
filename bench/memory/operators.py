"""What each operator does to memory and to channels: one row an operator.

An operator that is not in the table is refused by name, never counted as zero. Memory, under the two conventions ("planned": the least
that a good executor needs; "eager": the operators as written):

    ALLOCATE      writes a new storage                              in both
    ELEMENTWISE   planned: overwrites an operand that nobody reads later and that has the shape of the result, else a new storage
                  eager:   overwrites only where the code says so
    VIEW          no storage of its own                             in both
    REARRANGE     planned: a view (whoever reads it, reads its parts); eager: a new storage

Channels:

    MIX           every output channel depends on all input channels: the output is a new unit
    KEEP          channel c of the result depends on channel c of the operands only: operands are tied
    CONCAT        the channels of the operands, one after the other
"""

from dataclasses import dataclass
from typing import Literal

Memory = Literal["allocate", "elementwise", "view", "rearrange"]
Channels = Literal["mix", "keep", "concat"]


@dataclass(frozen=True)
class Operator:
    """One row: effect on memory, effect on channels."""

    memory: Memory
    channels: Channels


def _rows(names: str, memory: Memory, channels: Channels) -> dict[str, Operator]:
    return dict.fromkeys(names.split(), Operator(memory, channels))


# Layers are named by their class, functions and tensor methods by their name without a trailing underscore.
TABLE: dict[str, Operator] = (
    _rows("Conv2d ConvTranspose2d", "allocate", "mix")
    | _rows("MaxPool2d AvgPool2d max_pool2d avg_pool2d Upsample interpolate", "allocate", "keep")
    | _rows("ReLU LeakyReLU ReLU6 ELU SiLU Mish Hardswish Sigmoid Tanh Softplus", "elementwise", "keep")
    | _rows("relu leaky_relu elu silu mish hardswish sigmoid tanh softplus clamp", "elementwise", "keep")
    | _rows("add iadd sub isub mul imul", "elementwise", "keep")
    | _rows("Identity Dropout Dropout2d dropout contiguous", "view", "keep")
    | _rows("cat concat", "rearrange", "concat")
)
