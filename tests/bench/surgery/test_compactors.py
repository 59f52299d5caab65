"""Compactors change nothing at first (check (a) of MOSP), and stand only on long skips."""

import pytest
import torch

from bench.errors import ConfigError
from bench.memory.profile import peak_memory
from bench.surgery.compactors import insert, long_skips
from tests.networks.small import SHAPE, Residual, layout_of, unet


def test_a_unet_has_four_long_skips_and_a_residual_network_none() -> None:
    assert long_skips(unet(), SHAPE) == [f"encoder.{level}.act2" for level in range(4)]
    assert long_skips(Residual(), SHAPE) == []


def test_insertion_keeps_output_and_peak() -> None:
    network, x = unet(8), torch.rand(SHAPE)
    compacted = insert(network, long_skips(network, SHAPE), SHAPE)
    assert (compacted(x) - network(x)).abs().max() <= 1e-6
    assert peak_memory(compacted, SHAPE) == peak_memory(network, SHAPE)


def test_the_pooling_reads_the_encoder_and_the_decoder_reads_the_compactor() -> None:
    channels = layout_of(unet(compactors=True))
    assert channels.consumers("encoder.0.c12") == ["compactors.encoder_0_act2", "encoder.1.c21"]
    assert channels.consumers("compactors.encoder_0_act2") == ["decoder.d1.d11"]


def test_without_compactors_pruning_a_skip_shrinks_all_three_neighbours() -> None:
    assert layout_of(unet()).consumers("encoder.0.c12") == ["encoder.1.c21", "decoder.d1.d11"]


def test_some_skips_only_can_be_compacted() -> None:
    network = insert(unet(), ["encoder.1.act2"], SHAPE)
    assert len(layout_of(network).units) == 23


def test_a_value_that_is_no_long_skip_is_refused_and_the_skips_are_named() -> None:
    with pytest.raises(ConfigError, match=r"'pool' is not a long skip; long skips are: encoder.0.act2"):
        insert(unet(), ["pool"], SHAPE)
