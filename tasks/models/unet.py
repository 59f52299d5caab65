"""The plain U-Net of Chen et al., "Learning to See in the Dark", CVPR 2018, for RGB images.

The original reads and writes raw sensor data. Five levels of width, 2 width, ..., 16 width
channels; two 3x3 convolutions with LeakyReLU(0.2) each; 2x2 max-pooling; 2x2 transposed
convolutions without bias; concat(up, skip); a 1x1 output convolution. No normalisation, no global
residual by default.

Names: c11 ... c52 encoder convolutions (level, index), u4 ... u1 transposed convolutions, d41 ...
d12 decoder convolutions. At width 32: 7,759,683 parameters; planned peak 768 MiB at 1x3x1024x2048,
in d11, the first convolution after the last concat.
"""

from torch import Tensor, nn

from tasks.models.encoder_decoder import EncoderDecoder

SLOPE = 0.2


def _double_convolution(level: str, c_in: int, c_out: int) -> nn.Sequential:
    """Return two 3x3 convolutions, `level`1 and `level`2, each followed by LeakyReLU in place."""
    block = nn.Sequential()
    for index, channels in ((1, c_in), (2, c_out)):
        block.add_module(f"{level}{index}", nn.Conv2d(channels, c_out, 3, padding=1))
        block.add_module(f"act{index}", nn.LeakyReLU(SLOPE, inplace=True))
    return block


class UNet(EncoderDecoder):
    """U-Net, (N, C_in, H, W) -> (N, C_out, H, W), H and W multiples of 2 ** (levels - 1).

    Args:
        width: channels of the first level.
        levels: number of resolutions, 2 to 5.
        channels: channels of the input and, unless `channels_out` is given, of the output.
        channels_out: channels of the output.
        global_residual: adds the input to the output.

    Raises:
        ValueError: the number of levels is out of range.
    """

    def __init__(
        self,
        width: int = 32,
        levels: int = 5,
        channels: int = 3,
        channels_out: int | None = None,
        global_residual: bool = False,
    ) -> None:
        super().__init__(levels, global_residual)
        c = [channels] + [width * 2**level for level in range(levels)]
        above = range(levels - 1, 0, -1)
        self.encoder = nn.ModuleList(
            _double_convolution(f"c{k}", c[k - 1], c[k]) for k in range(1, levels + 1)
        )
        self.up = nn.ModuleDict(
            {f"u{k}": nn.ConvTranspose2d(c[k + 1], c[k], 2, 2, bias=False) for k in above}
        )
        self.decoder = nn.ModuleDict(
            {f"d{k}": _double_convolution(f"d{k}", 2 * c[k], c[k]) for k in above}
        )
        self.out = nn.Conv2d(c[1], channels_out or channels, 1)
        self.pool = nn.MaxPool2d(2)

    def downsample(self, x: Tensor, level: int) -> Tensor:
        """Halve the resolution by max-pooling."""
        return self.pool(x)
