"""Which units are alive together (check (e) of MOSP)."""

from bench.memory.groups import peak_group, step_group
from bench.memory.peak_model import peak_model
from tests.networks.small import SHAPE, unet

FULL = SHAPE[2] * SHAPE[3] * 4  # bytes of one full-resolution channel


def test_the_peak_group_of_the_unet_is_skip_upsampled_and_first_decoder_unit() -> None:
    model = peak_model(unet(compactors=True), SHAPE)
    group = peak_group(model, model.widths)
    assert group.name == "decoder.d1.d11"
    assert group.per_channel == {
        "compactors.encoder_0_act2": FULL,
        "up.u1": FULL,
        "decoder.d1.d11": FULL,
    }


def test_at_the_third_encoder_level_two_skips_and_a_pooled_copy_are_alive() -> None:
    model = peak_model(unet(compactors=True), SHAPE)
    group = step_group(model, model.widths, model.steps.index("encoder.2.c31"))
    skips = {"compactors.encoder_0_act2": FULL, "compactors.encoder_1_act2": FULL // 4}
    assert group.per_channel == skips | {"encoder.1.c22": FULL // 16, "encoder.2.c31": FULL // 16}


def test_a_unit_counts_as_often_as_its_values_are_alive() -> None:
    model = peak_model(unet(), SHAPE)
    group = step_group(model, model.widths, model.steps.index("pool"))
    assert group.per_channel == {"encoder.0.c12": FULL + FULL // 4}


def test_without_compactors_the_skip_is_the_encoder_unit_itself() -> None:
    model = peak_model(unet(), SHAPE)
    assert "encoder.0.c12" in peak_group(model, model.widths).per_channel
