"""What a folder of photographs is to a task, before anything is trained on it: splits, sizes, quality of the input, near-twins.

Two photographs are near-twins if their thumbnails (16 x 16 grey values, mean and contrast taken
off) correlate by more than 0.97: the same scene, perhaps at another moment. Between training and
test photographs they make a test too easy.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from bench.contract import Pair, Task

THUMBNAIL = 16
TWINS_FROM = 0.97
FLAT = 1e-3  # a thumbnail with less contrast resembles everything
FOR_FITTING = ("train", "calibration")


@dataclass(frozen=True)
class Split:
    """One split.

    Args:
        name: "train", "calibration" or that of a test set.
        photographs: how many.
        sizes: (height, width) of the smallest and of the largest clean photograph, by area.
        input_psnr_db: mean of what a viewer has without a network.
    """

    name: str
    photographs: int
    sizes: tuple[tuple[int, int], tuple[int, int]]
    input_psnr_db: float


@dataclass(frozen=True)
class Checked:
    """What was found, all splits, and (test set/photograph, training photograph, correlation) of near-twins."""

    data: str
    splits: tuple[Split, ...]
    twins: tuple[tuple[str, str, float], ...]


def check_data(task: Task, data: str) -> Checked:
    """Looks at every photograph once. Raises ConfigError if one cannot be used."""
    splits, thumbnails = [], {}
    for name, pairs in task.photographs(data).items():
        split, thumbnails[name] = _looked_at(task, name, pairs)
        splits.append(split)
    return Checked(task.describe_data(data), tuple(splits), tuple(_twins(thumbnails)))


def text(checked: Checked) -> str:
    """For a person: a line for each split, then the near-twins."""
    lines = [checked.data]
    for split in checked.splits:
        (height, width), (most_height, most_width) = split.sizes
        size = f"{width} x {height}" + (
            f" to {most_width} x {most_height}" if split.sizes[0] != split.sizes[1] else ""
        )
        lines.append(
            f"  {split.name:<16}{split.photographs:>6} photographs, {size:<26} input {split.input_psnr_db:.2f} dB"
        )
    if not checked.twins:
        return "\n".join([*lines, "No near-twins between training and test photographs."])
    count = len({test for test, _, _ in checked.twins})
    who = "1 test photograph has" if count == 1 else f"{count} test photographs have"
    lines.append(
        f"WARNING: {who} a near-twin among the training photographs, and flatters the results:"
    )
    return "\n".join(
        [
            *lines,
            *(
                f"  {test:<32} like {train} (correlation {value:.3f})"
                for test, train, value in checked.twins
            ),
        ]
    )


def _looked_at(task: Task, name: str, pairs: Sequence[Pair]) -> tuple[Split, dict[str, Tensor]]:
    """The figures of a split, and the thumbnails of its photographs that are not flat."""
    sizes, psnrs_db, thumbnails = [], [], {}
    for pair in pairs:
        sizes.append((pair.clean.shape[1], pair.clean.shape[2]))
        psnrs_db.append(task.score(task.baseline_image(pair.degraded), pair.clean)["psnr_db"])
        grey = adaptive_avg_pool2d(pair.clean.mean(0, keepdim=True), THUMBNAIL).flatten()
        if (contrast := grey.std()) > FLAT:
            thumbnails[pair.name] = (grey - grey.mean()) / (contrast * (len(grey) - 1) ** 0.5)
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    return Split(name, len(sizes), (ordered[0], ordered[-1]), fmean(psnrs_db)), thumbnails


def _twins(thumbnails: Mapping[str, Mapping[str, Tensor]]) -> Iterator[tuple[str, str, float]]:
    """Of each test photograph the nearest training photograph, where it is near."""
    train = {
        name: vector for split in FOR_FITTING for name, vector in thumbnails.get(split, {}).items()
    }
    if not train:
        return
    known = torch.stack(list(train.values()))
    for split, vectors in thumbnails.items():
        for name, vector in vectors.items() if split not in FOR_FITTING else ():
            value, place = (known @ vector).max(0)
            if value > TWINS_FROM:
                yield f"{split}/{name}", list(train)[int(place)], float(value)
