"""Units and segments."""

import pytest
from torch import Tensor, nn

from bench.errors import ConfigError
from tests.networks.small import Residual, layout_of, unet


class _Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv(x))


def test_a_unet_has_22_units_and_26_with_compactors() -> None:
    assert len(layout_of(unet()).units) == 22
    assert len(layout_of(unet(compactors=True)).units) == 26


def test_the_output_convolution_is_no_unit() -> None:
    assert "out" not in layout_of(unet()).units


def test_a_concat_reads_the_upsampled_value_first_then_the_skip() -> None:
    channels = layout_of(unet(4))
    up, skip = (
        range(channels.units[unit].start, channels.units[unit].start + 4)
        for unit in ("up.u1", "encoder.0.c12")
    )
    assert channels.reads["decoder.d1.d11"].tolist() == [*up, *skip]


def test_layers_whose_outputs_are_added_share_a_unit() -> None:
    units = layout_of(Residual()).units
    assert units["head"].layers == ("head", "second.0", "second.1")
    assert set(units) == {"head", "first.0", "first.1"}


def test_a_unit_that_is_added_to_the_input_is_fixed() -> None:
    assert set(layout_of(unet(residual=True)).units) == set(layout_of(unet()).units)


def test_a_layer_that_is_called_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="'conv' is called twice"):
        layout_of(_Shared()).check_prunable()
