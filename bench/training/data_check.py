"""Check of a folder of photographs before a training: splits, sizes, input quality, near-twins.

Two photographs are near-twins if their thumbnails (16 x 16 grey values, mean and contrast removed)
correlate by more than 0.97: the same scene, perhaps at another moment. Between training and test
photographs they make a test too easy.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from bench.contract import Pair, Task

THUMBNAIL = 16
TWIN_CORRELATION = 0.97
MIN_CONTRAST = 1e-3  # a thumbnail with less contrast resembles every other
TRAINING_SPLITS = ("train", "calibration")


@dataclass(frozen=True)
class Split:
    """One split.

    Args:
        name: "train", "calibration" or that of a test set.
        photographs: number of photographs.
        sizes: (height, width) of the smallest and of the largest clean photograph, by area.
        input_psnr_db: mean PSNR without a network.
    """

    name: str
    photographs: int
    sizes: tuple[tuple[int, int], tuple[int, int]]
    input_psnr_db: float


class NearTwin(NamedTuple):
    """A test photograph that resembles a training photograph.

    Args:
        test: test set and name of the test photograph, "SET/NAME".
        train: name of the training photograph.
        correlation: of their thumbnails.
    """

    test: str
    train: str
    correlation: float


@dataclass(frozen=True)
class DataCheck:
    """The result of a check.

    Args:
        data: one line that describes the data.
        splits: all splits.
        twins: the near-twins, at most one for each test photograph.
    """

    data: str
    splits: tuple[Split, ...]
    twins: tuple[NearTwin, ...]


def check_data(task: Task, data: str) -> DataCheck:
    """Read every photograph once. Raises ConfigError if one cannot be used."""
    splits = []
    thumbnails = {}
    for name, pairs in task.photographs(data).items():
        split, thumbnails[name] = _check_split(task, name, pairs)
        splits.append(split)
    twins = tuple(_find_near_twins(thumbnails))
    return DataCheck(task.describe_data(data), tuple(splits), twins)


def format_data_check(check: DataCheck) -> str:
    """Return a text for the terminal: a line for each split, then the near-twins."""
    lines = [check.data, *map(_format_split, check.splits)]
    if not check.twins:
        return "\n".join([*lines, "No near-twins between training and test photographs."])
    count = len({twin.test for twin in check.twins})
    subject = "1 test photograph has" if count == 1 else f"{count} test photographs have"
    lines.append(
        f"WARNING: {subject} a near-twin among the training photographs, "
        "which makes the results too good:"
    )
    lines += [
        f"  {twin.test:<32} like {twin.train} (correlation {twin.correlation:.3f})"
        for twin in check.twins
    ]
    return "\n".join(lines)


def _format_split(split: Split) -> str:
    (height, width), (max_height, max_width) = split.sizes
    size = f"{width} x {height}"
    if split.sizes[0] != split.sizes[1]:
        size += f" to {max_width} x {max_height}"
    return (
        f"  {split.name:<16}{split.photographs:>6} photographs, {size:<26} "
        f"input {split.input_psnr_db:.2f} dB"
    )


def _check_split(task: Task, name: str, pairs: Sequence[Pair]) -> tuple[Split, dict[str, Tensor]]:
    """Return the summary of a split and the thumbnails of its photographs that are not flat."""
    sizes = []
    psnrs_db = []
    thumbnails = {}
    for pair in pairs:
        sizes.append((pair.clean.shape[1], pair.clean.shape[2]))
        psnrs_db.append(task.score(task.baseline_image(pair.degraded), pair.clean)["psnr_db"])
        grey = adaptive_avg_pool2d(pair.clean.mean(0, keepdim=True), THUMBNAIL).flatten()
        if (contrast := grey.std()) > MIN_CONTRAST:
            thumbnails[pair.name] = (grey - grey.mean()) / (contrast * (len(grey) - 1) ** 0.5)
    by_area = sorted(sizes, key=lambda size: size[0] * size[1])
    return Split(name, len(sizes), (by_area[0], by_area[-1]), fmean(psnrs_db)), thumbnails


def _find_near_twins(thumbnails: Mapping[str, Mapping[str, Tensor]]) -> Iterator[NearTwin]:
    """Yield for each test photograph its nearest training photograph, if it is a near-twin."""
    train = {
        name: vector
        for split in TRAINING_SPLITS
        for name, vector in thumbnails.get(split, {}).items()
    }
    if not train:
        return
    names = list(train)
    train_vectors = torch.stack(list(train.values()))
    for split, vectors in thumbnails.items():
        if split in TRAINING_SPLITS:
            continue
        for name, vector in vectors.items():
            correlation, index = (train_vectors @ vector).max(0)
            if correlation > TWIN_CORRELATION:
                yield NearTwin(f"{split}/{name}", names[int(index)], float(correlation))
