"""The least peak of a network, and what keeps it up."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.memory.least_peak import find_least_peak
from bench.memory.profile import peak_memory
from bench.surgery.remove import remove_channels
from tests.networks.refused import Around
from tests.networks.shaped import SHAPE, SHAPED
from tests.networks.small import network_layout, unet


def test_it_is_the_peak_of_the_network_that_keeps_one_channel_of_every_unit() -> None:
    shape = (1, 3, 32, 32)
    network = unet()
    kept = {unit: [0] for unit in network_layout(network, shape).units}
    least = find_least_peak(network, shape)
    assert least.bytes == peak_memory(remove_channels(network, kept, shape), shape)
    assert least.bytes == sum(least.alive.values())
    assert least.unpruned_bytes == peak_memory(network, shape)


class Sorts(nn.Module):
    """Sorts its channels, so that none of them may go."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.tail = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return self.tail(torch.sort(self.head(x), dim=1).values)


def test_what_stays_at_full_width_is_explained_with_the_line_of_the_code() -> None:
    least = find_least_peak(Sorts(), SHAPE)
    assert least.bytes == least.unpruned_bytes
    assert "test_least_peak.py:" in least.reasons["head"]
    assert "'sort' does not keep its channels apart" in least.reasons["sort[0]"]


@pytest.mark.parametrize("habit", ["Windows", "OneHead", "TorchAttention", "Transposed"])
def test_attention_does_not_keep_the_peak_up(habit: str) -> None:
    least = find_least_peak(SHAPED[habit](), SHAPE)
    assert least.bytes < 0.6 * least.unpruned_bytes


class NormalisesWithoutWeights(Around):
    width = 8

    def middle(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.permute(0, 2, 3, 1), [x.shape[1]]).permute(0, 3, 1, 2)


class LooksAtFrequencies(Around):
    width = 8

    def middle(self, x: Tensor) -> Tensor:
        parts = torch.view_as_real(torch.fft.rfft2(x)).relu()
        return torch.fft.irfft2(torch.view_as_complex(parts), s=x.shape[-2:])


@pytest.mark.parametrize("network", [NormalisesWithoutWeights, LooksAtFrequencies])
def test_what_keeps_channels_apart_or_counts_them_by_size_does_not_keep_the_peak_up(
    network: type,
) -> None:
    least = find_least_peak(network(), SHAPE)
    assert least.bytes < 0.6 * least.unpruned_bytes
