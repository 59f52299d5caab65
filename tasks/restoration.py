"""What all tasks share: photographs, embedded ones that are degraded by our own hand or those of a folder, and networks by name.

A task says how it degrades. Unless it says otherwise its backbones are U-Nets, memory is counted at
2048 x 1024 as in the MOSP paper's Table 1, and PSNR and SSIM are those of RGB on 8 bit. L1 loss.
"""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from torch import Generator, Tensor, nn
from torch.nn.functional import l1_loss

from bench.contract import Crops, Pair, Recipe, Shape, Task
from tasks.data import embedded
from tasks.data.colours import recoloured
from tasks.data.folders import pairs_folder
from tasks.data.known import data_sets
from tasks.data.library import DataSet, recognised
from tasks.data.pairs import Change, DegradedCrops, PairedCrops
from tasks.data.prepared import Prepared, prepared
from tasks.metrics import psnr_db, ssim
from tasks.models.building import build
from tasks.models.initialisation import initialise
from tasks.models.res_unet import ResUNet
from tasks.models.unet import UNet

EMBEDDED = "embedded"
UNKNOWN = (pairs_folder("degraded", "clean"),)  # what a task of somebody else's reads


class Restoration(Task):
    """A task on photographs.

    Subclasses are frozen dataclasses; their fields decide the degradation of embedded photographs.
    """

    size_multiple: ClassVar[int] = 16
    recipe: ClassVar[Recipe] = Recipe()
    backbones: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {
        "unet": UNet,
        "res_unet": ResUNet,
    }
    fixed_options: ClassVar[Mapping[str, Any]] = {"channels": 3, "channels_out": 3}
    scale: int = 1  # how many times larger the clean image is

    @property
    def measured_at(self) -> Shape:
        """The input at which peak memory is measured."""
        return (1, 3, 1024, 2048)

    @property
    @abstractmethod
    def degradation(self) -> Change:
        """What is done to embedded photographs; hashable."""

    def build(self, backbone: str, **options: Any) -> nn.Module:
        """A new network, (N, 3, H, W) -> (N, 3, scale H, scale W).

        Raises ConfigError: unknown backbone or option, value out of range.
        """
        decided = {name: getattr(self, name, value) for name, value in self.fixed_options.items()}
        return build(
            self.backbones,
            backbone,
            options,
            self.options(backbone) if backbone in self.backbones else {},
            decided,
        )

    def initialise(self, model: nn.Module, generator: Generator) -> None:
        """New weights in place, by the rule of `tasks.models.initialisation`."""
        initialise(model, generator)

    def vary(self, clean: Tensor, generator: Generator) -> Tensor:
        """What is done to clean crops of embedded photographs, (N, 3, H, W), before they are degraded."""
        return recoloured(clean, generator)

    def training_pairs(self, data: str) -> Crops:
        """Crops for gradient steps. Raises ConfigError."""
        if data == EMBEDDED:
            return DegradedCrops(
                embedded.scenes(embedded.TRAIN), self.degradation, self.vary, self.scale
            )
        return PairedCrops(self._folder(data).train)

    def calibration_pairs(self, data: str) -> Crops:
        """Crops for judging layers, of training photographs kept back from gradient steps where there are enough. Raises ConfigError."""
        if data == EMBEDDED:
            return DegradedCrops(
                embedded.scenes(embedded.CALIBRATION), self.degradation, scale=self.scale
            )
        return PairedCrops(self._folder(data).calibration)

    def test_sets(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """ "embedded" alone, or those of the data set. Raises ConfigError."""
        return (
            {EMBEDDED: self._embedded_pairs(embedded.TEST)}
            if data == EMBEDDED
            else self._folder(data).test
        )

    def describe_data(self, data: str) -> str:
        """The data set, where it comes from and its licence.

        Raises ConfigError if the folder is none that this task reads.
        """
        if data == EMBEDDED:
            return (
                "embedded: photographs that come with scikit-image and scikit-learn, degraded here"
            )
        root, found = self._found(data)
        return f"{root}: {found.name}, {found.source}"

    def photographs(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """Training photographs, those kept back for judging layers, and the test sets.

        Raises ConfigError.
        """
        if data == EMBEDDED:
            sides = {
                "train": embedded.TRAIN,
                "calibration": embedded.CALIBRATION,
                EMBEDDED: embedded.TEST,
            }
            return {side: self._embedded_pairs(files) for side, files in sides.items()}
        return self._folder(data).photographs()

    def fingerprint(self, data: str) -> str:
        """SHA-256, as hex, of the photographs, the version of the split, and the degradation where it is ours. Raises ConfigError."""
        if data == EMBEDDED:
            options = json.dumps(asdict(self), sort_keys=True)  # type: ignore[call-overload]
            return _hash([options.encode(), *embedded.fingerprint_parts()])
        return self._folder(data).fingerprint

    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        """Mean absolute difference of two (N, 3, H, W)."""
        return l1_loss(restored, clean)

    def score(self, restored: Tensor, clean: Tensor) -> Mapping[str, float]:
        """`psnr_db` and `ssim` of two (3, H, W)."""
        return {"psnr_db": psnr_db(restored, clean), "ssim": ssim(restored, clean)}

    def _embedded_pairs(self, files: Sequence[str]) -> Sequence[Pair]:
        return embedded.pairs(tuple(files), self.degradation, self.scale)

    def _found(self, data: str) -> tuple[Path, DataSet]:
        known = dict(data_sets(self.scale))
        return recognised(data, known.pop(self.name, UNKNOWN), known)

    def _folder(self, data: str) -> Prepared:
        return prepared(*self._found(data))


def _hash(parts: Sequence[bytes]) -> str:
    """SHA-256 of a sequence; where one part ends and the next begins matters."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()
