"""Denoising: photographs with the noise of a camera.

Embedded photographs are degraded by `tasks.data.degrade`, anew for each training crop; the noise of
the test photographs is fixed. For folders of real pairs the noise options have no say. PSNR and
SSIM on 8 bit, RGB. Budgets are counted at 2048 x 1024, as in the MOSP paper's Table 1.
"""

from dataclasses import dataclass

from bench.plugins.registry import task
from tasks.data.degrade import CameraNoise
from tasks.restoration import Restoration


@task("denoising")
@dataclass(frozen=True)
class Denoising(Restoration):
    """Removes the noise of a camera.

    Args:
        shot: of the embedded photographs' noise: variance per unit of light.
        read: the same, standard deviation of the constant part.

    Raises:
        ConfigError: a strength is not a number of at least 0.
    """

    shot: float = CameraNoise.shot
    read: float = CameraNoise.read

    def __post_init__(self) -> None:
        CameraNoise(self.shot, self.read)

    @property
    def degradation(self) -> CameraNoise:
        """The noise of embedded photographs."""
        return CameraNoise(self.shot, self.read)
