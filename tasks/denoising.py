"""Denoising: removal of camera noise, or of white Gaussian noise.

Clean photographs, embedded ones or those of a folder, are degraded by `tasks.data.degrade`, anew
for each training crop; the noise of the test photographs is fixed. The noise options do not affect
folders of real pairs. PSNR and SSIM are computed on 8-bit RGB. Budgets are counted at 2048 x 1024,
as in the MOSP paper's Table 1.
"""

from dataclasses import dataclass
from typing import ClassVar

from bench.errors import ConfigError
from bench.files.remote_files import Download
from bench.plugins.registry import task
from tasks.data.degrade import CameraNoise, GaussianNoise
from tasks.data.downloads import CLEAN, SIDD_MEDIUM
from tasks.restoration import Restoration


@task("denoising")
@dataclass(frozen=True)
class Denoising(Restoration):
    """Remove noise.

    Args:
        shot: variance of the camera noise of clean photographs per unit of light.
        read: standard deviation of the constant part of that noise.
        sigma: standard deviation, on the scale 0 ... 255, of white Gaussian noise instead of camera
            noise: neither clipped nor rounded, as in published tables (which have 15, 25, 50).

    Raises:
        ConfigError: a strength is not a number of at least 0, or both kinds of noise are set.
    """

    shot: float = CameraNoise.shot
    read: float = CameraNoise.read
    sigma: float | None = None

    downloads: ClassVar[tuple[Download, ...]] = (*CLEAN, SIDD_MEDIUM)

    def __post_init__(self) -> None:
        super().__post_init__()
        camera = CameraNoise(self.shot, self.read)
        if self.sigma is None:
            return
        GaussianNoise(self.sigma)
        if camera != CameraNoise():
            raise ConfigError(
                f"sigma = {self.sigma!r} asks for Gaussian noise, shot = {self.shot!r} and "
                f"read = {self.read!r} for camera noise; set one of the two"
            )

    @property
    def degradation(self) -> CameraNoise | GaussianNoise:
        """The noise model of clean photographs."""
        if self.sigma is not None:
            return GaussianNoise(self.sigma)
        return CameraNoise(self.shot, self.read)
