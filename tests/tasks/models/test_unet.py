"""The U-Net: its published numbers, and its layers in order."""

import pytest
import torch
from torch import fx

from tasks.models.initialisation import initialise
from tasks.models.unet import UNet


@pytest.mark.parametrize(
    ("width", "parameters"), [(32, 7759683), (24, 4365555), (16, 1940899), (8, 485715)]
)
def test_parameters_are_those_of_the_paper(width: int, parameters: int) -> None:
    with torch.device("meta"):
        assert sum(weight.numel() for weight in UNet(width).parameters()) == parameters


def test_the_raw_sensor_variant_has_4_channels_in_and_12_out() -> None:
    with torch.device("meta"):
        assert (
            sum(weight.numel() for weight in UNet(32, channels=4, channels_out=12).parameters())
            == 7760268
        )


def test_layers_run_in_their_order_and_concatenate_up_then_skip() -> None:
    nodes = fx.symbolic_trace(UNet(2)).graph.nodes
    convolutions = [str(node.target).split(".")[-1] for node in nodes if node.op == "call_module"]
    convolutions = [name for name in convolutions if not name.startswith(("act", "pool"))]
    assert convolutions[:10] == [f"c{level}{index}" for level in range(1, 6) for index in (1, 2)]
    assert convolutions[10:] == [
        name for level in (4, 3, 2, 1) for name in (f"u{level}", f"d{level}1", f"d{level}2")
    ] + ["out"]
    concats = [node.args[0] for node in nodes if node.target is torch.cat]
    assert [(str(up.target)[-2:], str(skip.target)) for up, skip in concats] == [
        (f"u{k}", f"encoder.{k - 1}.act2") for k in (4, 3, 2, 1)
    ]


def test_the_residual_flag_adds_the_input() -> None:
    torch.manual_seed(0)
    plain, residual = UNet(2), UNet(2, global_residual=True)
    residual.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 32, 32)
    assert torch.allclose(residual(x), plain(x) + x)


def test_initialisation_is_seeded_and_keeps_the_signal() -> None:
    first, second = UNet(8), UNet(8)
    for model in (first, second):
        initialise(model, torch.Generator().manual_seed(0))
    assert all(
        torch.equal(one, other)
        for one, other in zip(first.parameters(), second.parameters(), strict=True)
    )
    assert (
        0.1
        < first(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))).std()
        < 10
    )
