"""Normalisation of each pixel over its channels, as NAFNet and Restormer use it."""

from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of each pixel, (N, C, H, W) -> (N, C, H, W).

    Args:
        channels: C.
        eps: is added to the variance.
    """

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise with the channels last, which is where LayerNorm wants them."""
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
