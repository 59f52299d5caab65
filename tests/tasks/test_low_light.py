"""Low-light enhancement through the interface of the harness."""

from pathlib import Path

import pytest
import torch

from bench.errors import ConfigError
from bench.plugins.registry import TASKS
from bench.training.evaluation import evaluate, input_scores, means
from bench.training.trainer import TaskTrainer
from tasks.data.degrade import Darkness, to_linear
from tasks.low_light import LowLight


def test_it_is_registered_and_builds_both_u_nets() -> None:
    assert TASKS.get("low_light") is LowLight and LowLight().measured_at == (1, 3, 1024, 2048)
    for backbone in ("unet", "res_unet"):
        assert LowLight().build(backbone, width=2)(torch.rand(1, 3, 32, 48)).shape == (1, 3, 32, 48)


def test_embedded_photographs_lose_their_share_of_the_light() -> None:
    for pair in LowLight().test_sets("photographs")["embedded"]:
        assert to_linear(pair.degraded.clone()).mean() / to_linear(
            pair.clean.clone()
        ).mean() == pytest.approx(0.08, abs=0.005)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"light": 0.0}, r"light is 0.0; give a number in \(0, 1\]"), ({"read": -1.0}, "read is")],
)
def test_an_option_out_of_range_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LowLight(**options)


def test_darkness_without_loss_of_light_is_the_noise_alone() -> None:
    clean = torch.rand(3, 32, 32)
    same = Darkness(1.0, 0.0, 0.0)(clean, torch.Generator())
    assert torch.allclose(same, (clean * 255).round() / 255, atol=1 / 255)


def test_a_short_training_on_real_pairs_is_far_above_its_input(data_folder: Path) -> None:
    task = LowLight()
    data = str(data_folder / "lowlight/lol")
    network = task.build("unet", width=4)
    trainer = TaskTrainer(task, data, task.recipe, seed=0)
    trainer.reinitialise(network)
    trainer.fit(network, 200, phase="pretrain")
    assert (
        means(evaluate(task, network, data))["psnr_db"]
        > means(input_scores(task, data))["psnr_db"] + 4
    )
