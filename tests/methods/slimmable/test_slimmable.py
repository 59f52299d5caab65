"""Slimmable networks: a width is a network of its own slices, and training reaches exactly what runs."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bench.contract import Budget, Recipe
from bench.errors import ConfigError, Infeasible
from bench.memory.profile import peak_memory
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import scaled
from bench.training.trainer import TaskTrainer
from methods.slimmable.s_net import SNet
from methods.slimmable.training import Slimmable, estimate_statistics, sandwich
from methods.slimmable.us_net import USNet
from tasks.models.unet import UNet
from tests.fakes import FakeTask
from tests.networks.public import PUBLIC, seeded, shape_of
from tests.networks.small import SHAPE, Residual, Shuffled, layout_of, unet

RECIPE = Recipe(
    patch=32,
    batch=2,
    pretrain_steps=3,
    finetune_steps=4,
    steps_per_epoch=1,
    calibration_crops=2,
    threads=1,
)
PHOTOGRAPHS = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def trainer(**changes: int) -> TaskTrainer:
    return TaskTrainer(FakeTask(), "embedded", replace(RECIPE, **changes), seed=0)


def budget_of(network: nn.Module, ratio: float) -> Budget:
    return Budget(int(ratio * peak_memory(network, SHAPE)), SHAPE)


def slimmable(network: nn.Module) -> Slimmable:
    return Slimmable(network, Budget(1, SHAPE))


def standalone(network: nn.Module, width: int) -> UNet:
    """The U-Net of a smaller width with slices copied by hand; behind a concat, the first channels of each of its two halves."""
    smaller = UNet(width)
    for (name, small), whole in zip(smaller.named_parameters(), network.parameters(), strict=True):
        taken = whole.detach()
        if (
            name.startswith("decoder")
            and name.endswith("1.weight")
            and small.ndim == 4
            and whole.shape[1] == 2 * whole.shape[0]
        ):
            half = whole.shape[1] // 2
            taken = torch.cat(
                [taken[:, : small.shape[1] // 2], taken[:, half : half + small.shape[1] // 2]], 1
            )
        small.data.copy_(taken[tuple(slice(0, size) for size in small.shape)])
    return smaller


def test_at_full_width_it_is_the_network_itself() -> None:
    network = unet(8)
    one = slimmable(network)
    assert torch.equal(one.run(one.body.widths, PHOTOGRAPHS), network(PHOTOGRAPHS))


@pytest.mark.parametrize("width", [2, 4, 6])
def test_a_width_is_the_network_of_the_copied_slices_concat_segments_included(width: int) -> None:
    network = unet(8)
    one = slimmable(network)
    found = one.run(scaled(one.body, width, 1, 8), PHOTOGRAPHS)
    torch.testing.assert_close(found, standalone(network, width)(PHOTOGRAPHS), rtol=1e-5, atol=1e-6)


def test_weights_beyond_the_widest_slice_get_no_gradient_and_the_least_slice_gets_those_of_all_widths() -> (
    None
):
    network = unet(8)
    one = slimmable(network)
    gradients = []
    for widths in ([2], [4], [2, 4]):
        network.zero_grad()
        sum(
            (
                one.run(scaled(one.body, width, 1, 8), PHOTOGRAPHS).square().mean()
                for width in widths
            ),
            torch.zeros(()),
        ).backward()
        gradients.append(network.encoder[0].c12.weight.grad.clone())
    assert gradients[2][4:].abs().sum() == 0
    torch.testing.assert_close(gradients[2], gradients[0] + gradients[1])
    assert gradients[1][:2, :2].abs().sum() > 0


@pytest.mark.parametrize("distilled", [True, False])
def test_the_widest_learns_from_the_truth_and_its_output_is_no_pupils_to_change(
    distilled: bool,
) -> None:
    network = unet(4)
    one, teacher = slimmable(network), trainer()
    narrow = scaled(one.body, 1, 1, 4)
    clean = torch.rand_like(PHOTOGRAPHS)
    sandwich(one, lambda: [narrow], teacher, distilled)(network, PHOTOGRAPHS, clean).backward()
    found = network.encoder[0].c11.weight.grad.clone()
    network.zero_grad()
    target = network(PHOTOGRAPHS)
    teacher.criterion(target, clean).backward()
    teacher.criterion(
        one.run(narrow, PHOTOGRAPHS), target.detach() if distilled else clean
    ).backward()
    torch.testing.assert_close(found, network.encoder[0].c11.weight.grad)


@pytest.mark.parametrize(
    ("ratio", "switch"), [(1.0, 1.0), (0.8, 0.75), (0.75, 0.75), (0.7, 0.5), (0.25, 0.25)]
)
def test_s_net_takes_the_largest_switch_that_fits(ratio: float, switch: float) -> None:
    network = unet(8)
    pruned = SNet(start="pretrained").prune(network, budget_of(network, ratio), trainer())
    whole = peak_memory(network, SHAPE)
    assert peak_memory(pruned.model, SHAPE) == pytest.approx(switch * whole, abs=0.04 * whole)
    assert (pruned.finish, pruned.stored_parameters) == (
        "none",
        sum(weight.numel() for weight in network.parameters()),
    )


def test_below_the_least_switch_there_is_nothing() -> None:
    network = unet(8)
    with pytest.raises(Infeasible, match="the least is"):
        SNet(start="pretrained").prune(network, budget_of(network, 0.2), trainer())


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
    network, listening = unet(4), trainer()
    with listening.count_calls(network):
        method(start=start).prune(network, budget_of(network, 0.75), listening)
    assert dict(listening.meter.steps) == steps
    assert listening.meter.forward_passes - passes * sum(steps.values()) in (
        0,
        1,
    )  # and one that verifies the surgery


def test_us_net_trains_the_widest_the_narrowest_and_random_ones_that_a_seed_repeats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs: list[list[int]] = []
    true_run = Slimmable.run
    monkeypatch.setattr(
        Slimmable,
        "run",
        lambda self, widths, x: (
            runs[-1].append(widths["encoder.0.c11"]) or true_run(self, widths, x)
        ),
    )
    for _ in range(2):
        runs.append([])
        USNet(start="pretrained", samples=5).prepare(
            unet(8), Budget(1, SHAPE), trainer(finetune_steps=12)
        )
    assert runs[0] == runs[1]
    assert runs[0][::4] == [2] * 12
    assert set(runs[0]) <= set(range(2, 9))
    assert len(set(runs[0])) > 4


def test_one_step_more_of_us_nets_grid_breaks_the_budget() -> None:
    network, budget = unet(8), budget_of(unet(8), 0.6)
    body = slimmable(network).body
    pruned = USNet(start="pretrained").prune(network, budget, trainer())
    width = len(pruned.kept["encoder.0.c11"])
    assert (
        body.peaks.peak_bytes(scaled(body, width, 1))
        <= budget.peak_bytes
        < body.peaks.peak_bytes(scaled(body, width + 1, 1))
    )


def test_where_the_slice_is_fine_tuned_half_of_the_steps_are_left_for_it() -> None:
    network, listening = unet(4), trainer()
    pruned = USNet(start="pretrained", finetune=True).prune(
        network, budget_of(network, 0.75), listening
    )
    assert (pruned.finish, pruned.stored_parameters, dict(listening.meter.steps)) == (
        "finetune",
        None,
        {"adapt": 2},
    )


def test_statistics_are_estimated_anew_and_a_network_without_any_is_left_as_it_is() -> None:
    plain, normalised = Residual(), PUBLIC["dncnn"]()
    before, listening = (
        {name: value.clone() for name, value in plain.state_dict().items()},
        trainer(),
    )
    estimate_statistics(plain, listening)
    assert all(torch.equal(value, before[name]) for name, value in plain.state_dict().items())
    assert not listening.meter.samples
    layer = next(layer for layer in normalised.modules() if isinstance(layer, nn.BatchNorm2d))
    seen: list[Tensor] = []
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    estimate_statistics(normalised, listening)
    torch.testing.assert_close(
        layer.running_mean, torch.stack([each.mean((0, 2, 3)) for each in seen]).mean(0)
    )
    assert (layer.momentum, normalised.training) == (0.1, False)


def test_a_quarter_of_a_network_trained_for_it_beats_the_first_quarter_of_a_plain_one() -> None:
    losses = []
    for switches in ((0.25, 0.5, 0.75, 1.0), (1.0,)):
        network, teacher = (
            seeded(lambda: Residual(8)),
            trainer(finetune_steps=100, batch=4, calibration_crops=4),
        )
        one = SNet(switches=switches, start="pretrained").prepare(
            network, Budget(1, SHAPE), teacher
        )
        losses.append(teacher.loss(one.cut(one.at(0.25, 1), "none", teacher).model))
    assert losses[0] < 0.9 * losses[1]  # 0.72 to 0.84 of it over five seeds


def test_tied_layers_have_one_width() -> None:
    network = Residual()
    smaller = USNet(start="pretrained").prune(network, budget_of(network, 0.7), trainer()).model
    (tied,) = {layer.out_channels for layer in (smaller.head, *smaller.second)}
    assert tied < network.head.out_channels


@pytest.mark.parametrize("make", [Residual, Shuffled])
def test_the_network_that_is_cut_out_restores_what_the_slimmable_one_did_at_its_width(make) -> None:
    network = make()
    one = slimmable(network)
    widths = scaled(one.body, 1, 1, 2)
    smaller = one.cut(widths, "none", trainer()).model
    torch.testing.assert_close(
        smaller(PHOTOGRAPHS), one.run(widths, PHOTOGRAPHS), rtol=1e-5, atol=1e-6
    )
    assert layout_of(smaller).widths == widths


@pytest.mark.parametrize(("switch", "width"), [(0.25, 2), (0.5, 4), (0.75, 6), (1.0, 8)])
def test_a_switch_has_the_peak_of_the_network_of_its_width(switch: float, width: int) -> None:
    one = slimmable(unet(8))
    assert one.body.peaks.peak_bytes(one.at(switch, 1)) == peak_memory(UNet(width), SHAPE)


@pytest.mark.parametrize(("share", "width"), [(0.29, 29), (0.57, 57), (0.004, 1), (1.0, 100)])
def test_a_share_is_taken_as_it_is_written_and_not_below_the_floor(
    share: float, width: int
) -> None:
    assert slimmable(Residual(100)).at(share, 1)["head"] == width


def test_with_statistics_of_its_own_a_narrow_network_is_the_one_that_was_trained() -> None:
    network, teacher = PUBLIC["dncnn"](), trainer(finetune_steps=60, batch=4, calibration_crops=4)
    one = SNet(switches=(0.25, 1.0), start="pretrained").prepare(
        network, Budget(1, shape_of("dncnn")), teacher
    )
    narrow = one.at(0.25, 1)
    shared = remove_channels(
        one.model,
        {unit: list(channels) for unit, channels in one.prefix(narrow).items()},
        shape_of("dncnn"),
    )
    ((degraded, clean),) = teacher.calibration
    with torch.no_grad():
        trained = float(
            teacher.criterion(deepcopy(shared).train()(degraded), clean)
        )  # each batch by its own statistics, as in training
    apart = [
        abs(teacher.loss(network) - trained)
        for network in (one.cut(narrow, "none", teacher).model, shared)
    ]
    assert apart[0] < 0.1 * apart[1]
