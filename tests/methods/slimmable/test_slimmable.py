"""Slimmable networks: a width is a network of its own slices, and training reaches what runs."""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from bench.contract import Budget, Recipe, Widths
from bench.errors import ConfigError, Infeasible
from bench.memory.profile import peak_memory
from bench.surgery.importance import channel_norms, random_scores, select_most_important
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import scale_widths
from bench.training.trainer import TaskTrainer
from methods.slimmable.autoslim import AutoSlim
from methods.slimmable.s_net import SNet
from methods.slimmable.training import Slimmable, Start, estimate_statistics, sandwich_objective
from methods.slimmable.us_net import USNet
from tasks.models.unet import UNet
from tests.fakes import FakeTask
from tests.networks.public import PUBLIC, build_with_seed, input_shape
from tests.networks.small import SHAPE, Residual, Shuffled, network_layout, unet

RECIPE = Recipe(
    patch=32,
    batch=2,
    pretrain_steps=3,
    finetune_steps=4,
    steps_per_epoch=1,
    calibration_crops=2,
    threads=1,
)
STARTS: tuple[Start, ...] = ("pretrained", "scratch")
PHOTOGRAPHS = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def make_trainer(**changes: int) -> TaskTrainer:
    return TaskTrainer(FakeTask(), "embedded", replace(RECIPE, **changes), seed=0)


def make_budget(network: nn.Module, ratio: float) -> Budget:
    return Budget(int(ratio * peak_memory(network, SHAPE)), SHAPE)


def make_slimmable(network: nn.Module) -> Slimmable:
    return Slimmable(network, Budget(1, SHAPE))


def copy_slices(network: nn.Module, width: int) -> UNet:
    """The U-Net of a smaller width, with slices copied by hand.

    Behind a concat, the first channels of each of its two halves.
    """
    smaller = UNet(width)
    for (name, small), whole in zip(smaller.named_parameters(), network.parameters(), strict=True):
        values = whole.detach()
        in_decoder = name.startswith("decoder") and name.endswith("1.weight") and small.ndim == 4
        if in_decoder and whole.shape[1] == 2 * whole.shape[0]:
            kept = small.shape[1] // 2
            up, skip = values.chunk(2, dim=1)
            values = torch.cat([up[:, :kept], skip[:, :kept]], 1)
        small.data.copy_(values[tuple(slice(0, size) for size in small.shape)])
    return smaller


def test_at_full_width_it_is_the_network_itself() -> None:
    network = unet(8)
    slimmable = make_slimmable(network)
    assert torch.equal(slimmable.run(slimmable.analysis.widths, PHOTOGRAPHS), network(PHOTOGRAPHS))


@pytest.mark.parametrize("width", [2, 4, 6])
def test_a_width_is_the_network_of_the_copied_slices_concat_segments_included(width: int) -> None:
    network = unet(8)
    slimmable = make_slimmable(network)
    found = slimmable.run(scale_widths(slimmable.analysis, width, 1, 8), PHOTOGRAPHS)
    expected = copy_slices(network, width)(PHOTOGRAPHS)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_only_slices_get_gradients_and_the_least_slice_gets_those_of_all_widths() -> None:
    network = unet(8)
    slimmable = make_slimmable(network)
    gradients = []
    for widths in ([2], [4], [2, 4]):
        network.zero_grad()
        for width in widths:
            scaled = scale_widths(slimmable.analysis, width, 1, 8)
            slimmable.run(scaled, PHOTOGRAPHS).square().mean().backward()
        gradients.append(network.encoder[0].c12.weight.grad.clone())
    assert gradients[2][4:].abs().sum() == 0
    torch.testing.assert_close(gradients[2], gradients[0] + gradients[1])
    assert gradients[1][:2, :2].abs().sum() > 0


@pytest.mark.parametrize("distilled", [True, False])
def test_the_widest_learns_from_clean_crops_and_the_mean_over_the_narrower_ones_counts_as_much(
    distilled: bool,
) -> None:
    network = unet(4)
    slimmable = make_slimmable(network)
    trainer = make_trainer()
    narrower = [scale_widths(slimmable.analysis, width, 1, 4) for width in (1, 2, 3)]
    clean = torch.rand_like(PHOTOGRAPHS)
    objective = sandwich_objective(slimmable, lambda: narrower, trainer, distilled)
    objective(network, PHOTOGRAPHS, clean).backward()
    found = network.encoder[0].c11.weight.grad.clone()
    network.zero_grad()
    target = network(PHOTOGRAPHS)
    trainer.criterion(target, clean).backward()
    narrow_target = target.detach() if distilled else clean
    for widths in narrower:
        (trainer.criterion(slimmable.run(widths, PHOTOGRAPHS), narrow_target) / 3).backward()
    torch.testing.assert_close(found, network.encoder[0].c11.weight.grad)


