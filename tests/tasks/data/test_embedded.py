"""The embedded photographs: which split each is in, and that the test photographs never change."""

import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.contract import Pair
from bench.errors import ConfigError
from tasks.data import embedded
from tasks.data.degrade import CameraNoise
from tasks.metrics import psnr_db


def photographs_of(files: Sequence[str]) -> list[Tensor]:
    return [photograph.images[0] for photograph in embedded.load_photographs(files)]


def names_of(files: Sequence[str]) -> set[str]:
    return {photograph.name for photograph in embedded.load_photographs(files)}


def test_all_photographs_are_tested_on_and_none_is_trained_or_calibrated_on() -> None:
    images = embedded.DATA["embedded"]
    splits = {split: images.load(split, hold_out=False) for split in embedded.SPLITS}
    names = {split: {image.name for image in images} for split, images in splits.items()}
    assert names["embedded"] == names_of(embedded.ALL) and len(names["embedded"]) == 17
    assert not names["embedded"] & (names["train"] | names["calibration"])
    assert all(max(image.images[0].shape) <= embedded.TEST_PIXELS for image in splits["embedded"])


def test_the_test_photographs_need_no_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.leaves, "_load", lambda: pytest.fail("leaves were made"))
    embedded.load_pairs.cache_clear()
    assert len(load_test_pairs()) == 17


def test_of_photographs_none_is_both_trained_and_tested_on() -> None:
    assert not names_of(embedded.TEST) & names_of(embedded.TRAIN + embedded.CALIBRATION)
    # These show the same scenes as motorcycle_left and chelsea.
    assert not names_of(embedded.ALL) & {"motorcycle_right", "cat"}


def test_one_of_four_calibration_photographs_is_held_out_from_training_unless_asked() -> None:
    assert len(embedded.CALIBRATION) == 4
    for hold_out, held_out in ((True, {"china"}), (False, set())):
        trained = names_of(embedded.training_files(hold_out))
        assert names_of(embedded.CALIBRATION) - trained == held_out
        assert not names_of(embedded.TEST) & trained


def test_no_two_photographs_share_their_content() -> None:
    """Thumbnails of two views of one scene correlate (motorcycle left and right: 0.9)."""
    small = [
        torch.nn.functional.adaptive_avg_pool2d(image.float(), 16).flatten()
        for image in photographs_of(embedded.ALL)
    ]
    assert torch.corrcoef(torch.stack(small)).fill_diagonal_(0).max() < 0.8


def test_photographs_are_rgb_and_large_enough_for_patches() -> None:
    for image in photographs_of(embedded.ALL):
        assert image.dtype == torch.uint8 and image.shape[0] == 3 and min(image.shape[1:]) >= 256


def test_noisy_test_photographs_have_19_to_23_db() -> None:
    for pair in load_test_pairs():
        assert 19 < psnr_db(pair.degraded, pair.clean) < 23, pair.name


def test_test_noise_is_the_same_whatever_else_was_drawn_and_differs_between_photographs() -> None:
    first = load_test_pairs()
    embedded.load_pairs.cache_clear()
    torch.manual_seed(1)
    again = load_test_pairs()
    assert all(
        torch.equal(one.degraded, other.degraded) for one, other in zip(first, again, strict=True)
    )
    astronaut, motorcycle = ((pair.degraded - pair.clean).flatten() for pair in again[:2])
    assert abs(torch.corrcoef(torch.stack((astronaut, motorcycle)))[0, 1]) < 0.05


def load_test_pairs() -> Sequence[Pair]:
    return embedded.load_pairs("embedded", "embedded", True, CameraNoise())


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    embedded._load_photograph.cache_clear()
    assert len(embedded.load_photographs(embedded.ALL)) == 17


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "ALL", ("kodim01.png",))
    with pytest.raises(ConfigError, match=r"kodim01\.png is missing; install the package skimage"):
        embedded.fingerprint_parts("embedded")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda package: None)
    with pytest.raises(
        ConfigError, match=r"astronaut\.png comes with the package skimage, which is not installed"
    ):
        embedded.fingerprint_parts("embedded")


def test_reading_the_files_imports_neither_package() -> None:
    assert (
        "import skimage" not in (source := Path(embedded.__file__).read_text())
        and "import sklearn" not in source
    )
