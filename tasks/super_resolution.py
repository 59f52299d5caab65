"""Super-resolution of photographs that were reduced by bicubic scaling.

PSNR and SSIM are computed as in publications: of the luma (Y of YCbCr, ITU-R BT.601, 16 ... 235),
on 8 bit, without a border of as many pixels as the scale. For DIV2K's own validation set the
published scores are of RGB: ours, of luma as for all sets, are not comparable with them. Budgets
are counted at the low-resolution input whose output is 2048 x 1024 (at a scale of 3 the next larger
one, 2049 x 1026).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Generator, Tensor, nn

from bench.contract import Recipe, Shape
from bench.files.remote_files import Download
from bench.plugins.registry import task
from tasks.data.downloads import CLEAN
from tasks.data.scaling import BicubicDownscaling, resize
from tasks.metrics import luma_without_border, psnr_db, ssim
from tasks.models.edsr import EDSR
from tasks.models.rcan import RCAN
from tasks.restoration import Restoration

WIDTH, HEIGHT = 2048, 1024


@task("super_resolution")
@dataclass(frozen=True)
class SuperResolution(Restoration):
    """Enlarge photographs.

    Args:
        scale: 2, 3 or 4.

    Raises:
        ConfigError: the scale is another number.
    """

    scale: int = 2

    size_multiple: ClassVar[int] = 1
    recipe: ClassVar[Recipe] = Recipe(patch=96)
    backbones: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {"edsr": EDSR, "rcan": RCAN}
    fixed_options: ClassVar[Mapping[str, Any]] = {"channels": 3, "scale": 2}
    downloads: ClassVar[tuple[Download, ...]] = CLEAN

    def __post_init__(self) -> None:
        super().__post_init__()
        BicubicDownscaling(self.scale)

    @property
    def measured_at(self) -> Shape:
        """The input shape whose output is 2048 x 1024, or slightly larger."""
        return (1, 3, self.pad(-(-HEIGHT // self.scale)), self.pad(-(-WIDTH // self.scale)))

    @property
    def degradation(self) -> BicubicDownscaling:
        """The degradation of embedded photographs.

        Folders of high-resolution photographs alone are reduced in the same way.
        """
        return BicubicDownscaling(self.scale)

    def augment(self, clean: Tensor, generator: Generator) -> Tensor:
        """Return the crops unchanged: the task does not depend on colours."""
        return clean

    def baseline_image(self, degraded: Tensor) -> Tensor:
        """Enlarge (3, H, W) to (3, scale H, scale W) by bicubic scaling."""
        height, width = (size * self.scale for size in degraded.shape[-2:])
        return resize(degraded[None], (height, width))[0]

    def score(self, restored: Tensor, clean: Tensor) -> Mapping[str, float]:
        """Return `psnr_db` and `ssim` of the luma of two images (3, H, W), without the border."""
        view = luma_without_border(self.scale)
        return {"psnr_db": psnr_db(restored, clean, view), "ssim": ssim(restored, clean, view)}
