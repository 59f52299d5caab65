"""Least squares: adjust the weights of a pruned network so that each layer keeps its old output.

    d = argmin ||Y - (W + d) X||^2 + e ||d||^2          W becomes W + d

Y is the output of a layer of the unpruned network at the channels that stay, X the input of that
layer in the smaller network, W its weights and bias there. The ridge term pulls towards the weights
that surgery left, not towards zero: where nothing is removed nothing changes, and directions that
do not occur in the crops stay as they are. e is a share of the mean energy that one weight sees, so
it means the same in every layer.

Layers are updated in the order of execution, in one pass: X is what the updated layers before it
compute from the crops. Every layer that mixes channels is linear in its weights, whatever its
stride, groups, padding or transposition, so the normal equations are solved by conjugate gradients
with products that the layer itself and its derivative give: no patches are unfolded, and every
position of every crop counts.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp
from torch.utils.hooks import RemovableHandle

from bench.channels.units import Layout
from bench.contract import Kept
from bench.surgery.masks import channel_axis
from bench.torch_state import eval_mode, scoring

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
ITERATIONS = 10  # of conjugate gradients
RIDGE = 1e-3
Outputs = Mapping[str, Tensor]
Weights = dict[str, Tensor]


def layer_outputs(model: nn.Module, inputs: Tensor) -> Outputs:
    """Return the output in eval mode of each layer whose weights can be updated.

    These are the layers that are trainable and called exactly once in a forward pass.

    Args:
        model: left untouched.
        inputs: degraded crops (N, C, H, W).

    Returns:
        Layer -> its output.
    """
    outputs: dict[str, list[Tensor]] = {}

    def record(name: str, layer: nn.Module, args: Any, output: Tensor) -> None:
        # A copy, because an activation that follows may overwrite the output.
        outputs.setdefault(name, []).append(output.clone())

    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, LAYERS)}
    trainable = [
        name
        for name, layer in layers.items()
        if all(weight.requires_grad for weight in layer.parameters())
    ]
    hooks = [layers[name].register_forward_hook(partial(record, name)) for name in trainable]
    _run_with_hooks(model, inputs, hooks)
    return {name: calls[0] for name, calls in outputs.items() if len(calls) == 1}


def update_weights(
    smaller: nn.Module,
    kept: Kept,
    layout: Layout,
    before: Outputs,
    inputs: Tensor,
    ridge: float = RIDGE,
    iterations: int = ITERATIONS,
) -> None:
    """Move the weights of a smaller network, in place, towards the outputs of the unpruned one.

    Args:
        smaller: the network after surgery.
        kept: unit -> channels that stayed.
        layout: of the unpruned network.
        before: `layer_outputs` of the unpruned network.
        inputs: the crops that gave these outputs, (N, C, H, W).
        ridge: e, as a share of the mean energy that a weight sees.
        iterations: of conjugate gradients.
    """
    slot_mask = torch.from_numpy(layout.slot_mask(kept))

    def update(
        name: str, layer: nn.Module, args: tuple[Tensor, ...], options: dict[str, Any]
    ) -> None:
        handles[name].remove()  # the solver calls the layer itself
        slots = layout.makes[name] if name in layout.makes else layout.followers[name][1]
        kept_outputs = slot_mask[slots].nonzero()[:, 0].to(inputs.device)
        target = before[name].index_select(channel_axis(layer), kept_outputs)
        steps = _solve(layer, args, options, target, ridge, iterations)
        for weight, step in zip(layer.parameters(), steps.values(), strict=True):
            weight.add_(step)

    handles = {
        name: smaller.get_submodule(name).register_forward_pre_hook(
            partial(update, name), with_kwargs=True
        )
        for name in before
        if name in layout.makes or name in layout.followers
    }
    _run_with_hooks(smaller, inputs, handles.values())


def _solve(
    layer: nn.Module,
    args: tuple[Tensor, ...],
    options: dict[str, Any],
    target: Tensor,
    ridge: float,
    iterations: int,
) -> Weights:
    """Return d, by conjugate gradients on (A'A + e) d = A' (Y - A W), starting from d = 0.

    A is the layer as a linear function of its weights: A W is its output for X, the first of
    `args`. `options`, such as the size of the output, are passed by name.
    """

    def product(weights: Weights) -> Tensor:
        result: Tensor = functional_call(layer, weights, args, options)
        return result

    own = {name: weight.detach() for name, weight in layer.named_parameters()}
    output, adjoint = vjp(product, own)[:2]
    energy = ridge * args[0].square().mean() * (target.numel() / target.shape[channel_axis(layer)])
    with scoring():
        return _conjugate_gradients(
            product, lambda residual: adjoint(residual)[0], target - output, energy, iterations
        )


def _conjugate_gradients(
    product: Callable[[Weights], Tensor],
    adjoint: Callable[[Tensor], Weights],
    residual: Tensor,
    energy: Tensor,
    iterations: int,
) -> Weights:
    """Return argmin ||residual - product(d)||^2 + energy ||d||^2."""
    slope = adjoint(residual)
    total = {name: torch.zeros_like(part) for name, part in slope.items()}
    direction = slope
    steepness = _sum_squares(slope)
    tiny = torch.finfo(residual.dtype).tiny
    for _ in range(iterations):
        change = product(direction)
        curvature = change.square().sum() + energy * _sum_squares(direction)
        length = steepness / curvature.clamp_min(tiny)
        total = {name: part + length * direction[name] for name, part in total.items()}
        residual = residual - length * change
        slope = {name: part - energy * total[name] for name, part in adjoint(residual).items()}
        before = steepness.clamp_min(tiny)
        steepness = _sum_squares(slope)
        direction = {
            name: part + steepness / before * direction[name] for name, part in slope.items()
        }
    return total


def _sum_squares(weights: Weights) -> Tensor:
    """Return the sum of the squares of all weights, a scalar."""
    return torch.stack([part.square().sum() for part in weights.values()]).sum()


def _run_with_hooks(model: nn.Module, inputs: Tensor, hooks: Iterable[RemovableHandle]) -> None:
    """Run the network once in eval mode without gradient, then remove the hooks."""
    try:
        with eval_mode(model), torch.no_grad():
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
