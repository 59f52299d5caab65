"""The check of a folder of photographs before a training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.contract import Pair
from bench.training.data_check import check_data, format_data_check
from tasks.low_light import LowLight
from tasks.super_resolution import SuperResolution
from tests.fakes import FakeTask


def photograph(name: str, seed: int, size: tuple[int, int] = (32, 32)) -> Pair:
    small = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    clean = torch.nn.functional.interpolate(small, size)[0]
    return Pair(name, clean * 0.9, clean)


@dataclass(frozen=True)
class Leaky(FakeTask):
    """A test photograph is a training photograph, a little darker; another one is flat."""

    def photographs(self, data: str) -> Mapping[str, Sequence[Pair]]:
        train = photograph("a", 1)
        flat = torch.full((3, 32, 32), 0.5)
        twin = Pair("y", train.degraded, train.clean * 0.95 + 0.01)
        return {
            "train": [train, photograph("b", 2, (32, 48))],
            "val": [photograph("x", 3), twin, Pair("z", flat, flat)],
        }


def test_splits_sizes_and_input_are_those_of_the_photographs() -> None:
    train, val = check_data(Leaky(), "folder").splits
    assert (train.name, train.photographs, train.sizes) == ("train", 2, ((32, 32), (32, 48)))
    task = Leaky()
    scores = [
        task.score(pair.degraded, pair.clean)["psnr_db"] for pair in task.photographs("")["val"]
    ]
    assert val.input_psnr_db == sum(scores) / 3


def test_a_test_photograph_with_a_near_twin_in_training_is_named() -> None:
    check = check_data(Leaky(), "folder")
    assert [(test, train) for test, train, _ in check.twins] == [("val/y", "a")]
    assert "WARNING: 1 test photograph has a near-twin" in format_data_check(check)


def test_the_embedded_photographs_have_no_twins_and_sr_starts_from_bicubic() -> None:
    check = check_data(SuperResolution(), "embedded")
    assert check.twins == () and "No near-twins" in format_data_check(check)
    psnrs_db = {split.name: split.input_psnr_db for split in check.splits}
    assert round(psnrs_db["embedded"], 1) == 33.2


def test_real_pairs_are_described_with_their_splits(data_folder: Path) -> None:
    text = format_data_check(check_data(LowLight(), str(data_folder / "lowlight/lol")))
    assert "your own pairs, low and high" in text
    assert [line.split()[:2] for line in text.splitlines()[1:4]] == [
        ["train", "49"],
        ["calibration", "7"],
        ["val", "5"],
    ]
    assert "input 7.90 dB" in text