@pytest.mark.parametrize(
    ("ratio", "switch"), [(1.0, 1.0), (0.8, 0.75), (0.75, 0.75), (0.7, 0.5), (0.25, 0.25)]
)
def test_s_net_takes_the_largest_switch_that_fits(ratio: float, switch: float) -> None:
    network = unet(8)
    pruned = SNet(start="pretrained").prune(network, make_budget(network, ratio), make_trainer())
    whole = peak_memory(network, SHAPE)
    assert peak_memory(pruned.model, SHAPE) == pytest.approx(switch * whole, abs=0.04 * whole)
    assert pruned.finish == "none"
    whole = sum(weight.numel() for weight in network.parameters())
    assert sum(weight.numel() for weight in pruned.stored_parameters.parameters()) == whole


@pytest.mark.parametrize("method", [SNet(start="pretrained"), USNet()], ids=["s_net", "us_net"])
def test_a_budget_below_the_least_width_is_infeasible_before_any_training(method) -> None:
    network = unet(8)
    trainer = make_trainer()
    with pytest.raises(Infeasible, match="the least is"):
        method.prune(network, make_budget(network, 0.2), trainer)
    assert not trainer.meter.steps


@pytest.mark.parametrize(
    "switches",
    [
        (),
        (0.5,),
        (0.5, 0.25, 1.0),
        (0.0, 1.0),
        (0.5, 1.0, 1.5),
        ("a", 1.0),
        (float("nan"), 1.0),
        (0.5, 0.5, 1.0),
    ],
)
def test_switches_that_do_not_rise_to_one_are_refused(switches: tuple) -> None:
    with pytest.raises(ConfigError, match="rise to 1"):
        SNet(switches=switches)


@pytest.mark.parametrize(
    ("start", "steps"), [("scratch", {"pretrain": 3, "adapt": 4}), ("pretrained", {"adapt": 4})]
)
@pytest.mark.parametrize(("method", "passes"), [(SNet, 4), (USNet, 4)])
def test_training_is_booked_and_every_width_is_a_pass(
    method, passes: int, start, steps: dict[str, int]
) -> None:
    network = unet(4)
    trainer = make_trainer()
    with trainer.count_calls(network):
        method(start=start).prune(network, make_budget(network, 0.75), trainer)
    assert dict(trainer.meter.steps) == steps
    surgery_passes = trainer.meter.forward_passes - passes * sum(steps.values())
    assert surgery_passes in (0, 1)  # one verifies the surgery


def test_us_net_trains_the_widest_the_narrowest_and_random_ones_that_a_seed_repeats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs: list[list[int]] = []
    run = Slimmable.run

    def record(self: Slimmable, widths: Widths, x: Tensor) -> Tensor:
        runs[-1].append(widths["encoder.0.c11"])
        return run(self, widths, x)

    monkeypatch.setattr(Slimmable, "run", record)
    method = USNet(start="pretrained", samples=5)
    for _ in range(2):
        runs.append([])
        method.prepare(unet(8), Budget(1, SHAPE), make_trainer(finetune_steps=12))
    assert runs[0] == runs[1]
    assert runs[0][::4] == [2] * 12
    assert set(runs[0]) <= set(range(2, 9))
    assert len(set(runs[0])) > 4


def test_one_step_more_of_us_nets_grid_breaks_the_budget() -> None:
    network = unet(8)
    budget = make_budget(unet(8), 0.6)
    analysis = make_slimmable(network).analysis
    pruned = USNet(start="pretrained").prune(network, budget, make_trainer())
    width = len(pruned.kept["encoder.0.c11"])
    assert (
        analysis.peak_model.peak_bytes(scale_widths(analysis, width, 1))
        <= budget.peak_bytes
        < analysis.peak_model.peak_bytes(scale_widths(analysis, width + 1, 1))
    )


def test_where_the_slice_is_fine_tuned_half_of_the_steps_are_left_for_it() -> None:
    network = unet(4)
    trainer = make_trainer()
    method = USNet(start="pretrained", finetune=True)
    pruned = method.prune(network, make_budget(network, 0.75), trainer)
    assert (pruned.finish, pruned.stored_parameters) == ("finetune", None)
    assert dict(trainer.meter.steps) == {"adapt": 2}
    assert method.expected_steps(RECIPE) == 2 + RECIPE.finetune_steps
    assert method.expected_steps(replace(RECIPE, matched_steps=9)) == 9


def test_statistics_are_estimated_anew_and_a_network_without_any_is_left_as_it_is() -> None:
    plain = Residual()
    normalised = PUBLIC["dncnn"]()
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    trainer = make_trainer()
    estimate_statistics(plain, trainer)
    assert all(torch.equal(value, before[name]) for name, value in plain.state_dict().items())
    assert not trainer.meter.samples
    layer = next(layer for layer in normalised.modules() if isinstance(layer, nn.BatchNorm2d))
    seen: list[Tensor] = []
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    estimate_statistics(normalised, trainer)
    mean = torch.stack([batch.mean((0, 2, 3)) for batch in seen]).mean(0)
    torch.testing.assert_close(layer.running_mean, mean)
    assert (layer.momentum, normalised.training) == (0.1, False)


