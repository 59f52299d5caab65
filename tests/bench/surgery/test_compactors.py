"""Compactors change nothing at first (check (a) of MOSP), and stand only on long skips."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.channels.written_form import write_out
from bench.errors import ConfigError
from bench.export import saved
from bench.memory.profile import peak_memory
from bench.surgery.compactors import insert_compactors, long_added_skips, long_skips
from bench.surgery.remove import remove_channels
from tasks.models.edsr import EDSR
from tasks.models.res_unet import ResUNet
from tests.networks.shaped import SHAPE as SHAPED_SHAPE
from tests.networks.shaped import SHAPED
from tests.networks.small import SHAPE, Residual, draw_kept, network_layout, unet


def test_a_unet_has_four_long_skips_and_a_residual_network_none() -> None:
    assert long_skips(unet(), SHAPE) == [f"encoder.{level}.act2" for level in range(4)]
    assert long_skips(Residual(), SHAPE) == []


def test_insertion_keeps_output_and_peak() -> None:
    network = unet(8)
    x = torch.rand(SHAPE)
    compacted = insert_compactors(network, long_skips(network, SHAPE), SHAPE)
    assert (compacted(x) - network(x)).abs().max() <= 1e-6
    assert peak_memory(compacted, SHAPE) == peak_memory(network, SHAPE)


def test_the_pooling_reads_the_encoder_and_the_decoder_reads_the_compactor() -> None:
    layout = network_layout(unet(compactors=True))
    assert layout.consumers("encoder.0.c12") == ["compactors.encoder_0_act2", "encoder.1.c21"]
    assert layout.consumers("compactors.encoder_0_act2") == ["decoder.d1.d11"]


def test_without_compactors_pruning_a_skip_shrinks_all_three_neighbours() -> None:
    assert network_layout(unet()).consumers("encoder.0.c12") == ["encoder.1.c21", "decoder.d1.d11"]


def test_some_skips_only_can_be_compacted() -> None:
    network = insert_compactors(unet(), ["encoder.1.act2"], SHAPE)
    assert len(network_layout(network).units) == 23


class _NamesAlike(nn.Module):
    """A U-Net whose skips `e.1`, `e_1` and `relu()` have like names."""

    def __init__(self) -> None:
        super().__init__()
        self.e = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.e_1 = nn.Conv2d(8, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 16, 3, padding=1)
        self.relu = nn.ReLU()
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.last = nn.Conv2d(32, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.e(x)
        second = self.e_1(first)
        third = functional.relu(second + 1)
        y = self.up(self.relu(self.down(functional.max_pool2d(third, 2))))
        return self.last(torch.cat([y, first, second, third], 1))


def test_skips_of_like_names_have_compactors_of_their_own_that_can_be_saved(tmp_path) -> None:
    network = _NamesAlike().eval()
    skips = long_skips(network, SHAPE)
    assert skips == ["e.1", "e_1", "relu()"]
    compacted = insert_compactors(network, skips, SHAPE)
    assert len(list(compacted.compactors.children())) == 3
    saved.save_graph(tmp_path / "net", compacted)
    x = torch.rand(SHAPE)
    torch.testing.assert_close(saved.load(tmp_path / "net")(x), network(x))


def test_a_value_that_is_no_long_skip_is_refused_and_the_skips_are_named() -> None:
    with pytest.raises(
        ConfigError, match=r"'pool' is not a long skip; long skips are: encoder.0.act2"
    ):
        insert_compactors(unet(), ["pool"], SHAPE)


@pytest.mark.parametrize("habit", SHAPED)
def test_whatever_a_network_computes_its_skips_are_found_and_its_output_stays(habit: str) -> None:
    network = write_out(SHAPED[habit]().eval(), SHAPED_SHAPE)
    skips = [*long_skips(network, SHAPED_SHAPE), *long_added_skips(network, SHAPED_SHAPE)]
    compacted = insert_compactors(network, skips, SHAPED_SHAPE)
    x = torch.rand(SHAPED_SHAPE)
    torch.testing.assert_close(compacted(x.clone()), network(x.clone()))


def test_only_the_sum_around_all_blocks_is_long() -> None:
    assert long_added_skips(EDSR(4, blocks=3), SHAPE) == ["head"]
    assert [long_added_skips(network, SHAPE) for network in (Residual(), ResUNet(2), unet())] == [
        [],
        [],
        [],
    ]


class AddedSkip(nn.Module):
    """A skip that is added after the network has worked at half of the resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 6, 2, 2)
        self.up = nn.ConvTranspose2d(6, 4, 2, 2)
        self.tail = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        return self.tail(x + self.up(self.down(x)))


def test_a_sum_across_a_lower_resolution_is_long() -> None:
    assert long_added_skips(AddedSkip(), SHAPE) == ["head"]
    assert (insert_compactors(AddedSkip(), ["head"], SHAPE)(torch.rand(SHAPE))).shape == SHAPE


def test_a_pair_keeps_output_and_peak_and_frees_what_waits() -> None:
    network = EDSR(8, blocks=3).eval()
    x = torch.rand(SHAPE)
    paired = insert_compactors(network, ["head"], SHAPE)
    assert (paired(x) - network(x)).abs().max() <= 1e-6
    assert peak_memory(paired, SHAPE) == peak_memory(network, SHAPE)
    layout = network_layout(paired)
    assert layout.consumers("compactors.head") == ["expanders.head"]
    assert "expanders.head" not in layout.widths  # tied to the trunk


def test_a_narrow_pair_waits_with_its_own_channels_through_all_blocks() -> None:
    network = insert_compactors(EDSR(8, blocks=3), ["head"], SHAPE)
    smaller = remove_channels(network, {"compactors.head": [0, 5], "up.u1": [1]}, SHAPE)
    assert peak_memory(smaller, SHAPE) == (2 + 3 * 8) * 4 * 32 * 32
    kept = draw_kept(network_layout(network), seed=1)
    assert remove_channels(network, kept, SHAPE)(torch.rand(SHAPE)).shape == (1, 3, 64, 64)
