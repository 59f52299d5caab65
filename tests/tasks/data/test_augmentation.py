"""About half of the training crops are recoloured, the others stay unchanged."""

import torch

from tasks.data.augmentation import recolour
from tasks.denoising import Denoising


def make_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_half_of_the_crops_keep_their_colours_exactly() -> None:
    clean = torch.rand(400, 3, 8, 8, generator=make_generator())
    same = [
        torch.equal(one, other)
        for one, other in zip(recolour(clean, make_generator(1)), clean, strict=True)
    ]
    assert 160 < sum(same) < 240


def test_recoloured_crops_stay_in_range_and_the_input_is_left_alone() -> None:
    clean = torch.rand(100, 3, 8, 8, generator=make_generator())
    before = clean.clone()
    changed = recolour(clean, make_generator(1))
    assert changed.min() >= 0 and changed.max() <= 1 and torch.equal(clean, before)
    assert torch.equal(changed, recolour(clean, make_generator(1)))


def test_grey_crops_stay_grey_unless_each_channel_is_darkened() -> None:
    clean = torch.rand(400, 1, 8, 8, generator=make_generator()).expand(-1, 3, -1, -1)
    changed = recolour(clean, make_generator(1))
    ratio = changed.mean((2, 3)) / clean.mean((2, 3))
    assert ratio.max() < 1.0001 and ratio.min() > 0.39
    assert 0.15 < ((ratio - ratio[:, :1]).abs().max(1).values > 0.01).float().mean() < 0.35


def test_only_training_crops_change_their_colours() -> None:
    """Calibration crops keep the 256 levels of their file; some training crops do not."""
    task = Denoising()
    on_levels = [
        [
            torch.equal(crop, (crop * 255).round() / 255)
            for crop in source.sample(40, 16, make_generator())[1]
        ]
        for source in (task.calibration_pairs("photographs"), task.training_pairs("photographs"))
    ]
    assert all(on_levels[0]) and not all(on_levels[1])
