"""Small networks that can only be traced at a shape, each with one habit of published ones."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.contract import Shape
from tests.networks.refused import Around

SHAPE: Shape = (1, 3, 20, 24)
WIDTH = 8
WINDOW = 4


class _Around(Around):
    width = WIDTH


class PadsToAWindow(_Around):
    """Pads if it has to, and crops again."""

    def middle(self, x: Tensor) -> Tensor:
        _, _, h, w = x.size()
        down, right = (WINDOW - h % WINDOW) % WINDOW, (WINDOW - w % WINDOW) % WINDOW
        if down or right:
            x = F.pad(x, (0, right, 0, down), mode="reflect")
        return F.avg_pool2d(x, 3, 1, 1)[:, :, :h, :w]


class CountsWindows(_Around):
    """Works on one window after the other."""

    def middle(self, x: Tensor) -> Tensor:
        rows = [
            x[:, :, WINDOW * row : WINDOW * (row + 1)] * (row + 1)
            for row in range(math.ceil(x.shape[2] / WINDOW))
        ]
        return torch.cat(rows, dim=2)


class DecidesOnTheHeight(_Around):
    """Is another network at each height."""

    def middle(self, x: Tensor) -> Tensor:
        return x.relu() if x.shape[2] == SHAPE[2] else x.sigmoid()


class HasOptions(_Around):
    """Has a mask that nobody gives."""

    def forward(self, x: Tensor, mask: Tensor | None = None, *, scale: float = 2.0) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        y = self.head(x) * scale
        return self.tail(y if mask is None else y * mask)


class AssignsItems(_Around):
    """Fills a mask, window by window."""

    def middle(self, x: Tensor) -> Tensor:
        mask = torch.zeros((1, 1, x.shape[2], x.shape[3]), device=x.device)
        for number, rows in enumerate((slice(0, -WINDOW), slice(-WINDOW, None))):
            mask[:, :, rows, :] = number + 1
        return x * mask


class KeepsAMean(_Around):
    """Moves its mean to the type of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.full((1, WIDTH, 1, 1), 0.25)
        self.register_buffer("deviation", torch.full((1, WIDTH, 1, 1), 2.0))

    def middle(self, x: Tensor) -> Tensor:
        self.mean = self.mean.type_as(x)
        self.deviation = self.deviation.to(x.device)
        return (x - self.mean) / self.deviation


