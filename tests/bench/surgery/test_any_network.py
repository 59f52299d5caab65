"""Surgery on public and on random networks.

Smaller networks equal masked ones where a mask exists, are really smaller, and can be trained.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from bench.channels.written_form import write_out
from bench.contract import Budget
from bench.errors import ConfigError
from bench.memory.profile import peak_memory
from bench.surgery.analysis import analyse_network
from bench.surgery.masks import mask_channels
from bench.surgery.remove import remove_channels
from bench.surgery.shared_weights import SlicedNetwork
from tests.networks.generated import generate_network
from tests.networks.habits import HABITS
from tests.networks.habits import SHAPE as SMALL
from tests.networks.public import PUBLIC, input_shape, random_inputs
from tests.networks.refused import REFUSED
from tests.networks.small import draw_kept, network_layout

TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}


def outputs(network: nn.Module, shape: tuple, dtype: torch.dtype) -> list[Tensor]:
    with torch.no_grad():
        return tree_leaves(network(*random_inputs(shape, dtype=dtype)))


def assert_equal_to_masks(network: nn.Module, shape: tuple, seed: int) -> None:
    layout = network_layout(network, shape)
    kept = draw_kept(layout, seed)
    for dtype, tolerance in TOLERANCES.items():
        network.to(dtype)
        with mask_channels(network, layout, kept):
            expected = outputs(network, shape, dtype)
        pruned = outputs(remove_channels(network, kept, shape), shape, dtype)
        for masked, output in zip(expected, pruned, strict=True):
            assert (masked - output).abs().max() <= tolerance * masked.abs().max().clamp_min(1.0)


@pytest.mark.parametrize("name", [name for name in PUBLIC if "nafnet" not in name])
def test_a_pruned_public_network_computes_what_the_masked_one_does(name: str) -> None:
    for seed in range(3):
        assert_equal_to_masks(PUBLIC[name](), input_shape(name), seed)


MIXES_CHANNELS = ("softmax", "windows", "norm")  # no mask equals a removal


@pytest.mark.parametrize(
    "habit", [habit for habit in HABITS if not habit.startswith(MIXES_CHANNELS)]
)
def test_what_people_write_computes_pruned_what_it_does_masked(habit: str) -> None:
    for seed in range(3):
        assert_equal_to_masks(HABITS[habit](), SMALL, seed)


@pytest.mark.parametrize("habit", HABITS)
def test_what_people_write_computes_with_slices_what_surgery_leaves(habit: str) -> None:
    network = write_out(HABITS[habit](), SMALL).eval()
    layout = network_layout(network, SMALL)
    sliced = SlicedNetwork(network, layout)
    for seed in range(3):
        kept = draw_kept(layout, seed)
        smaller = remove_channels(network, kept, SMALL, layout)
        inputs = random_inputs(SMALL)
        with torch.no_grad():
            torch.testing.assert_close(sliced(kept, *inputs), smaller(*inputs))


def depthwise() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 3, 3))


@pytest.mark.parametrize("make", [PUBLIC["dncnn"], depthwise])
def test_frozen_weights_stay_frozen(make: Callable[[], nn.Module]) -> None:
    network = make()
    shape = input_shape("dncnn")
    network.requires_grad_(False)
    smaller = remove_channels(
        network, {unit: [0] for unit in network_layout(network, shape).units}, shape
    )
    assert not any(weight.requires_grad for weight in smaller.parameters())


def test_every_layer_stays_in_its_mode() -> None:
    network = depthwise().train()
    network[1].eval()
    remove_channels(network, {"0": [0, 1]}, input_shape("dncnn"))
    assert [layer.training for layer in network] == [True, False, True]


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_a_layer_that_computes_its_weight_is_refused(norm) -> None:
    with pytest.raises(ConfigError, match=r"computes its weight|ParametrizedConv2d"):
        peak_memory(nn.Sequential(norm(nn.Conv2d(3, 4, 3)), nn.ReLU()), (1, 3, 16, 16))


@pytest.mark.parametrize("seed", range(200))
def test_a_pruned_random_network_computes_what_the_masked_one_does(seed: int) -> None:
    network = generate_network(seed)
    layout = network_layout(network, network.shape)
    if layout.cross_channel_ops:
        with (
            pytest.raises(ConfigError, match="no mask equals a removal"),
            mask_channels(network, layout, {}),
        ):
            pass
        smaller = remove_channels(network, draw_kept(layout, seed), network.shape, layout)
        assert all(
            output.isfinite().all() for output in outputs(smaller, network.shape, torch.float32)
        )
    else:
        assert_equal_to_masks(network, network.shape, seed)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_pruned_public_network_is_smaller_in_every_way_and_trains_on(name: str) -> None:
    network = PUBLIC[name]()
    shape = input_shape(name)
    layout = network_layout(network, shape)
    smaller = remove_channels(network, {unit: [0] for unit in layout.units}, shape)
    assert sum(weight.numel() for weight in smaller.parameters()) < sum(
        weight.numel() for weight in network.parameters()
    )
    assert peak_memory(smaller, shape) < peak_memory(network, shape)
    assert network_layout(smaller, shape).fixed.keys() >= layout.fixed.keys()
    sum(
        output.square().mean() for output in tree_leaves(smaller.train()(*random_inputs(shape)))
    ).backward()
    trained = [weight for weight in smaller.parameters() if weight.requires_grad]
    assert all(weight.grad is not None and weight.grad.shape == weight.shape for weight in trained)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_measured_or_pruned_is_refused_in_one_line_that_names_it(name: str) -> None:
    make, stage = REFUSED[name]
    budget = Budget(1, (1, 3, 16, 16))
    if stage == "prune":
        assert peak_memory(make(), budget.input_shape) > 0
    message = (
        "no channel of this network can be removed" if stage == "prune" else r"refused\.py:\d+"
    )
    with pytest.raises(ConfigError, match=message) as refused:
        analyse_network(make(), budget)
    assert "\n" not in str(refused.value)


def test_a_layer_that_cannot_be_pruned_is_named_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="'tail': it is joined to an input of the network"):
        remove_channels(PUBLIC["ridnet"](), {"tail": [0]}, input_shape("ridnet"))


def assert_slices_equal_surgery(network: nn.Module, shape: tuple, seed: int) -> None:
    layout = network_layout(network.eval(), shape)
    photographs = random_inputs(shape)
    kept = draw_kept(layout, seed)
    with torch.no_grad():
        found = SlicedNetwork(network, layout)(kept, *photographs)
        expected = remove_channels(network, kept, shape)(*photographs)
    for output, reference in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        tolerance = 1e-5 * reference.abs().max().clamp_min(1.0)
        assert (output - reference).abs().max() <= tolerance


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_network_runs_on_slices_of_its_weights(name: str) -> None:
    assert_slices_equal_surgery(PUBLIC[name](), input_shape(name), 0)


@pytest.mark.parametrize("seed", range(40))
def test_a_random_network_runs_on_slices_of_its_weights(seed: int) -> None:
    network = generate_network(seed)
    assert_slices_equal_surgery(network, network.shape, seed)
