"""Random networks: `generate_network(seed)` depends on the seed only; `.shape` is its input shape.

Each has 15 to 40 operators, of all kinds that restoration networks are made of, combined at random.
The weights are random, the network is in eval mode. A value that is written in place is never an
input or a view, and no view of it exists.
"""

import operator
from random import Random

import torch
from torch import nn

from tests.networks import moves
from tests.networks.moves import Move, to_channels
from tests.networks.programs import Builder, Program, Slot

SHAPES = (
    (1, 3, 16, 16),
    (1, 3, 16, 24),
    (1, 3, 32, 16),
    (2, 3, 16, 16),
    (1, 4, 24, 24),
    (1, 1, 32, 32),
)
MOST_CHANNELS = 24


def residual(b: Builder, rng: Random, x: int) -> int:
    """Add a branch that is combined with its start by an elementwise operator."""
    y = rng.choice((moves.plain_conv, moves.activation, moves.dilated_conv, moves.depthwise_conv))(
        b, rng, branch_off(b, rng, x)
    )
    y = moves.activation(b, rng, y)
    y = to_channels(b, y, b.shape(x)[1]) if b.shape(y)[2:] == b.shape(x)[2:] else y
    return join_elementwise(b, rng, x, y)


def branch_off(b: Builder, rng: Random, x: int) -> int:
    """Add a convolution, so that later operators in place do not overwrite the branch point."""
    return to_channels(b, x, rng.randint(2, 8), rng.choice((1, 3)))


def join_elementwise(b: Builder, rng: Random, x: int, y: int) -> int:
    """Add, subtract or multiply x and y, of equal shape, possibly in place."""
    kind = rng.choice(("add", "add", "add", "sub", "mul", "+=", "+=", "add_"))
    target, other = (x, y) if rng.random() < 0.5 else (y, x)
    if kind in ("+=", "add_") and b.is_writable(target):
        b.note(kind)
        return b.write(operator.iadd if kind == "+=" else "add_", target, Slot(other))
    kind = "add" if kind in ("+=", "add_") else kind
    b.note(kind)
    return b.call(
        rng.choice((getattr(operator, kind), getattr(torch, kind), kind)), Slot(target), Slot(other)
    )


def channel_gate(b: Builder, rng: Random, x: int) -> int:
    """Multiply x by a gate (N, C, 1, 1)."""
    b.note("channel gate", "global pool")
    channels = b.shape(x)[1]
    pooled = (
        b.apply(nn.AdaptiveAvgPool2d(1), x)
        if rng.random() < 0.5
        else b.call("mean", Slot(x), (2, 3), keepdim=True)
    )
    gate = b.apply(
        nn.ReLU(inplace=rng.random() < 0.3), to_channels(b, pooled, rng.randint(1, 4), 1)
    )
    return apply_gate(b, rng, x, b.call(torch.sigmoid, Slot(to_channels(b, gate, channels, 1))))


def spatial_gate(b: Builder, rng: Random, x: int) -> int:
    """Multiply x by a gate (N, 1, H, W)."""
    b.note("spatial gate")
    return apply_gate(b, rng, x, b.apply(nn.Sigmoid(), to_channels(b, x, 1)))


def linear_gate(b: Builder, rng: Random, x: int) -> int:
    """Multiply x by a gate from linear layers on pooled channels."""
    b.note("linear on pooled", "global pool")
    channels = b.shape(x)[1]
    inner = rng.randint(1, 5)
    pools_by_layer = rng.random() < 0.5
    pooled = (
        b.call("flatten", Slot(b.apply(nn.AdaptiveAvgPool2d(1), x)), 1)
        if pools_by_layer
        else b.call("mean", Slot(x), dim=(2, 3))
    )
    gate = b.apply(
        nn.Sigmoid(),
        b.apply(
            nn.Linear(inner, channels),
            b.apply(nn.ReLU(), b.apply(nn.Linear(channels, inner), pooled)),
        ),
    )
    kind = rng.choice(("index", "unsqueeze", "view"))
    if kind == "index":
        return apply_gate(
            b, rng, x, b.call(operator.getitem, Slot(gate), (slice(None), slice(None), None, None))
        )
    if kind == "view":
        return apply_gate(b, rng, x, b.call("view", Slot(gate), b.shape(x)[0], -1, 1, 1))
    return apply_gate(b, rng, x, b.call("unsqueeze", Slot(b.call("unsqueeze", Slot(gate), -1)), -1))


