"""The embedded photographs: which split each is in, and that the test photographs never change."""

import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from bench.errors import ConfigError
from tasks.data import embedded
from tasks.data.degrade import CameraNoise
from tasks.metrics import psnr_db

ALL = tuple(dict.fromkeys(embedded.TRAIN + embedded.CALIBRATION + embedded.TEST))


def names_of(files: Sequence[str]) -> set[str]:
    return {photograph.name for photograph in embedded.load_photographs(files)}


def test_no_test_photograph_is_trained_or_calibrated_on() -> None:
    assert not names_of(embedded.TEST) & names_of(embedded.TRAIN + embedded.CALIBRATION)
    assert len(names_of(ALL)) == len(ALL) == 16
    # These show the same scenes as motorcycle_left and chelsea.
    assert not names_of(ALL) & {"motorcycle_right", "cat"}


def test_one_of_four_calibration_photographs_is_held_out_from_training_unless_asked() -> None:
    assert len(embedded.CALIBRATION) == 4
    for hold_out, held_out in ((True, {"china"}), (False, set())):
        trained = names_of(embedded.training_files(hold_out))
        assert names_of(embedded.CALIBRATION) - trained == held_out
        assert not names_of(embedded.TEST) & trained


def test_no_two_photographs_share_their_content() -> None:
    """Thumbnails of two views of one scene correlate (motorcycle left and right: 0.9)."""
    photographs = embedded.load_photographs(ALL)
    small = [
        torch.nn.functional.adaptive_avg_pool2d(photograph.images[0].float(), 16).flatten()
        for photograph in photographs
    ]
    assert torch.corrcoef(torch.stack(small)).fill_diagonal_(0).max() < 0.8


def test_photographs_are_rgb_and_large_enough_for_patches() -> None:
    for photograph in embedded.load_photographs(ALL):
        (image,) = photograph.images
        assert image.dtype == torch.uint8 and image.shape[0] == 3 and min(image.shape[1:]) >= 256


def test_noisy_test_photographs_have_20_to_22_db() -> None:
    for pair in embedded.load_pairs(embedded.TEST, CameraNoise()):
        assert 20 < psnr_db(pair.degraded, pair.clean) < 22, pair.name


def test_test_noise_is_the_same_whatever_else_was_drawn_and_differs_between_photographs() -> None:
    first = embedded.load_pairs(embedded.TEST, CameraNoise())
    embedded.load_pairs.cache_clear()
    torch.manual_seed(1)
    again = embedded.load_pairs(embedded.TEST, CameraNoise())
    assert all(
        torch.equal(one.degraded, other.degraded) for one, other in zip(first, again, strict=True)
    )
    chelsea, flower, _ = ((pair.degraded - pair.clean)[:, :300, :451].flatten() for pair in again)
    assert abs(torch.corrcoef(torch.stack((chelsea, flower)))[0, 1]) < 0.05


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    embedded._load_photograph.cache_clear()
    assert len(embedded.load_photographs(embedded.TEST)) == 3


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "TEST", ("kodim01.png",))
    with pytest.raises(ConfigError, match=r"kodim01\.png is missing; install the package skimage"):
        embedded.fingerprint_parts()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda package: None)
    with pytest.raises(
        ConfigError, match=r"astronaut\.png comes with the package skimage, which is not installed"
    ):
        embedded.fingerprint_parts()


def test_reading_the_files_imports_neither_package() -> None:
    assert (
        "import skimage" not in (source := Path(embedded.__file__).read_text())
        and "import sklearn" not in source
    )
