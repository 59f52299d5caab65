"""The hypernetwork: its law, what it starts with, and that its masked weights are what conversion keeps."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.memory.layout import STAYS, Layout
from bench.surgery.channels import remove
from bench.surgery.importance import norms
from methods.dhp.hypernetwork import Hypernetwork
from tasks.models.unet import UNet
from tests.networks.public import PUBLIC, inputs_of, shape_of
from tests.networks.small import SHAPE, Residual, layout_at, layout_of, random_kept, unet


def hypernetwork(network: nn.Module, channels: Layout) -> Hypernetwork:
    return Hypernetwork(network, channels, embedding=8, seed=0)


def masked(weight: Tensor, axis: int, gone: Tensor) -> Tensor:
    return weight.index_fill(axis, gone.nonzero()[:, 0], 0.0)


@pytest.mark.parametrize("name", ["u-net", "edsr", "residual", "srresnet"])
def test_the_converted_network_is_the_hypernetwork_with_masked_generated_weights(name: str) -> None:
    network, shape = (unet(4), SHAPE) if name == "u-net" else (Residual(), SHAPE) if name == "residual" else (edsr(name), shape_of(name))
    channels = layout_at(network, shape)
    generated, kept = hypernetwork(network, channels).weights(), random_kept(channels, 1)
    stays, photographs = torch.from_numpy(channels.stays(kept)), inputs_of(shape)
    weights: dict[str, Tensor] = {}
    for layer, places in channels.makes.items():  # rows of what makes them, columns of what reads them, biases: by hand
        axis = int(isinstance(network.get_submodule(layer), nn.ConvTranspose2d))
        weight = generated.get(f"{layer}.weight", network.get_submodule(layer).weight)  # frozen ones are not generated
        weights[f"{layer}.weight"] = masked(weight, axis, ~stays[places])
        weights[f"{layer}.weight"] = masked(weights[f"{layer}.weight"], 1 - axis, ~stays[channels.reads[layer]])
        if network.get_submodule(layer).bias is not None:
            weights[f"{layer}.bias"] = masked(network.get_submodule(layer).bias, 0, ~stays[places])
    with torch.no_grad():
        expected = functional_call(network, weights, tuple(photographs))
        for path, weight in generated.items():
            network.get_parameter(path).copy_(weight)
        found = remove(network, kept, shape)(*photographs)
    assert float((found - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max()))


def edsr(name: str) -> nn.Module:
    return PUBLIC[next(each for each in PUBLIC if each.startswith(name))]()


def test_a_weight_is_what_the_three_equations_say() -> None:
    network = unet(4)
    channels = layout_of(network)
    hyper = hypernetwork(network, channels)
    layer = hyper.layers[hyper.names.index("decoder.d1.d11.weight")]
    with torch.no_grad():
        for bias in (layer.b0, layer.b1, layer.b2):
            bias.normal_()
    output, column = 1, 6  # reads the third channel of the skip
    latents = hyper.latents[layer.outputs[output]] * hyper.latents[layer.inputs[column]]
    pair = latents + layer.b0[output, column]
    embedded = pair * layer.w1[output, column] + layer.b1[output, column]
    expected = layer.w2[output, column] @ embedded + layer.b2[output, column]
    torch.testing.assert_close(hyper.weights()["decoder.d1.d11.weight"][output, column].flatten(), expected)


def test_both_readers_of_a_skip_and_the_layer_that_makes_it_share_its_latents() -> None:
    network = unet(4)
    hyper = hypernetwork(network, layout_of(network))
    layers = dict(zip(hyper.names, hyper.layers, strict=True))
    makes, below, above = (layers[f"{name}.weight"] for name in ("encoder.0.c12", "encoder.1.c21", "decoder.d1.d11"))
    assert makes.outputs.tolist() == below.inputs.tolist() == above.inputs.tolist()[4:]


def test_the_filters_behind_pixel_shuffle_repeat_the_latent_of_their_channel() -> None:
    network = edsr("edsr")
    channels = layout_at(network, shape_of("edsr"))
    hyper = hypernetwork(network, channels)
    rows = [layer.outputs.reshape(-1, 4) for layer, name in zip(hyper.layers, hyper.names, strict=True) if "up" in name or "tail.0" in name]
    repeated = [row for row in rows if len(row) and bool((row == row[:, :1]).all())]
    assert repeated


def test_a_generated_weight_starts_with_the_variance_of_its_fan_in() -> None:
    network = UNet(32)
    hyper = hypernetwork(network, layout_of(network))
    for name, layer in zip(hyper.names, hyper.layers, strict=True):
        if min(layer.w1.shape[:2]) >= 64:
            latents = hyper.latents.detach()
            moments = latents[layer.outputs].square().mean() * latents[layer.inputs].square().mean()
            expected = moments / (layer.w1.shape[1] * layer.w2.shape[2])
            assert float(layer(latents).detach().var()) == pytest.approx(float(expected), rel=0.2), name


def test_a_gradient_reaches_latents_and_every_part_of_every_layer() -> None:
    network = unet(4)
    hyper = hypernetwork(network, layout_of(network))
    hyper.run(network, torch.rand(1, 3, 32, 32)).square().sum().backward()
    assert hyper.latents.grad is not None
    for layer in hyper.layers:
        assert all(part.grad is not None and part.grad.abs().sum() > 0 for part in layer.parameters())


@pytest.mark.parametrize("network", [unet(4), Residual(), edsr("edsr")], ids=["u-net", "residual", "edsr"])
def test_it_can_start_at_the_weights_of_a_network(network: nn.Module) -> None:
    channels = layout_at(network, SHAPE)
    hyper = hypernetwork(network, channels)
    hyper.reproduce(network, torch.cat(list(norms(network, channels).values())))
    for name, weight in hyper.weights().items():
        torch.testing.assert_close(weight, network.get_parameter(name), rtol=1e-4, atol=1e-5)


def test_what_stays_has_latents_of_its_own() -> None:
    network = unet(4)
    channels = layout_of(network)
    hyper = hypernetwork(network, channels)
    fixed = sum(int((row == STAYS).sum()) for rows in (channels.makes, channels.reads) for row in rows.values())
    assert len(hyper.latents) == channels.size + fixed
