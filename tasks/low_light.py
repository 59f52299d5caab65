"""Low-light enhancement: photographs with too little light, and the noise that comes with it.

Embedded photographs are darkened in linear light (`tasks.data.degrade.Darkness`); folders have real pairs of a short and a long exposure.
PSNR and SSIM on 8 bit, RGB, on whole photographs. Budgets are counted at 2048 x 1024, as in denoising.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from bench.contract import Recipe, Shape
from bench.registry import task
from tasks.data.colours import recoloured
from tasks.data.degrade import Darkness
from tasks.data.pairs import Change
from tasks.metrics import psnr_db, ssim
from tasks.models.res_unet import ResUNet
from tasks.models.unet import UNet
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

    measured_at: ClassVar[Shape] = (1, 3, 1024, 2048)
    multiple: ClassVar[int] = 16
    recipe: ClassVar[Recipe] = Recipe()
    backbones: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {"unet": UNet, "res_unet": ResUNet}
    decided: ClassVar[Mapping[str, Any]] = {"channels": 3, "channels_out": 3}
    vary: ClassVar[Change | None] = staticmethod(recoloured)

    def __post_init__(self) -> None:
        Darkness(self.light, self.shot, self.read)

    @property
    def degradation(self) -> Darkness:
        """What is done to embedded photographs."""
        return Darkness(self.light, self.shot, self.read)

    def score(self, restored: Tensor, clean: Tensor) -> Mapping[str, float]:
        """`psnr_db` and `ssim` of two (3, H, W)."""
        return {"psnr_db": psnr_db(restored, clean), "ssim": ssim(restored, clean)}
