"""Identification of the data set in a folder, and suggestions if there is none."""

from pathlib import Path

import pytest
import torch

from bench.errors import ConfigError
from tasks.data.dataset import crop_to_multiple, identify_data_set
from tasks.data.folders import pairs_folder
from tasks.data.lol import LOL
from tests.tasks.data.test_folders import make_pairs_folder
from tests.tasks.data.trees import write_noise

NOISY, LOW = pairs_folder("noisy", "clean"), pairs_folder("low", "high")
OTHERS = {"low_light": (LOW, LOL)}


def test_a_folder_is_the_first_data_set_that_it_has_a_mark_of(tmp_path: Path) -> None:
    root, found = identify_data_set(str(make_pairs_folder(tmp_path)), (LOL, NOISY), OTHERS)
    assert (root, found.name) == (tmp_path.resolve(), NOISY.name)


@pytest.mark.parametrize(
    ("below", "message"),
    [
        (
            "missing",
            "does not exist; give 'embedded' or a folder of your own pairs, noisy and clean: "
            "train/noisy",
        ),
        ("camera/val/noisy/val0.png", "is a file; give"),
        ("", r"did you mean .*camera, which looks like your own pairs, noisy and clean\?"),
        (
            "camera/train",
            r"did you mean .*camera, which looks like your own pairs, noisy and clean\?",
        ),
        ("dark", "it looks like LOL, which task low_light reads"),
        (
            "other",
            "has the layout of no data set that this task reads; "
            "the task needs your own pairs, noisy and clean",
        ),
    ],
)
def test_a_wrong_folder_is_told_with_the_one_that_may_be_meant(
    below: str, message: str, tmp_path: Path
) -> None:
    make_pairs_folder(tmp_path / "camera")
    write_noise(tmp_path / "dark/our485/low/1.png")
    write_noise(tmp_path / "other/deeper/still/1.png")
    with pytest.raises(ConfigError, match=message):
        identify_data_set(str(tmp_path / below), (NOISY,), OTHERS)


def test_photographs_are_cut_at_the_bottom_and_the_right() -> None:
    image = torch.arange(35).view(1, 5, 7)
    assert torch.equal(crop_to_multiple(image, 3), image[:, :3, :6])
