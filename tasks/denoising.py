"""Denoising: photographs with the noise of a camera.

Two kinds of data: "embedded" (clean photographs that come with the dependencies, degraded by `tasks.data.degrade`; the noise of the test
photographs is fixed) and a folder of real pairs (`tasks.data.folders`; the noise options have no say there).
L1 loss, PSNR and SSIM on 8 bit, RGB in [0, 1]. Budgets are counted at 2048 x 1024, as in the MOSP paper's Table 1.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from torch import Generator, Tensor, nn
from torch.nn.functional import l1_loss

from bench.contract import Crops, Pair, Recipe, Shape, Task
from bench.registry import task
from tasks.data import embedded, folders
from tasks.data.colours import recoloured
from tasks.data.degrade import CameraNoise
from tasks.data.pairs import DegradedCrops, PairedCrops
from tasks.metrics import psnr_db, ssim
from tasks.models.building import build
from tasks.models.unet import UNet, initialise

EMBEDDED = "embedded"


@task("denoising")
@dataclass(frozen=True)
class Denoising(Task):
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
    recipe: ClassVar[Recipe] = Recipe()
    backbones: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {"unet": UNet}
    decided: ClassVar[Mapping[str, Any]] = {"channels": 3, "channels_out": 3}

    def __post_init__(self) -> None:
        CameraNoise(self.shot, self.read)

    def build(self, backbone: str, **options: Any) -> nn.Module:
        """A new network, (N, 3, H, W) -> (N, 3, H, W). Raises ConfigError for an unknown backbone or option, or a value out of range."""
        return build(self.backbones, backbone, options, self.options(backbone) if backbone in self.backbones else {}, self.decided)

    def initialise(self, model: nn.Module, generator: Generator) -> None:
        """New weights in place, by the rule of `tasks.models.unet`."""
        initialise(model, generator)

    def training_pairs(self, data: str) -> Crops:
        """Crops for gradient steps. Reads, and so checks, all photographs of a folder. Raises ConfigError."""
        if data == EMBEDDED:
            return DegradedCrops(embedded.scenes(embedded.TRAIN), self._noise, vary=recoloured)
        return PairedCrops(folders.load(data).train)

    def calibration_pairs(self, data: str) -> Crops:
        """Crops for judging layers, of training photographs kept back from gradient steps where there are enough. Raises ConfigError."""
        if data == EMBEDDED:
            return DegradedCrops(embedded.scenes(embedded.CALIBRATION), self._noise)
        return PairedCrops(folders.load(data).calibration)

    def test_sets(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """One test set: "embedded", or "val" of a folder. Raises ConfigError."""
        return {EMBEDDED: embedded.test_pairs(self._noise)} if data == EMBEDDED else {"val": folders.load(data).test}

    def fingerprint(self, data: str) -> str:
        """SHA-256, as hex, of the files' names and bytes, the version of the split, and the noise where it is ours. Raises ConfigError."""
        if data == EMBEDDED:
            return _hash([json.dumps(asdict(self), sort_keys=True).encode(), *embedded.fingerprint_parts()])
        return _hash(folders.fingerprint_parts(data))

    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        """Mean absolute difference of two (N, 3, H, W)."""
        return l1_loss(restored, clean)

    def score(self, restored: Tensor, clean: Tensor) -> Mapping[str, float]:
        """`psnr_db` and `ssim` of two (3, H, W)."""
        return {"psnr_db": psnr_db(restored, clean), "ssim": ssim(restored, clean)}

    @property
    def _noise(self) -> CameraNoise:
        return CameraNoise(self.shot, self.read)


def _hash(parts: Sequence[bytes]) -> str:
    """SHA-256 of a sequence; where one part ends and the next begins matters."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()
