"""The base class of the restoration tasks: photographs and networks.

Images are embedded ones or clean photographs of a folder, which are degraded synthetically, or the
pairs of a folder. A task defines the degradation. By default its backbones are U-Nets, memory is
counted at 2048 x 1024 as in the MOSP paper's Table 1, PSNR and SSIM are computed on 8-bit RGB, and
the loss is L1.
"""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Generator, Tensor, nn
from torch.nn.functional import l1_loss

from bench.contract import Crops, Pair, Recipe, Shape, Task
from bench.errors import ConfigError
from tasks.data import embedded
from tasks.data.augmentation import recolour
from tasks.data.clean import clean_folder
from tasks.data.dataset import DataSet, identify_data_set
from tasks.data.decoded_cache import DecodedDataSet, load_data_set
from tasks.data.folders import pairs_folder
from tasks.data.pairs import (
    SYMMETRIES,
    CropSampler,
    DegradedCrops,
    PairedCrops,
    Photograph,
    Transform,
)
from tasks.data.registry import data_sets_by_task
from tasks.metrics import psnr_db, ssim
from tasks.models.building import build
from tasks.models.initialisation import initialise
from tasks.models.nafnet import NAFNet
from tasks.models.res_unet import ResUNet
from tasks.models.restormer import Restormer
from tasks.models.unet import UNet

EMBEDDED = "embedded"  # is trained on where a folder has test sets alone
# For tasks that are not ours.
OTHER_TASK_LAYOUTS = (pairs_folder("degraded", "clean"), clean_folder())
# Raise it when clean photographs of a folder are degraded in a way that the options do not show.
CLEAN_VERSION = 1
MAX_MULTIPLE = 1024  # pixels


