"""Initialisation of networks of any layers: reproducible, and no trained weight remains."""

import torch
from torch import Generator, nn

from tasks.models.initialisation import initialise


def mixed_network() -> nn.Module:
    """Return layers of many types, as if trained: every weight and statistic is 7."""
    layers = [
        nn.Conv2d(4, 8, 3, groups=4),
        nn.BatchNorm2d(8),
        nn.PReLU(8),
        nn.GroupNorm(2, 8),
        nn.Linear(8, 8),
        nn.Conv1d(8, 8, 1),
    ]
    network = nn.Sequential(*layers, nn.ConvTranspose2d(8, 8, 2, groups=4), nn.LayerNorm(8))
    for value in network.state_dict().values():
        value.fill_(7)
    return network


def test_nothing_of_a_training_is_left_in_layers_of_any_kind() -> None:
    network = mixed_network()
    initialise(network, Generator().manual_seed(0))
    assert not any((value == 7).any() for value in network.state_dict().values())


def test_weights_follow_the_generator_alone() -> None:
    states = []
    for seed in (0, 0, 1):
        network = mixed_network()
        torch.manual_seed(len(states))
        wanted = torch.get_rng_state()
        initialise(network, Generator().manual_seed(seed))
        assert torch.equal(torch.get_rng_state(), wanted)
        states.append(
            torch.cat([value.double().flatten() for value in network.state_dict().values()])
        )
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_a_grouped_transposed_convolution_has_the_inputs_of_one_group() -> None:
    network = nn.ConvTranspose2d(1024, 1024, 2, groups=16)
    initialise(network, Generator().manual_seed(0))
    assert abs(float(network.weight.detach().std()) - (1 / 64) ** 0.5) < 0.002
