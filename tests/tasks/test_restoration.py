"""Options and photographs that all restoration tasks share."""

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.contract import Task
from bench.errors import ConfigError
from bench.plugins.options import configure
from bench.plugins.registry import TASKS
from bench.study.catalogue import list_entries
from bench.study.study import study_from_values
from bench.testing.task_checks import _contains, _is_part_of
from tests.tasks.data.test_folders import make_pairs_folder
from tests.tasks.data.trees import write_noise

NAMES = ("denoising", "low_light", "super_resolution")


def make_task(name: str, **options: Any) -> Task:
    return configure(TASKS.get(name), options, f"task {name}")


def make_folder(root: Path, name: str) -> str:
    """Make a folder of 16 training photographs and two to test on, as the task reads it."""
    if name == "super_resolution":
        for index in range(18):
            folder = "train_hr" if index < 16 else "val_hr"
            write_noise(root / folder / f"{index}.png", index, (48, 40))
        return str(root)
    make_pairs_folder(root, train=16)
    if name == "low_light":
        for split in ("train", "val"):
            (root / split / "noisy").rename(root / split / "low")
            (root / split / "clean").rename(root / split / "high")
    return str(root)


@pytest.mark.parametrize("name", NAMES)
def test_as_many_symmetries_as_no_group_has_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"symmetries = 3 cannot be used; choose 8 .*, 4 .* or 1"):
        make_task(name, symmetries=3)


@pytest.mark.parametrize("name", NAMES)
def test_the_options_are_listed(name: str) -> None:
    (entry,) = (entry for entry in list_entries("tasks") if entry["name"] == name)
    assert entry["options"]["symmetries"] == {"type": "int", "default": 8}
    assert entry["options"]["hold_out"] == {"type": "bool", "default": True}


def test_the_options_are_part_of_the_question() -> None:
    values = {
        "tasks": [
            "denoising",
            {"task": "denoising", "symmetries": 4},
            {"task": "denoising", "hold_out": False},
        ],
        "backbones": ["unet"],
        "methods": ["unpruned"],
        "ratios": [1.0],
    }
    assert len({cell.key for cell in study_from_values("mine", values).cells()}) == 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", ["embedded", "photographs"])
def test_four_calibration_crops_show_four_images(name: str, data: str) -> None:
    task = make_task(name)
    pairs = task.photographs(data)["calibration"]
    generator = torch.Generator().manual_seed(0)
    _, crops = task.calibration_pairs(data).sample(4, 48, generator)
    shown = {pair.name for crop in crops for pair in pairs if _is_part_of(crop, pair.clean)}
    assert len(shown) == 4 <= len(pairs)


@pytest.mark.parametrize("name", NAMES)
def test_every_photograph_of_a_folder_can_be_trained_on(name: str, tmp_path: Path) -> None:
    data = make_folder(tmp_path, name)
    split, whole = (make_task(name, hold_out=hold_out) for hold_out in (True, False))
    sizes = {side: len(pairs) for side, pairs in split.photographs(data).items()}
    assert (sizes["train"], sizes["calibration"]) == (12, 4)
    assert {pair.name for pair in split.photographs(data)["calibration"]} < {
        pair.name for pair in whole.photographs(data)["train"]
    }
    assert len(whole.photographs(data)["train"]) == 16
    assert split.fingerprint(data) == whole.fingerprint(data)


@pytest.mark.parametrize("name", NAMES)
def test_crops_without_symmetries_are_parts_of_the_photographs_as_they_are(
    name: str, tmp_path: Path
) -> None:
    task = make_task(name, symmetries=1, hold_out=False)
    data = make_folder(tmp_path, name)
    folder_pairs = task.photographs(data)["train"]
    embedded_pairs = task.photographs("embedded")["calibration"]
    for crops, pairs in (
        (task.training_pairs(data), folder_pairs),
        (task.calibration_pairs(data), folder_pairs),
        (task.calibration_pairs("embedded"), embedded_pairs),
    ):
        _, clean = crops.sample(8, 16, torch.Generator().manual_seed(0))
        assert all(any(_contains(pair.clean, crop) for pair in pairs) for crop in clean)
