"""Small networks that the harness must refuse, by name, and the stage at which it does.

"trace": the network cannot be traced, or an operator is not in the table, so that not even its
memory is known. "prune": its memory is known, but no channel can be removed.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Stage = Literal["trace", "prune"]
WIDTH = 6


class Around(nn.Module):
    """head -> the middle of a subclass -> tail."""

    width = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, self.width, 3, padding=1)
        self.tail = nn.Conv2d(self.width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return self.tail(self.middle(self.head(x)))

    def middle(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        raise NotImplementedError


class DependsOnValues(Around):
    def middle(self, x: Tensor) -> Tensor:
        return x.relu() if x.mean() > 0 else x


class DependsOnSize(Around):
    def middle(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if x.shape[2] > 100 else x


class OverSamples(Around):
    def middle(self, x: Tensor) -> Tensor:
        return torch.stack([sample.relu() for sample in x])


class WritesIntoASlice(Around):
    def middle(self, x: Tensor) -> Tensor:
        x[:, 0] = x[:, 1]
        return x


class InFrequencies(Around):
    def middle(self, x: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(x))


class Sorted(Around):
    def middle(self, x: Tensor) -> Tensor:
        return torch.sort(x, dim=1).values


class ReadsPixels(Around):
    """A recurrent layer along the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(WIDTH, WIDTH, batch_first=True)

    def middle(self, x: Tensor) -> Tensor:
        return self.recurrent(x.flatten(2).transpose(1, 2))[0].transpose(1, 2).reshape(x.shape)


class Rounding(torch.autograd.Function):
    """Rounds outside of torch, and passes the gradient through."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.from_numpy(np.round(x.detach().numpy()))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class OwnGradient(Around):
    def middle(self, x: Tensor) -> Tensor:
        return Rounding.apply(x)


class HeadsOfAttention(nn.Module):
    """Attention that views the channels as query, key and value of two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Conv2d(3, 3 * WIDTH, 1)
        self.project = nn.Conv2d(WIDTH, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        n, _, h, w = x.shape
        q, k, v = self.qkv(x).reshape(n, 3, 2, WIDTH // 2, h * w).unbind(1)
        attention = torch.softmax(q @ k.transpose(-2, -1), dim=-1)
        return self.project((attention @ v).reshape(n, WIDTH, h, w))


class ChannelShuffle(Around):
    def middle(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class SlicedByConstants(Around):
    def middle(self, x: Tensor) -> Tensor:
        return torch.cat((x[:, :3], x[:, 3:] * 2), 1)


class SplitIntoSizes(Around):
    def middle(self, x: Tensor) -> Tensor:
        few, many = torch.split(x, [2, WIDTH - 2], dim=1)
        return torch.cat((many, few), 1)


class MixedByEinsum(Around):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.rand(WIDTH, WIDTH))

    def middle(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,dc->ndhw", x, self.mix)


class OwnWeight(Around):
    """A convolution whose weight is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(WIDTH, WIDTH, 3, 3))

    def middle(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight / self.weight.sum(), padding=1)


class Recursive(Around):
    """One layer, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def middle(self, x: Tensor) -> Tensor:
        return self.again(self.again(x).relu())


class SharedWeight(Around):
    """Two layers, one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.second = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.second.weight = self.first.weight

    def middle(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu())


class TiedToTheOutput(nn.Module):
    """One convolution, added to the input."""

    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return x + self.only(x)


REFUSED: dict[str, tuple[Callable[[], nn.Module], Stage]] = {
    "control flow that depends on values": (DependsOnValues, "trace"),
    "writing into a slice": (WritesIntoASlice, "prune"),
    "sort": (Sorted, "prune"),
    "lstm": (ReadsPixels, "trace"),
    "autograd function": (OwnGradient, "trace"),
    "heads of attention": (HeadsOfAttention, "prune"),
    "channel shuffle": (ChannelShuffle, "prune"),
    "slices by constants": (SlicedByConstants, "prune"),
    "split into sizes": (SplitIntoSizes, "prune"),
    "einsum": (MixedByEinsum, "prune"),
    "a computed weight": (OwnWeight, "prune"),
    "a layer called twice": (Recursive, "prune"),
    "two layers with one weight": (SharedWeight, "prune"),
    "output-tied only": (TiedToTheOutput, "prune"),
}
