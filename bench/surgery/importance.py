"""Importance of channels: one score for each channel; the least important has the lowest.

    l1, l2        norm of the weights that compute the channel; over tied layers the root mean
                  square of the norms
    normalised_l2 the same without the scale of the unit; see `normalised_norms`
    taylor        sum of |w dL/dw| over the weights that compute and that read the channel, mean
                  over these layers (bench.surgery.torch_pruning_importance)
    gradient      mean over photographs of |dL / dg|, g a gate of one on the channel at the input of
                  each layer that reads it
    fisher        mean over photographs of (dL / dg)**2
    activation    root mean square of the channel times the norm of the weights that read it
    random        seeded random numbers, the control of all other criteria

Norms order the channels of restoration networks badly: on a trained U-Net their rank correlation
with the measured loss of single channels is -0.4 to 0.6, that of the gradient about 0.9. Tied
layers share a gate, so their gradients are summed with sign before the absolute value.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from bench.channels.units import Layout
from bench.surgery.masks import channel_axis, weight_and_input_axis, weight_and_output_axis
from bench.surgery.narrowed_runs import NarrowedRuns
from bench.torch_state import scoring

ChannelScores = dict[str, Tensor]
Batches = Iterable[tuple[Tensor, Tensor]]
Criterion = Callable[[Tensor, Tensor], Tensor]


def channel_norms(model: nn.Module, layout: Layout, order: int = 2) -> ChannelScores:
    """Return the norm of the weights that compute each channel, without biases.

    For tied layers it is the root mean square of their norms.

    Args:
        model: left untouched.
        layout: of the network.
        order: 1 or 2, of the norm.

    Returns:
        Unit -> (C,).
    """
    squares = {}
    for layer, slots in layout.makes.items():
        norm = _weights_by_channel(model.get_submodule(layer)).flatten(1).norm(p=order, dim=1)
        squares[layer] = norm.double().square().repeat(len(slots) // len(norm))
    return _root_mean_squares(layout, squares)


def normalised_norms(model: nn.Module, layout: Layout) -> ChannelScores:
    """Return the L2 norm of the weights that compute each channel, free of the scale of units.

    Where activations are positively homogeneous (ReLU, LeakyReLU, none), the output of a unit can
    be multiplied by any a > 0 and what its readers multiply it with divided by a: the network
    computes the same, but its norms change, so that raw norms of different units compare nothing.
    Let W_jb be the weights of output channel j of a layer that read input unit b (after a concat
    there are several; all fixed inputs together are one), n_b the channels of b:

        score_j**2 = sum_b n_b ||W_jb||**2 / mean_i ||W_ib||**2  /  sum_b n_b

    i runs over the channels of j's unit. Over tied layers, the root mean square as in
    `channel_norms`. No rescaling of whole units changes a score. What remains: the single channels
    of a unit can be rescaled too, each by a factor of its own. Every norm of weights changes with
    that; gate gradients do not.

    Args:
        model: left untouched.
        layout: of the network.

    Returns:
        Unit -> (C,); the mean square of a unit is one.
    """
    unit_of_slot = torch.full((layout.size + 1,), len(layout.units))
    for index, unit in enumerate(layout.units):
        unit_of_slot[layout.slots(unit)] = index
    in_unit = nn.functional.one_hot(unit_of_slot).double()  # (slots + 1, units + 1)
    squares = {}
    for layer, slots in layout.makes.items():
        weights = _weights_by_channel(model.get_submodule(layer)).double()
        rows, columns = weights.shape[:2]
        # All groups of a grouped convolution belong to the same units.
        makes, reads = in_unit[slots[:rows]], in_unit[layout.reads[layer][:columns]]
        blocks = weights.square().sum(2) @ reads  # (rows, units + 1)
        means = makes @ (makes.T @ blocks / makes.sum(0).clamp_min(1)[:, None])
        square = (blocks / means).nan_to_num(0.0) @ reads.sum(0) / columns
        squares[layer] = square.repeat(len(slots) // rows)
    return _root_mean_squares(layout, squares)


@scoring()
def gate_gradients(
    model: nn.Module,
    layout: Layout,
    batches: Batches,
    criterion: Criterion,
    power: int = 1,
    runs: NarrowedRuns | None = None,
) -> ChannelScores:
    """Return the mean over photographs of |dL / d gate| ** power, with one backward pass per batch.

    Args:
        model: put in eval mode.
        layout: of the network.
        batches: of (degraded, clean), each (N, C, H, W).
        criterion: mean loss over a batch.
        power: 1 for the absolute gradient, 2 for Fisher information.
        runs: of the network: starts at the first reader of one of its units, which alone have
            gates; the scores of other units are zero or partial.

    Returns:
        Unit -> (C,).
    """
    units = runs.units if runs else layout.units
    model.eval()
    total = torch.zeros(layout.size)
    photographs = 0
    with runs.run_whole() if runs else nullcontext(model) as run:
        for degraded, clean in batches:
            count = len(degraded)
            gates = degraded.new_ones(count, layout.size).requires_grad_()
            with torch.enable_grad(), _attach_gates(model, layout, units, gates):
                (gradient,) = torch.autograd.grad(criterion(run(degraded), clean) * count, gates)
            total += gradient.abs().pow(power).sum(0).cpu()
            photographs += count
    return _split_by_unit(layout, total / photographs)


def activation_scores(model: nn.Module, layout: Layout, batches: Batches) -> ChannelScores:
    """Return the root mean square of each channel times the norm of the weights that read it.

    Of several layers that read a channel, the largest product counts.

    Args:
        model: put in eval mode.
        layout: of the network.
        batches: of (degraded, clean), each (N, C, H, W).

    Returns:
        Unit -> (C,).
    """
    squares: dict[str, list[Tensor]] = {layer: [] for layer in layout.reads}
    hooks = [
        model.get_submodule(layer).register_forward_pre_hook(partial(_record_squares, batch_means))
        for layer, batch_means in squares.items()
    ]
    try:
        model.eval()
        with torch.no_grad():
            for degraded, _ in batches:
                model(degraded)
    finally:
        for hook in hooks:
            hook.remove()
    scores = torch.zeros(layout.size + 1)
    for layer, batch_means in squares.items():
        weight, axis = weight_and_input_axis(model.get_submodule(layer))
        norms = weight.detach().movedim(axis, 0).flatten(1).norm(dim=1).cpu()
        slots = torch.from_numpy(layout.reads[layer])
        groups = len(slots) // len(norms)
        effect = torch.stack(batch_means).mean(0).sqrt().cpu() * norms.repeat(groups)
        scores.scatter_reduce_(0, slots % len(scores), effect, "amax")
    return _split_by_unit(layout, scores)


def random_scores(layout: Layout, seed: int) -> ChannelScores:
    """Return seeded random numbers as scores, unit -> (C,)."""
    generator = torch.Generator().manual_seed(seed)
    return {unit: torch.rand(full, generator=generator) for unit, full in layout.widths.items()}


def select_most_important(scores: Tensor, count: int) -> list[int]:
    """Return the sorted indices of the `count` channels with the highest scores.

    Of channels with equal scores, the last ones are selected.
    """
    return sorted(torch.argsort(scores, stable=True)[len(scores) - count :].tolist())


def _split_by_unit(layout: Layout, scores: Tensor) -> ChannelScores:
    """Return the scores of all slots as one (C,) for each unit."""
    return {unit: scores[layout.slots(unit)] for unit in layout.units}


def _record_squares(batch_means: list[Tensor], layer: nn.Module, args: tuple[Tensor, ...]) -> None:
    """Append the mean square of each input channel of a layer, (C,), to a list."""
    axis = channel_axis(layer) % args[0].ndim
    other_axes = [dim for dim in range(args[0].ndim) if dim != axis]
    batch_means.append(args[0].square().mean(other_axes))


def _root_mean_squares(layout: Layout, squares: Mapping[str, Tensor]) -> ChannelScores:
    """Return the root of the mean over the members of each slot, unit -> (C,).

    Args:
        layout: of the network.
        squares: layer -> the square of each of its output channels, (C_out,).
    """
    total, members = torch.zeros(2, layout.size + 1, dtype=torch.float64)
    for layer, slots in layout.makes.items():
        index = torch.from_numpy(slots) % len(total)
        total.index_add_(0, index, squares[layer])
        members.index_add_(0, index, torch.ones_like(squares[layer]))
    return _split_by_unit(layout, (total / members.clamp_min(1)).sqrt().float())


def _weights_by_channel(layer: nn.Module) -> Tensor:
    """Return the weights of a layer on the CPU, (C_out, C_in, kernel).

    Of grouped convolutions, either C_in or, where they are transposed, C_out is that of one group.
    """
    weight, axis = weight_and_output_axis(layer)
    weight = weight.detach().cpu().movedim(axis, 0)
    return weight.reshape(*weight.shape[:2], -1)


@contextmanager
def _attach_gates(
    model: nn.Module, layout: Layout, units: Iterable[str], gates: Tensor
) -> Iterator[None]:
    """Multiply, inside the context, the input of each layer by the gates of its channels.

    Args:
        model: gets hooks, which are removed at the end.
        layout: of the network.
        units: layers that read none of them have no gates.
        gates: (N, slots).
    """
    slots_of = {
        layer: torch.from_numpy(layout.reads[layer]).to(gates.device)
        for unit in units
        for layer in layout.consumers(unit)
    }
    hooks = [
        model.get_submodule(layer).register_forward_pre_hook(partial(_apply_gates, slots, gates))
        for layer, slots in slots_of.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _apply_gates(
    slots: Tensor, gates: Tensor, layer: nn.Module, args: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Return the inputs of a layer, the first one multiplied by the gates of its slots."""
    row = torch.where(slots >= 0, gates[:, slots.clamp_min(0)], 1.0)
    # A network may cut each photograph into rows of pixels, which lie along the batch axis.
    row = row.repeat_interleave(len(args[0]) // len(row), 0)
    middle = [1] * (args[0].ndim - 2)
    channels_last = channel_axis(layer) == -1
    shape = (len(row), *middle, -1) if channels_last else (len(row), -1, *middle)
    return (args[0] * row.view(shape), *args[1:])
