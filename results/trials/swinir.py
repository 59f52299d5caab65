"""SwinIR (Liang et al., ICCV workshops 2021) in small, for denoising; needs spandrel.

    pip install --no-deps spandrel einops torchvision

Blocks of two windowed-attention layers on a residual trunk, without an upsampler.
"""

from torch import nn


def build(width: int = 24, blocks: int = 2, heads: int = 4) -> nn.Module:
    """Return the network.

    Args:
        width: channels of the trunk.
        blocks: residual blocks of two attention layers each.
        heads: of each attention layer; must divide the width.
    """
    from spandrel.architectures.SwinIR import SwinIR

    network: nn.Module = SwinIR(
        embed_dim=width,
        depths=[2] * blocks,
        num_heads=[heads] * blocks,
        window_size=8,
        mlp_ratio=2,
        upscale=1,
        upsampler="",
        resi_connection="1conv",
    )
    return network
