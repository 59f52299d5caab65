"""Crops: equal position and symmetry on both sides, all of them, drawn from the generator alone."""

from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from bench.contract import find_scene
from bench.errors import ConfigError
from tasks.data.degrade import CameraNoise
from tasks.data.pairs import (
    CropSampler,
    DegradedCrops,
    PairedCrops,
    Photograph,
    apply_symmetry,
)


def make_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def number_pixels(height: int, width: int, first: int = 0) -> Tensor:
    """Return an image (3, H, W) in which every pixel has another value."""
    values = first + torch.arange(height * width, dtype=torch.float32)
    return values.reshape(1, height, width).expand(3, -1, -1) / 2**16


def test_degraded_and_clean_are_cut_alike() -> None:
    clean = number_pixels(40, 50)
    degraded, cut = PairedCrops(CropSampler([Photograph("a", (1 - clean, clean))])).sample(
        16, 16, make_generator()
    )
    assert cut.shape == (16, 3, 16, 16) and torch.equal(degraded, 1 - cut)


@pytest.mark.parametrize("symmetries", [8, 4, 1])
def test_every_crop_lies_in_a_photograph_in_one_of_the_symmetries(symmetries: int) -> None:
    clean = number_pixels(19, 21)
    sampler = CropSampler([Photograph("a", (clean, clean))], symmetries)
    _, crops = PairedCrops(sampler).sample(400, 16, make_generator())
    seen = Counter()
    for crop in crops:
        corner = int(crop[0].min() * 2**16)
        top, left = divmod(corner, 21)
        square = clean[:, top : top + 16, left : left + 16]
        seen[
            (top, left, next(k for k in range(8) if torch.equal(apply_symmetry(square, k), crop)))
        ] += 1
    assert {top for top, _, _ in seen} == set(range(4)) and {left for _, left, _ in seen} == set(
        range(6)
    )
    assert {symmetry for _, _, symmetry in seen} == set(range(symmetries))


def test_the_first_four_symmetries_are_the_flips() -> None:
    square = number_pixels(4, 4)
    flips = [square, square.flip(-1), square.flip(-2), square.flip(-1, -2)]
    assert all(torch.equal(apply_symmetry(square, k), flip) for k, flip in enumerate(flips))


def test_the_eight_symmetries_differ() -> None:
    square = number_pixels(4, 4)
    assert len({tuple(apply_symmetry(square, k).flatten().tolist()) for k in range(8)}) == 8


def test_photographs_are_drawn_by_area() -> None:
    photographs = [
        Photograph(name, (torch.full((3, side, side), value),))
        for name, side, value in (("small", 20, 0.0), ("large", 40, 1.0))
    ]
    _, clean = DegradedCrops(CropSampler(photographs), lambda crops, generator: crops).sample(
        2000, 16, make_generator()
    )
    assert clean[:, 0, 0, 0].mean().item() == pytest.approx(0.8, abs=0.03)


def draw_in_turn(names: Sequence[str], count: int, seed: int = 0) -> list[str]:
    """Return the names of the photographs, of very different sizes, that give the crops."""
    photographs = [
        Photograph(name, (torch.full((3, 16 + 8 * index, 16), index / 255),))
        for index, name in enumerate(names)
    ]
    sampler = CropSampler(photographs, in_turn=True)
    (clean,) = sampler.draw_crops(count, 16, make_generator(seed))
    return [names[round(float(crop.mean() * 255))] for crop in clean]


@pytest.mark.parametrize("count", [1, 3, 4, 10])
def test_crops_in_turn_come_from_as_many_photographs_as_possible(count: int) -> None:
    drawn = Counter(draw_in_turn("abcd", count))
    assert len(drawn) == min(count, 4) and max(drawn.values()) - min(drawn.values()) <= 1


def test_crops_in_turn_come_from_every_scene_before_a_second_photograph_of_one() -> None:
    names = ("one/a", "one/b", "one/c", "two/a", "alone")
    for seed in range(8):
        drawn = draw_in_turn(names, 5, seed)
        assert {find_scene(name) for name in drawn[:3]} == {"one", "two", "alone"}
        assert set(drawn) == set(names)


def test_the_generator_decides_the_order_of_crops_in_turn() -> None:
    orders = [tuple(draw_in_turn("abcd", 4, seed)) for seed in (0, *range(8))]
    assert orders[0] == orders[1] and len(set(orders)) > 4


def test_a_photograph_of_the_size_of_the_patch_is_used_whole() -> None:
    clean = number_pixels(16, 16)
    _, crops = PairedCrops(CropSampler([Photograph("a", (clean, clean))])).sample(
        4, 16, make_generator()
    )
    assert all(
        torch.equal(crop.flatten().sort().values, clean.flatten().sort().values) for crop in crops
    )


def test_a_photograph_smaller_than_the_patch_is_named() -> None:
    photographs = [
        Photograph(name, (number_pixels(*size), number_pixels(*size)))
        for name, size in (("fine", (64, 64)), ("short.png", (30, 99)))
    ]
    with pytest.raises(
        ConfigError, match=r"short\.png has 99 x 30 pixels, less than the patch of 32"
    ):
        PairedCrops(CropSampler(photographs)).sample(1, 32, make_generator())


def test_the_generator_decides_everything_and_the_photographs_are_left_alone() -> None:
    image = (number_pixels(40, 40) * 2**16 % 256).to(torch.uint8)
    before = image.clone()
    crops = DegradedCrops(CropSampler([Photograph("a", (image,))]), CameraNoise())
    one, same, other = (crops.sample(4, 16, make_generator(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True)) and not torch.equal(
        one[1], other[1]
    )
    assert torch.equal(image, before) and one[0].dtype == one[1].dtype == torch.float32