def apply_gate(b: Builder, rng: Random, x: int, gate: int) -> int:
    """Multiply a value by its gate, which is broadcast over it."""
    if rng.random() < 0.2 and b.is_writable(x):
        return b.write("mul_" if rng.random() < 0.5 else operator.imul, x, Slot(gate))
    if rng.random() < 0.2:
        b.note("expand")
        gate = b.call("expand_as", Slot(gate), Slot(x))
    first, second = (x, gate) if rng.random() < 0.7 else (gate, x)
    return b.call(rng.choice((operator.mul, torch.mul, "mul")), Slot(first), Slot(second))


def concat(b: Builder, rng: Random, x: int) -> int:
    """Concatenate 2 to 4 parts: old values of equal size, new ones, one twice, or a concat."""
    same = [
        slot
        for slot in image_slots(b)
        if b.shape(slot)[2:] == b.shape(x)[2:] and b.shape(slot)[1] <= 8
    ]
    parts = [x, rng.choice([*same, x])]
    while len(parts) < 4 and rng.random() < 0.4:
        parts.append(
            rng.choice(same)
            if same and rng.random() < 0.5
            else to_channels(b, x, rng.randint(1, 4))
        )
    rng.shuffle(parts)
    if len(set(parts)) < len(parts):
        b.note("same value twice")
    if len(parts) > 2 and rng.random() < 0.4:
        b.note("nested concat")
        parts = [b.call(torch.cat, [Slot(part) for part in parts[:2]], 1), *parts[2:]]
    b.note("concat")
    return b.call(torch.cat, [Slot(part) for part in parts], dim=1)


def chunk(b: Builder, rng: Random, x: int) -> int:
    """Cut the channels into two or three parts.

    The first two are multiplied or added; or the first is concatenated with itself; or all parts
    are concatenated again after the first was changed.
    """
    b.note("chunk")
    count = rng.choice((2, 2, 2, 3))
    x = x if b.shape(x)[1] % count == 0 else to_channels(b, x, count * rng.randint(1, 4), 1)
    first = (
        b.call("chunk", Slot(x), count, parts=count, dim=1)
        if rng.random() < 0.5
        else b.call(torch.chunk, Slot(x), count, 1, parts=count)
    )
    kind = rng.choice(("gate", "sigmoid gate", "add", "cat", "twice"))
    if kind == "cat":
        changed = rng.choice((moves.activation, moves.instance_norm, moves.scalar))(b, rng, first)
        return b.call(
            torch.cat, [Slot(changed), *(Slot(first + part) for part in range(1, count))], 1
        )
    if kind == "twice":
        b.note("part twice", "same value twice")
        return moves.activation(b, rng, b.call(torch.cat, [Slot(first), Slot(first)], 1))
    y = b.call("sigmoid", Slot(first + 1)) if kind == "sigmoid gate" else first + 1
    return b.call(operator.add if kind == "add" else operator.mul, Slot(first), Slot(y))


def u_turn(b: Builder, rng: Random, x: int) -> int:
    """Go down to half the size and up again, and concatenate the result with x."""
    height, width = b.shape(x)[2:]
    if height % 2 or width % 2 or min(height, width) < 8:
        return residual(b, rng, x)
    b.note("U-turn", "concat")
    y = (
        b.apply(nn.MaxPool2d(2), x)
        if rng.random() < 0.5
        else b.apply(nn.Conv2d(b.shape(x)[1], rng.randint(3, 8), 4, 2, 1), x)
    )
    y = moves.activation(b, rng, moves.plain_conv(b, rng, y))
    y = b.apply(nn.ConvTranspose2d(b.shape(y)[1], rng.randint(2, 6), 2, 2), y)
    return b.call(torch.cat, (Slot(y), Slot(x)), 1)


def write_after_concat(b: Builder, rng: Random, x: int) -> int:
    """Write a part of a concat in place before the concat is read."""
    if not b.is_writable(x) or b.shape(x)[1] > 8:
        return concat(b, rng, x)
    b.note("written after joining", "concat")
    whole = b.call(torch.cat, [Slot(x), Slot(to_channels(b, x, rng.randint(1, 4)))], 1)
    part = b.write("relu_", x) if rng.random() < 0.5 else b.write(operator.iadd, x, 0.5)
    return join_elementwise(b, rng, part, to_channels(b, whole, b.shape(part)[1]))


