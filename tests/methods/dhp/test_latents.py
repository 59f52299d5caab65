"""The proximal step: check (b), the floor of check (f), and check (g)."""

import pytest
import torch
from torch import Tensor

from methods.dhp.latents import LEAST_LATENT, Latents, spread_by_rank

WIDTHS = {"wide": 40, "narrow": 3, "other": 20}
SLOTS = sum(WIDTHS.values())


def _latents(min_width: int = 4, fixed: int = 7) -> tuple[Latents, Tensor]:
    values = torch.randn(SLOTS + fixed, generator=torch.Generator().manual_seed(0))
    return Latents(values, WIDTHS, min_width, threshold=5e-3), values


def test_a_step_shortens_every_latent_by_its_amount_and_shorter_ones_become_exactly_0() -> None:
    latents, values = _latents(min_width=1)
    before = values.clone()
    latents.shrink(0.3)
    for old, new in zip(before[:SLOTS].tolist(), values[:SLOTS].tolist(), strict=True):
        assert new == 0.0 if abs(old) <= 0.3 else abs(abs(old) - abs(new) - 0.3) < 1e-6
        assert old * new >= 0


def test_a_latent_never_grows_nor_turns_its_sign_over_many_steps() -> None:
    latents, values = _latents()
    start = values.clone()
    for _ in range(50):
        before = values.clone()
        latents.shrink(0.02)
        assert (values.abs() <= before.abs()).all()
        assert (values * start >= 0).all()
    assert latents.count_small() > 30


def test_latents_of_fixed_channels_and_of_units_at_their_least_width_do_not_shrink() -> None:
    latents, values = _latents(min_width=4)
    before = values.clone()
    for _ in range(100):
        latents.shrink(0.05)
    assert torch.equal(values[SLOTS:], before[SLOTS:])
    assert torch.equal(values[40:43], before[40:43])  # three channels, four are the least


def test_a_unit_stops_shrinking_once_no_more_than_its_least_width_are_large() -> None:
    latents, values = _latents(min_width=4)
    for _ in range(3000):
        latents.shrink(1e-3)
    for unit in (values[:40], values[43:SLOTS]):
        assert int((unit.abs() >= 5e-3).sum()) == 4
    stopped = values.clone()
    latents.shrink(1.0)
    assert torch.equal(values, stopped)


def test_the_width_of_a_unit_counts_its_large_latents_and_at_least_its_least_width() -> None:
    latents, values = _latents(min_width=4)
    values[:] = 0
    values[:6] = torch.tensor([-0.3, 0.1, 5e-3, 4e-3, 0.2, -0.2])
    values[43:45] = 1
    assert latents.masked_widths() == {"wide": 5, "narrow": 3, "other": 4}


def test_latents_of_a_pretrained_unit_are_spread_as_normal_ones_in_the_order_of_its_scores() -> (
    None
):
    scores = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    latents = spread_by_rank(scores)
    assert torch.equal(latents.argsort(), scores.argsort())
    normal = torch.randn(100_000, generator=torch.Generator().manual_seed(0)).abs()
    for share in (0.25, 0.5, 0.75, 0.95):
        expected = (float(normal.quantile(share)) ** 2 + LEAST_LATENT**2) ** 0.5
        assert float(latents.quantile(share)) == pytest.approx(expected, rel=0.02)
    assert float(latents.min()) >= LEAST_LATENT
    assert float(spread_by_rank(torch.ones(1))) == pytest.approx(0.68, abs=0.01)


def test_without_shrinkage_nothing_moves() -> None:
    latents, values = _latents()
    before = values.clone()
    small = latents.count_small()
    for _ in range(100):
        latents.shrink(0.0)
    assert torch.equal(values, before)
    assert latents.count_small() == small


def test_the_first_latents_at_0_count_least_and_the_longest_most() -> None:
    values = torch.tensor([-0.9, 0.05, -0.15, 0.25, 0.5, 0.15])
    latents = Latents(values, {"unit": 5, "other": 1}, min_width=1, threshold=5e-3)
    for _ in range(3):
        latents.shrink(0.1)
    scores = latents.scores()
    assert scores["unit"].argsort().tolist() == [1, 2, 3, 4, 0]
    assert scores["unit"][[1, 2, 3]].tolist() == [-3, -2, -1]
    torch.testing.assert_close(scores["other"], torch.tensor([0.15]))  # at its least width
    values[1] = 0.4  # training brought it back
    latents.shrink(0.1)
    assert latents.scores()["unit"].argsort().tolist() == [2, 3, 4, 1, 0]
