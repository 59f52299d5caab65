"""Moves of the network generator that turn one value into another.

Layers, activations, normalisation, resizing and rearranging. A move gets the builder, a source of
random choices and the slot of a value (N, C, H, W); it returns the slot of the value with which the
network continues.
"""

import operator
from collections.abc import Callable
from random import Random

import torch
from torch import nn
from torch.nn import functional as F

from tests.networks.programs import Builder, Slot

Move = Callable[[Builder, Random, int], int]

MODULES = (nn.Tanh, nn.GELU, nn.Sigmoid, nn.Softplus, nn.PReLU, nn.Softsign)
MODULES_IN_PLACE = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.SiLU,
    nn.ReLU6,
    nn.Hardtanh,
    nn.Hardswish,
    nn.Mish,
    nn.CELU,
    nn.Hardsigmoid,
)
FUNCTIONS = (
    F.relu,
    torch.tanh,
    F.gelu,
    F.silu,
    torch.sigmoid,
    F.leaky_relu,
    F.softplus,
    F.hardswish,
    "abs",
    "square",
    "sigmoid",
    "relu",
)
FUNCTIONS_IN_PLACE = (
    torch.relu_,
    F.relu_,
    F.leaky_relu_,
    torch.tanh_,
    torch.sigmoid_,
    "relu_",
    "tanh_",
    "clamp_min_",
)


