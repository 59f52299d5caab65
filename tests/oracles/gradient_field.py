"""The receptive field by gradients: which input pixels one output pixel depends on.

Nothing is traced: autograd says it. A draw in which an activation is flat, or a pooling takes
another pixel, hides a dependence, so several draws are joined.
"""

from copy import deepcopy

import torch
from torch import nn

from bench.tiling.receptive_field import AxisField, receptive_field

Extent = tuple[int, int]


def gradient_extent(
    model: nn.Module, shape: tuple[int, ...], row: int, column: int, draws: int
) -> tuple[Extent, Extent]:
    """Return first and last input row, and column, that an output pixel depends on.

    Args:
        model: in eval mode and double precision, (N, C, H, W) -> (N, C', H', W').
        shape: of one image (1, C, H, W).
        row, column: of the output pixel.
        draws: number of random images.
    """
    x = torch.randn(draws, *shape[1:], dtype=torch.float64, requires_grad=True)
    with torch.autograd.graph.allow_mutation_on_saved_tensors():  # of operators in place
        (slope,) = torch.autograd.grad(model(x)[..., row, column].sum(), x)
    seen = slope.detach().abs().amax((0, 1)) > 0
    rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
    return (
        (int(rows.min()), int(rows.max())),
        (int(columns.min()), int(columns.max())),
    )


def assert_field_by_gradients(model: nn.Module, shape: tuple[int, ...], draws: int = 4) -> None:
    """Compare the receptive field of the pixels around the centre with their gradients."""
    field = receptive_field(model, shape)
    model = deepcopy(model).double()
    with torch.no_grad():
        height, width = model(torch.zeros(shape, dtype=torch.float64)).shape[-2:]
    for more in range(3):
        place = (height // 2 + more, width // 2 + more)
        expected = tuple(
            _extent(axis, position, length)
            for axis, position, length in zip(
                (field.rows, field.columns), place, shape[2:], strict=True
            )
        )
        assert expected == gradient_extent(model, shape, *place, draws)


def _extent(axis: AxisField, position: int, length: int) -> Extent:
    """Return first and last input pixel behind an output pixel, inside of the image."""
    period, phase = divmod(position, len(axis.low))
    low, high = (int(ends[phase]) + period * axis.period for ends in (axis.low, axis.high))
    return max(low, 0), min(high, length - 1)