class MakesALayer(_Around):
    """Builds a layer without weights whenever it runs."""

    def middle(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(nn.ReplicationPad2d((0, x.shape[3] % 2, 1, 1))(x), 3, 1, (0, 1))


class Positions(_Around):
    """Adds ramps over rows and columns; a constant of one number is no problem either."""

    def middle(self, x: Tensor) -> Tensor:
        rows, columns = (torch.arange(size, device=x.device).float() for size in x.shape[2:])
        ramps = torch.stack(torch.meshgrid([rows, columns], indexing="ij"))
        return x + ramps.sum(0) / x.shape[2] + torch.tensor(0.5)


class Windows(_Around):
    """Attention of several heads in windows, as in Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.project = nn.Linear(WIDTH, WIDTH)
        self.heads = 2

    def middle(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        assert h % WINDOW == 0 and w % WINDOW == 0
        tokens = self.norm(x.flatten(2).transpose(1, 2)).view(b, h, w, c)
        parts = tokens.view(b, h // WINDOW, WINDOW, w // WINDOW, WINDOW, c)
        parts = parts.permute(0, 1, 3, 2, 4, 5).reshape(-1, WINDOW**2, c)
        qkv = self.qkv(parts).reshape(-1, WINDOW**2, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (q * (c // self.heads) ** -0.5 @ k.transpose(-2, -1)).softmax(-1)
        parts = self.project((weights @ v).transpose(1, 2).reshape(-1, WINDOW**2, c))
        batch = int(parts.shape[0] / (h * w / WINDOW / WINDOW))
        parts = parts.view(batch, h // WINDOW, w // WINDOW, WINDOW, WINDOW, c)
        return x + parts.permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)


class OneHead(Windows):
    """A single head, whose map is larger than queries and keys: its channels may go."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 1


class CountsHeads(_Around):
    """Computes the number of heads, which is one, from that of channels, as in SCUNet."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.project = nn.Linear(WIDTH, WIDTH)

    def middle(self, x: Tensor) -> Tensor:
        tokens = self.qkv(x.flatten(2).transpose(1, 2))
        parts = tokens.view(x.shape[0], -1, 3 * x.shape[1] // WIDTH, WIDTH).permute(2, 0, 1, 3)
        q, k, v = parts.chunk(3, dim=0)
        weights = torch.einsum("hbpc,hbqc->hbpq", q, k).softmax(-1)
        found = torch.einsum("hbpq,hbqc->hbpc", weights, v)
        tokens = self.project(found.permute(1, 2, 0, 3).reshape(x.shape[0], -1, x.shape[1]))
        return x + tokens.transpose(1, 2).reshape(x.shape)


class TorchAttention(_Around):
    """The attention layer of torch.nn, with other values than keys."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2)

    def middle(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).permute(2, 0, 1)
        keys = self.norm(tokens)
        found = self.attention(keys, keys, value=tokens, need_weights=False)[0]
        return x + found.permute(1, 2, 0).reshape(x.shape)


class CallsFunctions(_Around):
    """Calls functions with weights of its own, one with a bias that is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.Linear(WIDTH, 2 * WIDTH, bias=False)
        self.bias = nn.Parameter(torch.rand(WIDTH))
        self.scale = nn.Parameter(torch.rand(2 * WIDTH))
        self.weight = nn.Parameter(torch.rand(WIDTH, 2 * WIDTH, 3, 3))

    def middle(self, x: Tensor) -> Tensor:
        bias = torch.cat((self.bias, torch.zeros_like(self.bias)))
        tokens = F.linear(input=x.permute(0, 2, 3, 1), weight=self.widen.weight, bias=bias)
        tokens = F.layer_norm(tokens, (2 * WIDTH,), self.scale, eps=1e-3)
        tokens = F.layer_norm(tokens, [tokens.size(-1)])
        return x + F.conv2d(tokens.permute(0, 3, 1, 2), self.weight, padding=1)


class Positions2d(_Around):
    """Takes elements at positions, from a table and from each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.rand(WIDTH, 5, 5))
        self.rows = nn.Buffer(torch.arange(4) % 5)

    def middle(self, x: Tensor) -> Tensor:
        order = torch.arange(x.shape[2], device=x.device).flip(0).view(1, 1, -1, 1)
        found = torch.gather(x, 2, order.expand(x.shape))
        return found + self.table[:, self.rows, self.rows + 1].mean(1).view(1, -1, 1, 1)


@torch.jit.script
def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def call_if_callable(x: Any) -> Any:
    return x() if callable(x) else x


class AsksForTensors(_Around):
    """Asks what its values are, and calls a scripted function."""

    def middle(self, x: Tensor) -> Tensor:
        assert isinstance(x, Tensor) and torch.is_tensor(x)
        return swish(call_if_callable(x) * len(x.shape))


class Transposed(_Around):
    """Attention over channels with a temperature, as in Restormer."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 2
        self.temperature = nn.Parameter(torch.full((self.heads, 1, 1), 2.0))
        self.qkv = nn.Conv2d(WIDTH, 3 * WIDTH, 1)
        self.project = nn.Conv2d(WIDTH, WIDTH, 1)

    def middle(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        q, k, v = (
            part.reshape(b, self.heads, c // self.heads, h * w)
            for part in self.qkv(x).chunk(3, dim=1)
        )
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        weights = (q @ k.transpose(-2, -1) * self.temperature).softmax(dim=-1)
        return x + self.project((weights @ v).reshape(b, c, h, w))


class SlicesAndSplits(_Around):
    """Cuts channels by numbers in the code, and shuffles them."""

    def middle(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        few, many = torch.split(x, [2, WIDTH - 2], dim=1)
        x = torch.cat((many.relu(), few), 1)
        x = torch.cat((x[:, :3], x[:, 3:] * 2), 1)
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return x @ torch.eye(w)


SHAPED: dict[str, Callable[[], nn.Module]] = {
    cls.__name__: cls
    for cls in (
        PadsToAWindow,
        CountsWindows,
        HasOptions,
        AssignsItems,
        KeepsAMean,
        MakesALayer,
        Positions,
        Windows,
        OneHead,
        CountsHeads,
        TorchAttention,
        CallsFunctions,
        Positions2d,
        AsksForTensors,
        Transposed,
        SlicesAndSplits,
    )
}
ATTENTION = (
    "Windows",
    "OneHead",
    "CountsHeads",
    "TorchAttention",
    "CallsFunctions",
    "Positions2d",
    "Transposed",
    "SlicesAndSplits",
)