@dataclass(frozen=True, kw_only=True)
class Restoration(Task):
    """A task that restores photographs.

    Subclasses are frozen dataclasses; their fields define the degradation of clean images.

    Args:
        symmetries: how many symmetries of the square crops may have: 8, all of them; 4, those of
            horizontal and vertical flips; 1, none.
        hold_out: whether some training photographs are held out from the gradient steps, for
            calibration; if not, all are trained on, and calibration crops come from them.
        pad_to_multiple: height and width of photographs are padded to a multiple of it before they
            are restored; by default, of what the task's own backbones need (`size_multiple`).

    Raises:
        ConfigError: an option is out of range.
    """

    symmetries: int = 8
    hold_out: bool = True
    pad_to_multiple: int | None = None

    size_multiple: ClassVar[int] = 16
    recipe: ClassVar[Recipe] = Recipe()
    backbones: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {
        "unet": UNet,
        "res_unet": ResUNet,
        "nafnet": NAFNet,
        "restormer": Restormer,
    }
    fixed_options: ClassVar[Mapping[str, Any]] = {"channels": 3, "channels_out": 3}

    def __post_init__(self) -> None:
        if self.symmetries not in SYMMETRIES:
            raise ConfigError(
                f"symmetries = {self.symmetries!r} cannot be used; "
                "choose 8 (all of the square), 4 (flips alone) or 1 (none)"
            )
        if self.pad_to_multiple is not None:
            if not 1 <= self.pad_to_multiple <= MAX_MULTIPLE:
                raise ConfigError(
                    f"pad_to_multiple = {self.pad_to_multiple!r} cannot be used; "
                    f"choose a whole number from 1 to {MAX_MULTIPLE}"
                )
            object.__setattr__(self, "size_multiple", self.pad_to_multiple)  # frozen

    @property
    def scale(self) -> int:
        """How many times larger the clean image is."""
        return 1

    @property
    def measured_at(self) -> Shape:
        """The input shape at which peak memory is measured."""
        return (1, 3, self.pad(1024), self.pad(2048))

    def pad(self, size: int) -> int:
        """Return a height or width in pixels, rounded up to a multiple of `size_multiple`."""
        return -(-size // self.size_multiple) * self.size_multiple

    @property
    @abstractmethod
    def degradation(self) -> Transform:
        """The degradation of clean images; hashable."""

    def build(self, backbone: str, **options: Any) -> nn.Module:
        """Build a new network, (N, 3, H, W) -> (N, 3, scale H, scale W).

        Raises:
            ConfigError: unknown backbone or option, a value out of range, or photographs that are
                padded to less than the backbone needs.
        """
        needed = type(self).size_multiple
        if self.size_multiple % needed:
            raise ConfigError(
                f"pad_to_multiple = {self.size_multiple} is not enough for the backbones of task "
                f"{self.name}, which need a multiple of {needed}; leave it out"
            )
        fixed = {name: getattr(self, name, value) for name, value in self.fixed_options.items()}
        defaults = self.options(backbone) if backbone in self.backbones else {}
        return build(self.backbones, backbone, options, defaults, fixed)

    def initialise(self, model: nn.Module, generator: Generator) -> None:
        """Draw new weights in place, by the rule of `tasks.models.initialisation`."""
        initialise(model, generator)

    def augment(self, clean: Tensor, generator: Generator) -> Tensor:
        """Augment clean crops (N, 3, H, W) of photographs before they are degraded."""
        return recolour(clean, generator)

    def training_pairs(self, data: str) -> Crops:
        """Return the source of crops for gradient steps. Raises ConfigError."""
        if images := embedded.DATA.get(data):
            sampler = CropSampler(images.train(self.hold_out), self.symmetries)
            augment = self.augment if images.recoloured else None
            return DegradedCrops(sampler, self.degradation, augment, self.scale)
        loaded = self._load(data)
        return self._crops(loaded.train) if loaded.train else self.training_pairs(EMBEDDED)

    def calibration_pairs(self, data: str) -> Crops:
        """Return the source of crops for scoring layers.

        The crops come in turn from the training images that are held out from gradient steps, or
        from all of them if there are too few; of embedded images, always from the same ones.

        Raises:
            ConfigError: the data cannot be used.
        """
        if images := embedded.DATA.get(data):
            sampler = CropSampler(images.calibration(), self.symmetries, in_turn=True)
            return DegradedCrops(sampler, self.degradation, scale=self.scale)
        loaded = self._load(data)
        if not loaded.train:
            return self.calibration_pairs(EMBEDDED)
        return self._crops(loaded.calibration, in_turn=True)

    def test_sets(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """Return the test sets of the data set, or "embedded" alone. Raises ConfigError."""
        if data in embedded.DATA:
            return {"embedded": self._embedded_pairs(data, "embedded")}
        return self._load(data).test

    def describe_data(self, data: str) -> str:
        """Return the name of the data set, its origin and its licence.

        Raises:
            ConfigError: the folder has no layout that this task reads.
        """
        if images := embedded.DATA.get(data):
            return f"{data}: {images.source}"
        root, data_set = self._identify(data)
        text = f"{root}: {data_set.name}, {data_set.source}"
        if data_set.may_lack_training and not data_set.find_splits(root).train:
            return f"{text}; none to train on, so the embedded images are trained on"
        return text

    def photographs(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """Return split -> pairs: "train", "calibration" if it differs, and the test sets.

        Raises:
            ConfigError: the data cannot be used.
        """
        if data in embedded.DATA:
            return self._embedded_splits(data, embedded.SPLITS)
        loaded = self._load(data)
        trained_on = {} if loaded.train else self._embedded_splits(EMBEDDED, embedded.SPLITS[:2])
        return {**trained_on, **loaded.photographs()}

    def all_photographs(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """Return the test sets of a folder, "train", and "calibration" if it differs.

        Raises:
            ConfigError: the data cannot be used.
        """
        return self.test_sets(data) if data in embedded.DATA else self._load(data).photographs()

    def fingerprint(self, data: str) -> str:
        """SHA-256, as hex, of the photographs and the version of the split.

        For images that are degraded here it also covers the options of the task.

        Raises:
            ConfigError: the data cannot be used.
        """
        if data in embedded.DATA:
            return _hash_parts([self._encode_options(), *embedded.fingerprint_parts(data)])
        loaded = self._load(data)
        if loaded.train and not self._identify(data)[1].clean:
            return loaded.fingerprint
        parts = [str(CLEAN_VERSION), loaded.fingerprint]
        parts += [] if loaded.train else [self.fingerprint(EMBEDDED)]
        return _hash_parts([self._encode_options(), *map(str.encode, parts)])

    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        """Return the mean absolute difference of two batches (N, 3, H, W)."""
        return l1_loss(restored, clean)

    def score(self, restored: Tensor, clean: Tensor) -> Mapping[str, float]:
        """Return `psnr_db` and `ssim` of two images (3, H, W)."""
        return {"psnr_db": psnr_db(restored, clean), "ssim": ssim(restored, clean)}

    def _embedded_pairs(self, data: str, split: str) -> Sequence[Pair]:
        return embedded.load_pairs(data, split, self.hold_out, self.degradation, self.scale)

    def _identify(self, data: str) -> tuple[Path, DataSet]:
        """Find out which data set a folder holds. Raises ConfigError."""
        others = dict(data_sets_by_task(self.scale))
        accepted = others.pop(self.name, OTHER_TASK_LAYOUTS)
        return identify_data_set(data, accepted, others)

    def _load(self, data: str) -> DecodedDataSet:
        root, data_set = self._identify(data)
        loaded = load_data_set(root, data_set, self.hold_out)
        if not data_set.clean:
            return loaded
        return loaded.made_by(
            partial(embedded.degrade_photograph, degrade=self.degradation, multiple=self.scale)
        )

    def _crops(self, photographs: Sequence[Photograph], in_turn: bool = False) -> Crops:
        """Return crops of the photographs of a folder; clean ones are degraded."""
        sampler = CropSampler(photographs, self.symmetries, in_turn)
        if len(photographs[0].images) == 1:
            return DegradedCrops(sampler, self.degradation, scale=self.scale)
        return PairedCrops(sampler)

    def _embedded_splits(self, data: str, splits: Sequence[str]) -> dict[str, Sequence[Pair]]:
        return {split: self._embedded_pairs(data, split) for split in splits}

    def _encode_options(self) -> bytes:
        """Return the options that are set, as JSON."""
        options = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(options, sort_keys=True).encode()


def _hash_parts(parts: Sequence[bytes]) -> str:
    """SHA-256, as hex, of a sequence; it depends on the boundaries between the parts."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()
