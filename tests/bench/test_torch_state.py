"""Networks are moved as `Module.to` does it, whatever the number of axes of their weights."""

import torch
from torch import nn

from bench.torch_state import to_channels_last


def test_weights_of_four_axes_are_in_channels_last_and_those_of_five_stay() -> None:
    layer = nn.Conv2d(3, 4, 3)
    layer.volume = nn.Parameter(torch.rand(2, 1, 1, 4, 3))
    layer.position = nn.Buffer(torch.rand(1, 3, 8, 8))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    assert to_channels_last(layer, "cpu") is layer
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    assert layer.position.is_contiguous(memory_format=torch.channels_last)
    assert layer.volume.is_contiguous()
    assert all(torch.equal(layer.state_dict()[name], before[name]) for name in before)


def test_layouts_are_those_of_torch() -> None:
    ours, theirs = (
        nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(1, 8, 3), nn.Linear(8, 8)) for _ in range(2)
    )
    to_channels_last(ours, "cpu")
    theirs.to(memory_format=torch.channels_last)
    strides = [[weight.stride() for weight in each.parameters()] for each in (ours, theirs)]
    assert strides[0] == strides[1]
