"""Other colours for some training crops, and the rest untouched."""

import torch

from tasks.data.colours import recoloured
from tasks.denoising import Denoising


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_half_of_the_crops_keep_their_colours_exactly() -> None:
    clean = torch.rand(400, 3, 8, 8, generator=seeded())
    same = [
        torch.equal(one, other)
        for one, other in zip(recoloured(clean, seeded(1)), clean, strict=True)
    ]
    assert 160 < sum(same) < 240


def test_recoloured_crops_stay_in_range_and_the_input_is_left_alone() -> None:
    clean = torch.rand(100, 3, 8, 8, generator=seeded())
    before = clean.clone()
    changed = recoloured(clean, seeded(1))
    assert changed.min() >= 0 and changed.max() <= 1 and torch.equal(clean, before)
    assert torch.equal(changed, recoloured(clean, seeded(1)))


def test_grey_crops_stay_grey_unless_each_channel_is_darkened() -> None:
    clean = torch.rand(400, 1, 8, 8, generator=seeded()).expand(-1, 3, -1, -1)
    changed = recoloured(clean, seeded(1))
    ratio = changed.mean((2, 3)) / clean.mean((2, 3))
    assert ratio.max() < 1.0001 and ratio.min() > 0.39
    assert 0.15 < ((ratio - ratio[:, :1]).abs().max(1).values > 0.01).float().mean() < 0.35


def test_only_training_crops_change_their_colours() -> None:
    """Crops of china that layers are judged by have the 256 levels of the file; some training crops have others."""
    task = Denoising()
    on_levels = [
        [
            torch.equal(crop, (crop * 255).round() / 255)
            for crop in source.sample(40, 16, seeded())[1]
        ]
        for source in (task.calibration_pairs("embedded"), task.training_pairs("embedded"))
    ]
    assert all(on_levels[0]) and not all(on_levels[1])
