"""Public restoration networks whose feature maps keep one size.

DnCNN, SRResNet, EDSR, an enhancement attention network, and two that have a second input (a noise
map, a guide). Written anew after their papers; the default widths are small.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv(c_in: int, c_out: int, size: int = 3, dilation: int = 1) -> nn.Conv2d:
    """Return a convolution that keeps the height and the width."""
    return nn.Conv2d(c_in, c_out, size, padding=dilation * (size // 2), dilation=dilation)


class DnCNN(nn.Module):
    """Zhang et al. 2017: the network estimates the noise, which is subtracted from the input."""

    def __init__(self, width: int = 6, depth: int = 5) -> None:
        super().__init__()
        inner: list[nn.Module] = []
        for _ in range(depth - 2):
            inner += [
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
        self.noise = nn.Sequential(conv(3, width), nn.ReLU(inplace=True), *inner, conv(width, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return x - self.noise(x)


class SRResNet(nn.Module):
    """Ledig et al. 2017, at a scale of 2 or 4.

    Residual blocks with BatchNorm and PReLU, and PixelShuffle.
    """

    def __init__(self, width: int = 6, blocks: int = 2, scale: int = 4) -> None:
        super().__init__()
        self.head = nn.Sequential(conv(3, width, 9), nn.PReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(
                conv(width, width + 1),
                nn.BatchNorm2d(width + 1),
                nn.PReLU(),
                conv(width + 1, width),
                nn.BatchNorm2d(width),
            )
            for _ in range(blocks)
        )
        self.body_end = nn.Sequential(conv(width, width), nn.BatchNorm2d(width))
        stages: list[nn.Module] = []
        for _ in range(scale // 2):
            stages += [conv(width, 4 * width), nn.PixelShuffle(2), nn.PReLU(width)]
        self.up = nn.Sequential(*stages)
        self.tail = conv(width, 3, 9)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, scale H, scale W)."""
        head = self.head(x)
        y = head
        for block in self.blocks:
            y = y + block(y)
        return self.tail(self.up(head + self.body_end(y)))


class MeanShift(nn.Conv2d):
    """A frozen 1x1 convolution that subtracts (sign -1) or adds (sign 1) the mean colour."""

    def __init__(self, sign: int, mean: tuple[float, ...] = (114.4, 111.5, 103.0)) -> None:
        super().__init__(3, 3, 1)
        self.requires_grad_(False)
        self.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        self.bias.copy_(sign * torch.tensor(mean))


class EDSR(nn.Module):
    """Lim et al. 2017, the baseline at width 64 and 16 blocks.

    All block outputs, the head and the end of the body are tied.
    """

    def __init__(
        self, scale: int = 2, width: int = 6, blocks: int = 2, res_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.res_scale = res_scale
        self.sub_mean = MeanShift(-1)
        self.add_mean = MeanShift(1)
        self.head = conv(3, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(width, width), nn.ReLU(inplace=True), conv(width, width))
            for _ in range(blocks)
        )
        self.body_end = conv(width, width)
        stages: list[nn.Module] = []
        for step in {2: (2,), 3: (3,), 4: (2, 2)}[scale]:
            stages += [conv(width, step * step * width), nn.PixelShuffle(step)]
        self.up = nn.Sequential(*stages)
        self.tail = conv(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, scale H, scale W)."""
        head = self.head(self.sub_mean(x))
        y = head
        for block in self.blocks:
            y = y + block(y) * self.res_scale
        y = self.body_end(y)
        y += head
        return self.add_mean(self.tail(self.up(y)))


class EnhancementAttention(nn.Module):
    """A block after RIDNet (Anwar and Barnes 2019).

    Concatenated dilated branches, two residual stages, and a gate from the global average.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.left = nn.ModuleList((conv(width, width), conv(width, width, dilation=2)))
        self.right = nn.ModuleList((conv(width, width, dilation=3), conv(width, width, dilation=4)))
        self.join = conv(2 * width, width)
        self.short = nn.ModuleList((conv(width, width + 1), conv(width + 1, width)))
        self.long = nn.ModuleList(
            (conv(width, width + 2), conv(width + 2, width - 1), conv(width - 1, width, 1))
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Sequential(
            conv(width, max(1, width // 3), 1),
            nn.ReLU(inplace=True),
            conv(max(1, width // 3), width, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        left = F.relu(self.left[1](F.relu(self.left[0](x))))
        right = F.relu(self.right[1](F.relu(self.right[0](x))))
        y = F.relu(self.join(torch.cat((left, right), 1))) + x
        y = F.relu(self.short[1](F.relu(self.short[0](y))) + y)
        y = F.relu(self.long[2](F.relu(self.long[1](F.relu(self.long[0](y))))) + y)
        return y * self.gate(self.pool(y))


class RIDNet(nn.Module):
    """Enhancement attention blocks with local skips, a long skip and a global residual."""

    def __init__(self, width: int = 6, blocks: int = 2) -> None:
        super().__init__()
        self.head = conv(3, width)
        self.tail = conv(width, 3)
        self.blocks = nn.ModuleList(EnhancementAttention(width) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        head = F.relu(self.head(x))
        y = head
        for block in self.blocks:
            y = block(y) + y
        return x + self.tail(y + head)


class NoiseMapDenoiser(nn.Module):
    """After FFDNet (Zhang et al. 2018): the second input is a map of the noise level.

    All layers run at half the size.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.split = nn.PixelUnshuffle(2)
        self.unite = nn.PixelShuffle(2)
        self.body = nn.Sequential(
            conv(13, width),
            nn.ReLU(inplace=True),
            conv(width, width + 1),
            nn.BatchNorm2d(width + 1),
            nn.ReLU(inplace=True),
            conv(width + 1, 12),
        )

    def forward(self, x: Tensor, noise_map: Tensor) -> Tensor:
        """(N, 3, H, W) and (N, 1, H / 2, W / 2) -> (N, 3, H, W)."""
        return self.unite(self.body(torch.cat((self.split(x), noise_map), 1)))


class GuidedFilter(nn.Module):
    """After the deep guided filter (Wu et al. 2018).

    The output is locally linear in learned features of a guide.
    """

    def __init__(self, width: int = 5, radius: int = 2) -> None:
        super().__init__()
        self.radius = radius
        self.features = nn.Sequential(
            conv(3, width, 1),
            nn.InstanceNorm2d(width, affine=True),
            nn.LeakyReLU(0.2, inplace=True),
            conv(width, 3, 1),
        )
        self.slope = nn.Sequential(conv(6, width, 1), nn.ReLU(inplace=True), conv(width, 3, 1))

    def box(self, x: Tensor) -> Tensor:
        """Return the mean over a window."""
        return F.avg_pool2d(x, 2 * self.radius + 1, 1, self.radius, count_include_pad=False)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """(N, 3, H, W) twice -> (N, 3, H, W)."""
        features = self.features(guide)
        mean_x = self.box(x)
        mean_f = self.box(features)
        covariance = self.box(features * x) - mean_f * mean_x
        variance = self.box(features * features) - mean_f * mean_f
        slope = self.slope(torch.cat([covariance, variance], dim=1))
        offset = mean_x - slope * mean_f
        return self.box(slope) * features + self.box(offset)
