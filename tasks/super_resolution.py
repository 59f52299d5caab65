"""Super-resolution: photographs that were made smaller by bicubic scaling.

PSNR and SSIM as published: of the luma (Y of YCbCr, ITU-R BT.601, 16 ... 235), on 8 bit, without a
border of as many pixels as the scale. The published scores of DIV2K's own validation set are of
RGB: ours, of luma as for all sets, are not comparable with them. Budgets are counted at the
low-resolution input whose output is 2048 x 1024 (at a scale of 3 the next larger one, 2049 x 1026).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Generator, Tensor, nn

from bench.contract import Recipe, Shape
from bench.plugins.registry import task
from tasks.data.scaling import Shrunk, resized
from tasks.metrics import luma_inside, psnr_db, ssim
from tasks.models.edsr import EDSR
from tasks.restoration import Restoration

WIDTH, HEIGHT = 2048, 1024


@task("super_resolution")
@dataclass(frozen=True)
class SuperResolution(Restoration):
    """Enlarges photographs.

    Args:
        scale: 2, 3 or 4.

    Raises:
        ConfigError: another scale.
    """

    scale: int = 2

    size_multiple: ClassVar[int] = 1
    recipe: ClassVar[Recipe] = Recipe(patch=96)
    backbones: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {"edsr": EDSR}
    fixed_options: ClassVar[Mapping[str, Any]] = {"channels": 3, "scale": 2}

    def __post_init__(self) -> None:
        Shrunk(self.scale)

    @property
    def measured_at(self) -> Shape:
        """The input whose output is 2048 x 1024, or a little more."""
        return (1, 3, -(-HEIGHT // self.scale), -(-WIDTH // self.scale))

    @property
    def degradation(self) -> Shrunk:
        """What is done to embedded photographs, and to folders of high-resolution photographs alone."""
        return Shrunk(self.scale)

    def vary(self, clean: Tensor, generator: Generator) -> Tensor:
        """Nothing: colours are not what is to be learned."""
        return clean

    def baseline_image(self, degraded: Tensor) -> Tensor:
        """(3, H, W) -> (3, scale H, scale W), by bicubic scaling."""
        height, width = (size * self.scale for size in degraded.shape[-2:])
        return resized(degraded[None], (height, width))[0]

    def score(self, restored: Tensor, clean: Tensor) -> Mapping[str, float]:
        """`psnr_db` and `ssim` of two (3, H, W), of the luma, without the border."""
        view = luma_inside(self.scale)
        return {"psnr_db": psnr_db(restored, clean, view), "ssim": ssim(restored, clean, view)}
