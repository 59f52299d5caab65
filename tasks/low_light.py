"""Low-light enhancement: photographs with too little light, and the resulting noise.

Clean photographs, embedded ones or those of a folder, are darkened in linear light
(`tasks.data.degrade.Darkness`); other folders hold real pairs of a short and a long exposure. PSNR
and SSIM are computed on 8-bit RGB of whole photographs.
Budgets are counted at 2048 x 1024, as in denoising.
"""

from dataclasses import dataclass
from typing import ClassVar

from bench.files.remote_files import Download
from bench.plugins.registry import task
from tasks.data.degrade import Darkness
from tasks.data.downloads import CLEAN, LOL_PAIRS, SID_SONY
from tasks.restoration import Restoration


@task("low_light")
@dataclass(frozen=True)
class LowLight(Restoration):
    """Brighten dark photographs.

    Args:
        light: share of the linear light that remains in clean photographs, in (0, 1].
        shot: variance of their noise per unit of light.
        read: standard deviation of the constant part of that noise.

    Raises:
        ConfigError: an option is out of range.
    """

    light: float = Darkness.light
    shot: float = Darkness.shot
    read: float = Darkness.read

    downloads: ClassVar[tuple[Download, ...]] = (*CLEAN, LOL_PAIRS, SID_SONY)

    def __post_init__(self) -> None:
        super().__post_init__()
        Darkness(self.light, self.shot, self.read)

    @property
    def degradation(self) -> Darkness:
        """The degradation of clean photographs."""
        return Darkness(self.light, self.shot, self.read)
