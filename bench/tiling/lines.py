"""The pixels of a value along one axis of the image, and what operators read of them.

Positions are counted from the start of the image; position j of a value lies at `ratio * j` input
pixels. An operator reads a window of positions for each position that it makes:

    floor((step * j + first) / per)  to  floor((step * j + last) / per)

A convolution of stride s, padding p and kernel k has step s, first -p and last k - 1 - p; what
enlarges has per > 1. Where a start of the image is artificial, because a tile begins there, a
position is clean if it and all that it is computed from lie in the tile; the same at an end. A tile
that starts at a multiple of the period sees the same grid as the whole image, so that its clean
positions have the values that they have in the whole.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, lcm
from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """The positions that an operator reads for position j, see the top of this file."""

    step: int = 1
    per: int = 1
    first: int = 0
    last: int = 0


def slide(kernel: int, stride: int, padding: int, dilation: int = 1) -> Window:
    """Return the window of a convolution or a pooling."""
    return Window(stride, 1, -padding, dilation * (kernel - 1) - padding)


def spread(kernel: int, stride: int, padding: int, dilation: int = 1) -> Window:
    """Return the window of a transposed convolution.

    With stride and dilation above 1 it is the least that holds what all phases read. A position
    that no tap of the kernel reaches is taken to read its neighbour.
    """
    first = padding - dilation * (kernel - 1) + stride - 1
    return Window(1, stride, min(first, padding), padding)


@dataclass(frozen=True)
class Line:
    """The pixels of a value along one axis of the image.

    Args:
        ratio: input pixels per position.
        period: input pixels after which everything repeats: where a tile may start.
        length: number of positions.
        low, high: int64 (period / ratio,), first and last input pixel that the positions of one
            period depend on, in an image without end.
        clean_from: first clean position, if the start is artificial.
        clean_to: position after the last clean one, if the end is artificial.
    """

    ratio: Fraction
    period: int
    length: int
    low: np.ndarray
    high: np.ndarray
    clean_from: int
    clean_to: int

    @cached_property
    def positions(self) -> int:
        """Positions in one period."""
        return int(self.period / self.ratio)

    def reach(self, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return first and last input pixel behind these positions, also outside of one period."""
        low = self.low[first % self.positions] + self.period * (first // self.positions)
        high = self.high[last % self.positions] + self.period * (last // self.positions)
        return low, high

    def read(self, window: Window, length: int) -> "Line":
        """Return the line of what an operator makes, of this many positions."""
        step, per, first, last = window
        ratio = self.ratio * Fraction(step, per)
        period = lcm(self.period, ratio.numerator)
        j = np.arange(int(period / ratio))
        low, high = self.reach((step * j + first) // per, (step * j + last) // per)
        clean_from = max(0, ceil(Fraction(per * self.clean_from - first, step)))
        clean_to = min(length, ceil(Fraction(per * self.clean_to - last, step)))
        return Line(ratio, period, length, low, high, clean_from, clean_to)

    def join(self, other: "Line") -> "Line":
        """Return the line of what is computed from two values of equal ratio, pixel by pixel."""
        period = lcm(self.period, other.period)
        j = np.arange(int(period / self.ratio))
        (low, high), (other_low, other_high) = self.reach(j, j), other.reach(j, j)
        return Line(
            self.ratio,
            period,
            self.length,
            np.minimum(low, other_low),
            np.maximum(high, other_high),
            max(self.clean_from, other.clean_from),
            min(self.clean_to, other.clean_to),
        )


def whole_line(length: int) -> Line:
    """Return the line of an input."""
    zero = np.zeros(1, dtype=np.int64)
    return Line(Fraction(1), 1, length, zero, zero, 0, length)
