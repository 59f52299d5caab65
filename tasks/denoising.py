"""Denoising: photographs with the noise of a camera.

Embedded photographs are degraded by `tasks.data.degrade`, anew for each training crop; the noise of the test photographs is fixed. For
folders of real pairs the noise options have no say. PSNR and SSIM on 8 bit, RGB. Budgets are counted at 2048 x 1024, as in the MOSP
paper's Table 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from bench.contract import Recipe, Shape
from bench.registry import task
from tasks.data.colours import recoloured
from tasks.data.degrade import CameraNoise
from tasks.data.pairs import Change
from tasks.metrics import psnr_db, ssim
from tasks.models.res_unet import ResUNet
from tasks.models.unet import UNet
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

    measured_at: ClassVar[Shape] = (1, 3, 1024, 2048)
    multiple: ClassVar[int] = 16
    recipe: ClassVar[Recipe] = Recipe()
    backbones: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {"unet": UNet, "res_unet": ResUNet}
    decided: ClassVar[Mapping[str, Any]] = {"channels": 3, "channels_out": 3}
    vary: ClassVar[Change | None] = staticmethod(recoloured)

    def __post_init__(self) -> None:
        CameraNoise(self.shot, self.read)

    @property
    def degradation(self) -> CameraNoise:
        """The noise of embedded photographs."""
        return CameraNoise(self.shot, self.read)

    def score(self, restored: Tensor, clean: Tensor) -> Mapping[str, float]:
        """`psnr_db` and `ssim` of two (3, H, W)."""
        return {"psnr_db": psnr_db(restored, clean), "ssim": ssim(restored, clean)}
