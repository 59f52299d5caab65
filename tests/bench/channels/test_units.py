"""Units: which channels are removed together, and which are fixed."""

import numpy as np
import pytest
from torch import Tensor, nn

from bench.errors import ConfigError
from tests.networks.small import Residual, network_layout, unet


class _Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv(x))


def test_a_unet_has_22_units_and_26_with_compactors() -> None:
    assert len(network_layout(unet()).units) == 22
    assert len(network_layout(unet(compactors=True)).units) == 26


def test_the_output_convolution_is_no_unit() -> None:
    assert "out" not in network_layout(unet()).units


def test_a_concat_reads_the_upsampled_value_first_then_the_skip() -> None:
    layout = network_layout(unet(4))
    slots = np.arange(layout.size)
    expected = [*slots[layout.slots("up.u1")], *slots[layout.slots("encoder.0.c12")]]
    assert layout.reads["decoder.d1.d11"].tolist() == expected


def test_layers_whose_outputs_are_added_share_a_unit() -> None:
    units = network_layout(Residual()).units
    assert units["head"].layers == ("head", "second.0", "second.1")
    assert set(units) == {"head", "first.0", "first.1"}


def test_a_unit_that_is_added_to_the_input_is_fixed() -> None:
    assert set(network_layout(unet(residual=True)).units) == set(network_layout(unet()).units)


def test_a_layer_that_is_called_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="'conv' is called twice"):
        network_layout(_Shared()).check_prunable()


class _ReadsWeight(nn.Module):
    """Computes with the weight of a layer, as code does that merges branches for inference."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x)) + self.first.weight.sum()


def test_a_layer_whose_weight_the_code_uses_as_well_is_fixed_and_tells_so() -> None:
    reasons = network_layout(_ReadsWeight()).fixed
    assert "uses a weight of 'first' beside the layer itself" in reasons["first"]
