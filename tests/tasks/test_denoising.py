"""Denoising through the interface of the harness, and a classical method for comparison."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from torch import Tensor

from bench.contract import Task
from bench.errors import ConfigError
from bench.plugins.options import set_option_values
from bench.plugins.registry import TASKS
from bench.training.evaluation import evaluate, input_scores, means
from bench.training.trainer import TaskTrainer
from tasks.data.degrade import GaussianNoise
from tasks.denoising import Denoising

SIGMA_FILTER = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6


def non_local_means(degraded: Tensor) -> Tensor:
    """Denoise an image (3, H, W) by scikit-image's non-local means, as in its gallery (fast mode).

    The noise is estimated by the method of Immerkaer (1996).
    """
    from skimage.restoration import denoise_nl_means

    edges = torch.nn.functional.conv2d(degraded[:, None], SIGMA_FILTER[None, None])
    sigma = float((torch.pi / 2) ** 0.5 * edges.abs().mean())
    image = degraded.permute(1, 2, 0).numpy()
    restored = denoise_nl_means(
        image,
        patch_size=5,
        patch_distance=6,
        h=0.8 * sigma,
        sigma=sigma,
        fast_mode=True,
        channel_axis=-1,
    )
    return torch.from_numpy(numpy.asarray(restored, dtype=numpy.float32)).permute(2, 0, 1)


def test_it_is_registered_and_is_a_task() -> None:
    assert (
        TASKS.get("denoising") is Denoising
        and isinstance(Denoising(), Task)
        and Denoising.name == "denoising"
    )
    assert Denoising().measured_at == (1, 3, 1024, 2048)


def test_it_builds_a_network_of_the_asked_width_that_can_be_initialised() -> None:
    model = Denoising().build("unet", width=4)
    Denoising().initialise(model, torch.Generator().manual_seed(0))
    assert model(torch.rand(1, 3, 32, 48)).shape == (1, 3, 32, 48)


@pytest.mark.parametrize(
    ("backbone", "options", "message"),
    [
        ("unett", {}, "unknown backbone 'unett'; did you mean 'unet'"),
        ("unet", {"widht": 8}, "unknown option of backbone unet 'widht'; did you mean 'width'"),
        ("unet", {"channels": 1}, "unknown option of backbone unet 'channels'"),
        ("unet", {"width": 0}, "option width of backbone unet is 0; give a positive integer"),
        ("unet", {"width": True}, "option width of backbone unet is True"),
        ("unet", {"width": "8"}, "option width of backbone unet is '8'"),
        (
            "unet",
            {"global_residual": 1},
            "option global_residual of backbone unet is 1; give true or false",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(
    backbone: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Denoising().build(backbone, **options)


def test_a_strength_of_noise_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="noise strength shot"):
        Denoising(shot=-0.1)


def test_gaussian_noise_takes_the_place_of_camera_noise_and_excludes_it() -> None:
    assert Denoising(sigma=25).degradation == GaussianNoise(25)
    assert Denoising(sigma=0).degradation == GaussianNoise(0)
    with pytest.raises(ConfigError, match=r"sigma = 25 asks for Gaussian noise, shot = 0\.1 and"):
        Denoising(sigma=25, shot=0.1)
    with pytest.raises(ConfigError, match="noise strength sigma is -1"):
        Denoising(sigma=-1)


def test_a_sigma_that_is_not_set_is_no_part_of_the_question() -> None:
    assert "sigma" not in set_option_values(Denoising())
    assert set_option_values(Denoising(sigma=0.0))["sigma"] == 0


def test_training_calibration_and_test_work_on_embedded_photographs() -> None:
    task = Denoising()
    for crops in (task.training_pairs("embedded"), task.calibration_pairs("embedded")):
        degraded, clean = crops.sample(4, 32, torch.Generator().manual_seed(0))
        assert degraded.shape == clean.shape == (4, 3, 32, 32) and task.loss(degraded, clean) > 0.01
    ((name, pairs),) = task.test_sets("embedded").items()
    assert name == "embedded" and task.test_sets("embedded")["embedded"] is pairs
    assert list(task.photographs("embedded")) == ["train", "calibration", "embedded"]
    assert set(task.score(pairs[0].degraded, pairs[0].clean)) == {"psnr_db", "ssim"}


def test_the_fingerprint_changes_with_noise_and_data_only(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Denoising()
    assert (
        task.fingerprint("embedded")
        == Denoising().fingerprint("embedded")
        != Denoising(read=0.01).fingerprint("embedded")
    )
    before = task.fingerprint("embedded")
    monkeypatch.setattr("tasks.data.embedded.ALL", ("flower.jpg", "coffee.png"))
    assert task.fingerprint("embedded") != before


def test_a_folder_has_its_own_fingerprint_and_test_set(data_folder: Path) -> None:
    data = str(data_folder / "denoise" / "sidd_crops")
    assert (
        Denoising().fingerprint(data)
        == Denoising(shot=0.1).fingerprint(data)
        != Denoising().fingerprint("embedded")
    )
    assert [pair.clean.shape[1:] for pair in Denoising().test_sets(data)["val"]].count(
        (241, 241)
    ) == 1


def test_a_few_steps_lower_the_loss() -> None:
    task = Denoising()
    generator = torch.Generator().manual_seed(0)
    model = task.build("unet", width=4)
    crops = task.training_pairs("embedded")
    task.initialise(model, generator)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        degraded, clean = crops.sample(4, 32, generator)
        loss = task.loss(model(degraded), clean)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_non_local_means_restores_the_test_photographs_to_28_9_db() -> None:
    task = Denoising()
    scores = [
        task.score(non_local_means(pair.degraded), pair.clean)
        for pair in task.test_sets("photographs")["embedded"]
    ]
    assert sum(score["psnr_db"] for score in scores) / 3 == pytest.approx(28.89, abs=0.1)


def test_importing_the_task_pulls_in_no_image_library() -> None:
    libraries = ("skimage", "sklearn", "scipy", "PIL")
    code = (
        f"import sys, tasks.denoising; print([name for name in {libraries} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_short_training_on_real_pairs_improves_on_their_light_noise(data_folder: Path) -> None:
    """PolyU's noisy photographs have 36.89 dB."""
    task = Denoising()
    data = str(data_folder / "denoise/polyu")
    network = task.build("unet", width=8, levels=3, global_residual=True)
    trainer = TaskTrainer(task, data, replace(task.recipe, pretrain_rate=4e-3), seed=0)
    trainer.reinitialise(network)
    trainer.fit(network, 500, phase="pretrain")
    assert (
        means(evaluate(task, network, data))["psnr_db"]
        > means(input_scores(task, data))["psnr_db"] + 0.3
    )