def dead_value(b: Builder, rng: Random, x: int) -> int:
    """Add a value that is never read."""
    b.note("dead value")
    to_channels(b, x, rng.randint(1, 5))
    return x


MOVES: tuple[tuple[Move, float], ...] = (
    *(
        (move, 1.0)
        for move in (
            moves.grouped_conv,
            moves.depthwise_conv,
            moves.dilated_conv,
            moves.strided_conv,
            moves.asymmetric_conv,
            moves.linear,
        )
    ),
    *(
        (move, 1.0)
        for move in (
            moves.shuffle,
            moves.unshuffle,
            moves.pool,
            moves.interpolate,
            moves.scalar,
            chunk,
            u_turn,
        )
    ),
    *(
        (move, 0.6)
        for move in (
            moves.pad,
            moves.crop,
            moves.learned_scale,
            moves.dropout,
            moves.instance_norm,
            dead_value,
            write_after_concat,
        )
    ),
    *((move, 0.9) for move in (channel_gate, spatial_gate, linear_gate)),
    *((move, 2.0) for move in (moves.plain_conv, moves.transposed_conv, moves.batch_norm)),
    *((move, 4.0) for move in (moves.activation, residual, concat)),
)


def image_slots(b: Builder) -> list[int]:
    """Return the slots of values (N, C, H, W) with more than one pixel."""
    return [
        slot for slot, value in b.values.items() if value.dim() == 4 and min(value.shape[2:]) > 1
    ]


def generate_network(seed: int) -> Program:
    """Return the random network of a seed."""
    rng = Random(seed)
    shape = rng.choice(SHAPES)
    two = rng.random() < 0.15
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        b = Builder((shape, (shape[0], 1, *shape[2:])) if two else shape)
        x = moves.plain_conv(b, rng, 0)
        if two and rng.random() < 0.8:
            b.note("two inputs", "concat")
            x = b.call(torch.cat, [Slot(x), Slot(1)], 1)
        elif two:
            b.note("two inputs", "unused input")
        choices = MOVES + (((moves.cross_channel_norm, 3.0),) if rng.random() < 0.15 else ())
        length = rng.randint(14, 30)
        while len(b.program.steps) < length:
            x = rng.choices([move for move, _ in choices], [weight for _, weight in choices])[0](
                b, rng, x
            )
            x = next_value(b, rng, x)
        choose_result(b, rng, x)
    return b.program


def next_value(b: Builder, rng: Random, x: int) -> int:
    """Return mostly the latest value, sometimes an older one; reduced if it is too large."""
    if rng.random() < 0.12:
        x = rng.choice(image_slots(b))
    if b.shape(x)[1] > MOST_CHANNELS or b.values[x].numel() > 12000:
        x = to_channels(b, x, rng.randint(3, 8), 1)
    if max(b.shape(x)[2:]) > 40:
        x = b.apply(nn.AvgPool2d(2), x)
    return x


def choose_result(b: Builder, rng: Random, x: int) -> None:
    """Choose what the network returns: an image, or several values."""
    out = Slot(to_channels(b, x, 3))
    if rng.random() < 0.6:
        b.program.result = out
        return
    unread = [slot for slot in image_slots(b) if not b.read[slot] and slot != out.number]
    concats = [step.makes[0] for step in b.program.steps if step.call is torch.cat]
    others = [
        rng.choice(pool)
        for pool in (unread, concats, image_slots(b))
        if pool and rng.random() < 0.5
    ]
    others = list(dict.fromkeys(others)) or [rng.choice(image_slots(b))]
    b.note(
        "several outputs",
        *(["returned intermediate"] if any(b.read[slot] for slot in others) else []),
    )
    if set(others) & set(concats):
        b.note("returned concat")
    results = [out, *(Slot(slot) for slot in others)]
    rng.shuffle(results)
    if rng.random() < 0.3:
        b.note("dict output")
        b.program.result = {f"stage {stage}": slot for stage, slot in enumerate(results)}
    else:
        b.program.result = rng.choice((tuple, list))(results)
