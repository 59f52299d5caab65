"""Low-light enhancement: photographs with too little light, and the noise that comes with it.

Embedded photographs are darkened in linear light (`tasks.data.degrade.Darkness`); folders have real
pairs of a short and a long exposure. PSNR and SSIM on 8 bit, RGB, on whole photographs. Budgets are
counted at 2048 x 1024, as in denoising.
"""

from dataclasses import dataclass

from bench.plugins.registry import task
from tasks.data.degrade import Darkness
from tasks.restoration import Restoration


@task("low_light")
@dataclass(frozen=True)
class LowLight(Restoration):
    """Brings back the light.

    Args:
        light: share of the light that embedded photographs keep, in linear light.
        shot: variance of their noise per unit of light.
        read: standard deviation of the part of it that does not depend on the light.

    Raises:
        ConfigError: an option is out of range.
    """

    light: float = Darkness.light
    shot: float = Darkness.shot
    read: float = Darkness.read

    def __post_init__(self) -> None:
        Darkness(self.light, self.shot, self.read)

    @property
    def degradation(self) -> Darkness:
        """What is done to embedded photographs."""
        return Darkness(self.light, self.shot, self.read)
