"""The receptive field by gradients: which input pixels one output pixel depends on.

Nothing is traced: autograd says it. A draw in which an activation is flat, or a pooling takes
another pixel, hides a dependence, so several draws are joined.
"""

import torch
from torch import nn

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