def to_channels(b: Builder, x: int, channels: int, size: int = 3) -> int:
    """Add a plain convolution to a given number of channels."""
    return b.apply(nn.Conv2d(b.shape(x)[1], channels, size, padding=size // 2), x)


def plain_conv(b: Builder, rng: Random, x: int) -> int:
    b.note("plain")
    channels, size = rng.randint(2, 9), rng.choice((1, 3, 3, 5))
    mode = rng.choice(("zeros", "zeros", "zeros", "replicate", "circular"))
    return b.apply(
        nn.Conv2d(
            b.shape(x)[1],
            channels,
            size,
            padding="same",
            padding_mode=mode,
            bias=rng.random() < 0.7,
        ),
        x,
    )


def grouped_conv(b: Builder, rng: Random, x: int) -> int:
    b.note("grouped")
    groups = rng.choice((2, 3))
    x = x if b.shape(x)[1] % groups == 0 else to_channels(b, x, groups * rng.randint(1, 3), 1)
    return b.apply(
        nn.Conv2d(b.shape(x)[1], groups * rng.randint(1, 3), 3, padding=1, groups=groups), x
    )


def depthwise_conv(b: Builder, rng: Random, x: int) -> int:
    channels, many = b.shape(x)[1], rng.choice((1, 1, 1, 2))
    many = many if channels <= 6 else 1
    b.note("depthwise" if many == 1 else "depthwise, several of each")
    return b.apply(nn.Conv2d(channels, many * channels, 3, padding=1, groups=channels), x)


def dilated_conv(b: Builder, rng: Random, x: int) -> int:
    b.note("dilated")
    by = rng.choice((2, 3))
    return b.apply(nn.Conv2d(b.shape(x)[1], rng.randint(2, 8), 3, padding=by, dilation=by), x)


def strided_conv(b: Builder, rng: Random, x: int) -> int:
    if min(b.shape(x)[2:]) < 8:
        return plain_conv(b, rng, x)
    b.note("strided")
    size, padding = rng.choice(((3, 1), (4, 1), (2, 0)))
    return b.apply(nn.Conv2d(b.shape(x)[1], rng.randint(2, 9), size, stride=2, padding=padding), x)


def asymmetric_conv(b: Builder, rng: Random, x: int) -> int:
    b.note("asymmetric")
    if rng.random() < 0.5:
        return b.apply(nn.Conv2d(b.shape(x)[1], rng.randint(2, 8), (1, 5), padding=(0, 2)), x)
    x = (
        b.call(F.pad, Slot(x), (1, 0, 2, 1))
        if rng.random() < 0.5
        else b.apply(nn.ZeroPad2d((0, 1, 1, 2)), x)
    )
    return b.apply(nn.Conv2d(b.shape(x)[1], rng.randint(2, 8), (4, 2)), x)


def transposed_conv(b: Builder, rng: Random, x: int) -> int:
    channels, groups = b.shape(x)[1], 2 if b.shape(x)[1] % 2 == 0 and rng.random() < 0.1 else 1
    if max(b.shape(x)[2:]) > 20 or rng.random() < 0.3:
        b.note("transposed")
        return b.apply(
            nn.ConvTranspose2d(channels, groups * rng.randint(1, 4), 3, padding=1, groups=groups), x
        )
    b.note("transposed stride 2")
    size, padding, more = rng.choice(((2, 0, 0), (4, 1, 0), (3, 1, 1)))
    return b.apply(
        nn.ConvTranspose2d(
            channels, groups * rng.randint(1, 4), size, 2, padding, more, groups=groups
        ),
        x,
    )


def activation(b: Builder, rng: Random, x: int) -> int:
    kind = rng.choice(("module", "module", "module in place", "function", "function in place"))
    if kind.endswith("in place") and b.is_writable(x):
        b.note("activation in place")
        if kind == "module in place":
            return b.write(b.add_layer(rng.choice(MODULES_IN_PLACE)(inplace=True)), x)
        call = rng.choice(FUNCTIONS_IN_PLACE)
        return b.write(call, x, *((-0.5,) if call == "clamp_min_" else ()))
    if kind.startswith("function"):
        b.note("activation function")
        return b.call(rng.choice(FUNCTIONS), Slot(x))
    b.note("activation module")
    if rng.random() < 0.2:
        return b.apply(nn.PReLU(b.shape(x)[1]), x)
    return b.apply(rng.choice(MODULES + MODULES_IN_PLACE)(), x)


def batch_norm(b: Builder, rng: Random, x: int) -> int:
    b.note("BatchNorm")
    return b.apply(nn.BatchNorm2d(b.shape(x)[1]), x)


def instance_norm(b: Builder, rng: Random, x: int) -> int:
    b.note("InstanceNorm")
    return b.apply(nn.InstanceNorm2d(b.shape(x)[1], affine=rng.random() < 0.7), x)


def cross_channel_norm(b: Builder, rng: Random, x: int) -> int:
    """Normalise over channels, so that no channel can be removed without changing the others."""
    channels, kind = (
        b.shape(x)[1],
        rng.choice(("GroupNorm", "GroupNorm", "LayerNorm", "LayerNorm", "softmax")),
    )
    b.note(kind)
    if kind == "GroupNorm":
        return b.apply(
            nn.GroupNorm(
                rng.choice([groups for groups in (1, 2, 3) if channels % groups == 0]), channels
            ),
            x,
        )
    if kind == "softmax":
        return b.call(torch.softmax, Slot(x), dim=1)
    x = b.apply(nn.LayerNorm(channels), b.call("permute", Slot(x), 0, 2, 3, 1))
    return b.call("permute", Slot(x), 0, 3, 1, 2)


def pool(b: Builder, rng: Random, x: int) -> int:
    kind, halve = (
        rng.choice(("max", "avg", "adaptive")),
        min(b.shape(x)[2:]) >= 8 and rng.random() < 0.7,
    )
    b.note(f"{kind} pool")
    if kind == "adaptive":
        return (
            b.call(F.adaptive_avg_pool2d, Slot(x), (rng.choice((4, 6, 8)), rng.choice((4, 8))))
            if halve
            else b.apply(nn.AdaptiveMaxPool2d(6), x)
        )
    size, stride, padding = (2, 2, 0) if halve else (3, 1, 1)
    if rng.random() < 0.5:
        return b.call(
            F.max_pool2d if kind == "max" else F.avg_pool2d, Slot(x), size, stride, padding
        )
    return b.apply((nn.MaxPool2d if kind == "max" else nn.AvgPool2d)(size, stride, padding), x)


def interpolate(b: Builder, rng: Random, x: int) -> int:
    b.note("interpolate")
    factor = 0.5 if max(b.shape(x)[2:]) > 16 else 2.0
    if rng.random() < 0.5:
        return b.call(
            F.interpolate, Slot(x), scale_factor=factor, mode=rng.choice(("nearest", "bilinear"))
        )
    return b.apply(nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False), x)


def pad(b: Builder, rng: Random, x: int) -> int:
    b.note("pad")
    return b.call(
        F.pad,
        Slot(x),
        rng.choice(((1, 1, 1, 1), (0, 1, 0, 1), (2, 0, 1, 0))),
        mode=rng.choice(("constant", "reflect", "replicate")),
    )


def crop(b: Builder, rng: Random, x: int) -> int:
    if min(b.shape(x)[2:]) < 6:
        return scalar(b, rng, x)
    b.note("crop")
    rows, columns = rng.choice(
        (
            (slice(1, None), slice(None, -1)),
            (slice(None, -2), slice(2, None)),
            (slice(None), slice(1, -1)),
        )
    )
    return b.call(operator.getitem, Slot(x), (slice(None), slice(None), rows, columns))


def shuffle(b: Builder, rng: Random, x: int) -> int:
    if max(b.shape(x)[2:]) > 20:
        return unshuffle(b, rng, x)
    b.note("PixelShuffle")
    x = to_channels(b, x, 4 * rng.randint(1, 4))
    return (
        b.apply(nn.PixelShuffle(2), x)
        if rng.random() < 0.7
        else b.call(F.pixel_shuffle, Slot(x), 2)
    )


def unshuffle(b: Builder, rng: Random, x: int) -> int:
    channels, height, width = b.shape(x)[1:]
    if height % 2 or width % 2 or min(height, width) < 8 or channels > 5:
        return plain_conv(b, rng, x)
    b.note("PixelUnshuffle")
    return (
        b.apply(nn.PixelUnshuffle(2), x)
        if rng.random() < 0.7
        else b.call(F.pixel_unshuffle, Slot(x), 2)
    )


def scalar(b: Builder, rng: Random, x: int) -> int:
    b.note("scalar")
    if rng.random() < 0.25 and b.is_writable(x):
        return b.write(rng.choice(("mul_", "add_", operator.imul)), x, 0.75)
    call = rng.choice(
        (operator.mul, operator.add, operator.sub, operator.truediv, torch.mul, "mul", "add", "neg")
    )
    return (
        b.call(call, Slot(x))
        if call == "neg"
        else b.call(call, Slot(x), rng.choice((0.5, 0.2, 1.5)))
    )


def learned_scale(b: Builder, rng: Random, x: int) -> int:
    b.note("learned scale")
    weight = b.add_weight(b.shape(x)[1])
    return (
        b.call(operator.mul, Slot(x), weight)
        if rng.random() < 0.5
        else b.call(operator.mul, weight, Slot(x))
    )


def dropout(b: Builder, rng: Random, x: int) -> int:
    b.note("dropout")
    return b.apply(rng.choice((nn.Dropout2d(0.1), nn.Dropout(0.2), nn.Identity())), x)


def linear(b: Builder, rng: Random, x: int) -> int:
    b.note("linear, channels last")
    channels, inner = b.shape(x)[1], rng.randint(2, 9)
    y = (
        b.call("permute", Slot(x), 0, 2, 3, 1)
        if rng.random() < 0.7
        else b.call("permute", Slot(x), (0, 2, 3, 1))
    )
    y = b.apply(rng.choice((nn.ReLU, nn.GELU))(), b.apply(nn.Linear(channels, inner), y))
    return b.call("permute", Slot(b.apply(nn.Linear(inner, channels), y)), 0, 3, 1, 2)
