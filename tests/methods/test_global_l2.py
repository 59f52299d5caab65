"""Global L2: checks (a) to (e), and that rescaled units do not change what it removes."""

from typing import get_args

import pytest
import torch
from torch import nn

from bench.contract import Budget
from bench.errors import Infeasible
from bench.memory.peak_model import peak_model
from bench.memory.profile import peak_memory
from bench.surgery.channel_scores import Importance, score_channels
from bench.surgery.importance import normalised_norms
from methods.global_l2 import GlobalL2
from tests.methods.test_every_method import trainer
from tests.networks.rescaled import rescale_units
from tests.networks.small import SHAPE, network_layout, unet


def _half_budget(network: nn.Module) -> Budget:
    return Budget(peak_memory(network, SHAPE) // 2, SHAPE)


@pytest.mark.parametrize("importance", get_args(Importance))
def test_what_stays_is_above_one_threshold_except_the_last_channel_of_a_unit(
    importance: Importance,
) -> None:
    network = unet(8)
    scores = score_channels(importance, network, network_layout(network), trainer())
    kept = GlobalL2(importance).prune(network, _half_budget(network), trainer()).kept
    gone = [
        float(score)
        for unit, row in scores.items()
        for channel, score in enumerate(row)
        if channel not in kept.get(unit, range(len(row)))
    ]
    survivors = [
        scores[unit][indices].tolist() for unit, indices in kept.items() if len(indices) > 1
    ]
    assert max(gone) <= min(min(row) for row in survivors)


@pytest.mark.parametrize("peak_aware", [False, True])
def test_restoring_the_last_removed_channel_breaks_the_budget(peak_aware: bool) -> None:
    network = unet(8)
    budget = _half_budget(network)
    model = peak_model(network, SHAPE)
    layout = network_layout(network)
    kept = GlobalL2(peak_aware=peak_aware).prune(network, budget).kept
    widths = {unit: len(kept.get(unit, range(full))) for unit, full in layout.widths.items()}
    scores = normalised_norms(network, layout)
    gone = {
        (float(scores[unit][channel]), unit)
        for unit in kept
        for channel in range(layout.widths[unit])
        if channel not in kept[unit]
    }
    assert model.peak_bytes(widths) <= budget.peak_bytes
    restored = [unit for _, unit in sorted(gone)] if peak_aware else [max(gone)[1]]
    assert any(
        model.peak_bytes(widths | {unit: widths[unit] + 1}) > budget.peak_bytes for unit in restored
    )


def test_permuting_channels_permutes_what_is_kept() -> None:
    network = unet(8)
    permuted = unet(8)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(3))
    layer = permuted.encoder[0].c11
    layer.weight.data = layer.weight.data[order]
    layer.bias.data = layer.bias.data[order]
    permuted.encoder[0].c12.weight.data = permuted.encoder[0].c12.weight.data[:, order]
    before, after = (
        GlobalL2().prune(model, _half_budget(model)).kept["encoder.0.c11"]
        for model in (network, permuted)
    )
    assert sorted(int(order[channel]) for channel in after) == sorted(before)


@pytest.mark.parametrize("peak_aware", [False, True])
def test_rescaling_whole_units_changes_what_raw_norms_keep_and_not_what_is_kept_by_default(
    peak_aware: bool,
) -> None:
    network = unet(8)
    rescaled = unet(8)
    factors = {"encoder.0.c12": 10.0, "up.u1": 0.1, "decoder.d1.d11": 10.0, "encoder.2.c31": 0.1}
    rescale_units(rescaled, network_layout(rescaled), factors)
    x = torch.rand(SHAPE)
    torch.testing.assert_close(rescaled(x), network(x), rtol=1e-4, atol=1e-5)

    def is_same(method: GlobalL2) -> bool:
        before, after = (method.prune(net, _half_budget(net)).kept for net in (network, rescaled))
        return before == after

    assert is_same(GlobalL2(peak_aware=peak_aware))
    assert not is_same(GlobalL2("l2", peak_aware=peak_aware))


def test_as_published_the_middle_collapses_and_peak_aware_it_does_not() -> None:
    network = unet(8)
    # Deep channels weigh less than those at full resolution, as in the paper's network.
    with torch.no_grad():
        for block in (network.encoder[3], network.encoder[4], network.decoder["d4"]):
            for weight in block.parameters():
                weight *= 1e-3
    published, aware = (
        GlobalL2("l2", flag).prune(network, _half_budget(network)) for flag in (False, True)
    )
    assert len(published.kept["encoder.4.c51"]) == 1
    assert len(aware.kept.get("encoder.4.c51", range(128))) > 64


@pytest.mark.parametrize("peak_aware", [False, True])
def test_no_unit_is_emptied_and_tight_budgets_are_met(peak_aware: bool) -> None:
    network = unet(4)
    least = peak_model(network, SHAPE).least_bytes()
    pruned = GlobalL2(peak_aware=peak_aware).prune(network, Budget(least, SHAPE))
    assert peak_memory(pruned.model, SHAPE) == least
    assert min(network_layout(pruned.model).widths.values()) >= 1
    with pytest.raises(Infeasible, match="the least is"):
        GlobalL2(peak_aware=peak_aware).prune(network, Budget(least - 1, SHAPE))
