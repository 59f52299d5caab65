"""Denoising: removal of camera noise.

Embedded photographs are degraded by `tasks.data.degrade`, anew for each training crop; the noise of
the test photographs is fixed. The noise options do not affect folders of real pairs. PSNR and SSIM
are computed on 8-bit RGB. Budgets are counted at 2048 x 1024, as in the MOSP paper's Table 1.
"""

from dataclasses import dataclass

from bench.plugins.registry import task
from tasks.data.degrade import CameraNoise
from tasks.restoration import Restoration


@task("denoising")
@dataclass(frozen=True)
class Denoising(Restoration):
    """Remove camera noise.

    Args:
        shot: variance of the noise of embedded photographs per unit of light.
        read: standard deviation of the constant part of that noise.

    Raises:
        ConfigError: a strength is not a number of at least 0.
    """

    shot: float = CameraNoise.shot
    read: float = CameraNoise.read

    def __post_init__(self) -> None:
        super().__post_init__()
        CameraNoise(self.shot, self.read)

    @property
    def degradation(self) -> CameraNoise:
        """The noise model of embedded photographs."""
        return CameraNoise(self.shot, self.read)
