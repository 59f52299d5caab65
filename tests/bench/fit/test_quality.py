"""Quality is judged on calibration crops: that of the network, less what seams cost."""

import pytest
import torch
from torch import nn

from bench.fit.quality import Judge
from bench.fit.ways import Way
from bench.training.trainer import TaskTrainer
from tests.fakes import FakeTask, Tiny

WHOLE = Way(1.0, "whole image", "float32", (64, 64), None, 1, 100, 10)
TILED = Way(1.0, "tiles, halo 0", "float32", (32, 32), 0, 4, 100, 10)


@pytest.fixture
def judge() -> Judge:
    task = FakeTask()
    return Judge(TaskTrainer(task, "fake", task.recipe, seed=0))


def test_a_whole_image_has_the_psnr_of_the_network_on_calibration_crops(judge: Judge) -> None:
    network = Tiny(4).eval()
    (rated,) = judge.rate({1.0: network}, [WHOLE])
    assert rated.psnr_db == pytest.approx(judge.trainer.psnr_db(network))


def test_what_does_not_fit_is_not_rated(judge: Judge) -> None:
    way = Way(1.0, "exact tiles", "float32", None, None, 0, None, None, "no tiles")
    assert judge.rate({1.0: Tiny(4).eval()}, [way]) == [way]


def test_tiles_without_a_halo_lose_what_their_seams_cost(judge: Judge) -> None:
    """A mean over 15 pixels: at the border of a tile it takes in zeros."""
    network = nn.Conv2d(3, 3, 15, padding=7, groups=3, bias=False).eval()
    nn.init.constant_(network.weight, 1 / 15**2)
    whole, tiled = judge.rate({1.0: network}, [WHOLE, TILED])
    assert whole.psnr_db - tiled.psnr_db > 0.2


def test_seams_of_a_network_of_single_pixels_cost_nothing(judge: Judge) -> None:
    network = nn.Conv2d(3, 3, 1).eval()
    torch.nn.init.eye_(network.weight[:, :, 0, 0].data)
    whole, tiled = judge.rate({1.0: network}, [WHOLE, TILED])
    assert tiled.psnr_db == pytest.approx(whole.psnr_db, abs=1e-4)
