"""M = A w + c equals the U-Net worked out by hand, and tracing the pruned network again."""

import pytest

from bench.contract import Budget
from bench.errors import Infeasible
from bench.memory.peak_model import compute_min_widths, peak_model
from bench.memory.profile import peak_memory, timeline
from bench.surgery.remove import remove_channels
from tests.networks.small import SHAPE, Residual, draw_kept, network_layout, unet

FULL_HD = (1, 3, 1024, 2048)
# Full-resolution channels alive at each step of a width-32 U-Net, by hand: input 3, skips 32 / 16 /
# 8 / 4, ...
BY_HAND = [
    *(35, 64, 40, 56, 64, 52, 60, 64, 58, 62, 64, 61, 63, 64),
    *(66, 68, 64, 68, 72, 64, 72, 80, 64, 80, 96, 64, 35),
]


def test_every_step_of_the_unet_is_as_worked_out_by_hand() -> None:
    channel_bytes = 1024 * 2048 * 4
    model = peak_model(unet(32), FULL_HD)
    by_hand = [channels * channel_bytes for channels in BY_HAND]
    assert model.step_bytes({}).tolist() == by_hand


@pytest.mark.parametrize("convention", ["planned", "eager"])
@pytest.mark.parametrize("compactors", [False, True])
def test_the_linear_model_equals_tracing_the_pruned_network_again(
    convention: str, compactors: bool
) -> None:
    network = unet(compactors=compactors)
    model = peak_model(network, SHAPE, convention)
    for seed in range(5):
        kept = draw_kept(network_layout(network), seed)
        widths = {unit: len(indices) for unit, indices in kept.items()}
        smaller = remove_channels(network, kept, SHAPE)
        again = [step.bytes for step in timeline(smaller, SHAPE, convention)]
        assert model.step_bytes(widths).tolist() == again


def test_the_linear_model_holds_for_tied_layers() -> None:
    network = Residual()
    kept = {"head": [0, 3], "first.1": [1]}
    smaller = remove_channels(network, kept, SHAPE)
    modelled = peak_model(network, SHAPE).peak_bytes({"head": 2, "first.1": 1})
    assert modelled == peak_memory(smaller, SHAPE)


def test_compactors_leave_the_peak_where_it_was() -> None:
    plain, compacted = unet(32), unet(32, compactors=True)
    assert peak_memory(compacted, FULL_HD) == peak_memory(plain, FULL_HD)
    parameters = [sum(p.numel() for p in net.parameters()) for net in (plain, compacted)]
    assert parameters[1] - parameters[0] == 87_520
    assert len(timeline(compacted, FULL_HD)) == 31


def test_a_budget_below_the_least_widths_names_the_least_peak() -> None:
    model = peak_model(unet(), SHAPE)
    with pytest.raises(Infeasible, match="least is") as caught:
        model.check(Budget(1, SHAPE))
    assert caught.value.least_bytes == model.least_bytes(1)


def test_a_unit_with_fewer_channels_than_the_least_width_keeps_all() -> None:
    assert compute_min_widths({"wide": 8, "narrow": 2}, 4) == {"wide": 4, "narrow": 2}


def test_a_budget_of_the_least_peak_is_possible_and_a_byte_less_is_not() -> None:
    model = peak_model(unet(8), SHAPE)
    least = model.least_bytes()
    model.check(Budget(least, SHAPE))
    with pytest.raises(Infeasible):
        model.check(Budget(least - 1, SHAPE))