def test_a_quarter_of_a_network_trained_for_it_beats_the_first_quarter_of_a_plain_one() -> None:
    losses = []
    for switches in ((0.25, 0.5, 0.75, 1.0), (1.0,)):
        network = build_with_seed(lambda: Residual(8))
        trainer = make_trainer(finetune_steps=100, batch=4, calibration_crops=4)
        method = SNet(switches=switches, start="pretrained")
        slimmable = method.prepare(network, Budget(1, SHAPE), trainer)
        narrow = slimmable.cut(slimmable.widths_at(0.25, 1), "none", trainer).model
        losses.append(trainer.loss(narrow))
    assert losses[0] < 0.9 * losses[1]  # 0.72 to 0.84 of it over five seeds


def test_tied_layers_have_one_width() -> None:
    network = Residual()
    smaller = (
        USNet(start="pretrained").prune(network, make_budget(network, 0.7), make_trainer()).model
    )
    (tied,) = {layer.out_channels for layer in (smaller.head, *smaller.second)}
    assert tied < network.head.out_channels


@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("make", [Residual, Shuffled, lambda: unet(4)])
def test_the_network_that_is_cut_out_restores_what_the_slimmable_one_did_at_its_width(
    make, ranked: bool
) -> None:
    network = make()
    slimmable = make_slimmable(network)
    if ranked:
        slimmable.rank_channels(random_scores(slimmable.analysis.layout, seed=0))
    widths = scale_widths(slimmable.analysis, 1, 1, 2)
    smaller = slimmable.cut(widths, "none", make_trainer()).model
    expected = slimmable.run(widths, PHOTOGRAPHS)
    torch.testing.assert_close(smaller(PHOTOGRAPHS), expected, rtol=1e-5, atol=1e-6)
    assert network_layout(smaller).widths == widths


def test_a_narrower_network_is_part_of_every_wider_one_also_where_scores_are_equal() -> None:
    slimmable = make_slimmable(unet(8))
    scores = random_scores(slimmable.analysis.layout, seed=0)
    scores = {unit: (4 * row).round() for unit, row in scores.items()}
    slimmable.rank_channels(scores)
    family = [
        slimmable.channels_at(scale_widths(slimmable.analysis, width, 1, 8))
        for width in range(1, 8)
    ]
    for narrow, wide in pairwise(family):
        for unit, channels in narrow.items():
            assert set(channels) < set(wide[unit])
            assert channels == select_most_important(scores[unit], len(channels))


@pytest.mark.parametrize("method", [SNet, USNet, partial(AutoSlim, groups=2, peak_aware=True)])
def test_from_pretrained_weights_the_channels_that_were_longest_stay_and_from_scratch_the_first(
    method,
) -> None:
    network = unet(8)
    norms = channel_norms(network, network_layout(network))
    budget = make_budget(network, 0.7)
    kept = {
        start: method(start=start).prune(network, budget, make_trainer()).kept for start in STARTS
    }
    for unit, channels in kept["pretrained"].items():
        assert channels == select_most_important(norms[unit], len(channels))
    assert any(channels[-1] >= len(channels) for channels in kept["pretrained"].values())
    for channels in kept["scratch"].values():
        assert channels == list(range(len(channels)))


def test_channels_can_be_ordered_by_any_importance() -> None:
    network = unet(8)
    kept = []
    for importance in ("l2", "gradient"):
        method = SNet(start="pretrained", importance=importance)
        kept.append(method.prune(network, make_budget(network, 0.3), make_trainer()).kept)
    widths = [{unit: len(channels) for unit, channels in units.items()} for units in kept]
    assert widths[0] == widths[1]
    assert kept[0] != kept[1]


@pytest.mark.parametrize(("switch", "width"), [(0.25, 2), (0.5, 4), (0.75, 6), (1.0, 8)])
def test_a_switch_has_the_peak_of_the_network_of_its_width(switch: float, width: int) -> None:
    slimmable = make_slimmable(unet(8))
    peak = slimmable.analysis.peak_model.peak_bytes(slimmable.widths_at(switch, 1))
    assert peak == peak_memory(UNet(width), SHAPE)


@pytest.mark.parametrize(("share", "width"), [(0.29, 29), (0.57, 57), (0.004, 1), (1.0, 100)])
def test_a_share_is_taken_as_it_is_written_and_not_below_the_floor(
    share: float, width: int
) -> None:
    assert make_slimmable(Residual(100)).widths_at(share, 1)["head"] == width


def test_with_statistics_of_its_own_a_narrow_network_is_the_one_that_was_trained() -> None:
    network = PUBLIC["dncnn"]()
    trainer = make_trainer(finetune_steps=60, batch=4, calibration_crops=4)
    shape = input_shape("dncnn")
    method = SNet(switches=(0.25, 1.0), start="pretrained")
    slimmable = method.prepare(network, Budget(1, shape), trainer)
    narrow = slimmable.widths_at(0.25, 1)
    shared = remove_channels(slimmable.model, slimmable.channels_at(narrow), shape)
    ((degraded, clean),) = trainer.calibration
    with torch.no_grad():  # in training mode each batch has its own statistics
        trained = float(trainer.criterion(deepcopy(shared).train()(degraded), clean))
    differences = [
        abs(trainer.loss(network) - trained)
        for network in (slimmable.cut(narrow, "none", trainer).model, shared)
    ]
    assert differences[0] < 0.1 * differences[1]
