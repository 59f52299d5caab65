"""Least squares: the weights that are left are moved so that every layer gives again what it gave before channels were removed.

    d = argmin ||Y - (W + d) X||^2 + e ||d||^2          W becomes W + d

Y is the output of a layer in the unpruned network at the channels that stay, X its input in the
smaller network, W its weights and bias there. The ridge pulls towards the weights that surgery left
and not towards zero: where nothing is removed nothing changes, and directions that the crops do not
show stay as they are. e is a share of the mean energy that one weight sees, so it means the same in
every layer.

Layers are updated in the order of execution, in one pass: X is what the updated layers before make
of the crops. Every layer that mixes channels is linear in its weights, whatever its stride, groups,
padding or transposition, so the normal equations are solved by conjugate gradients, with products
that the layer itself and its derivative give: no patches are unfolded, every position of every crop
counts.
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
from bench.torch_state import evaluating

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
ITERATIONS = 10  # of conjugate gradients
RIDGE = 1e-3
Outputs = Mapping[str, Tensor]
Weights = dict[str, Tensor]


def layer_outputs(model: nn.Module, inputs: Tensor) -> Outputs:
    """Layer -> its output in eval mode, for the layers whose weights can be updated: trainable, and called once in a pass.

    Args:
        model: left untouched.
        inputs: degraded crops (N, C, H, W).
    """
    seen: dict[str, list[Tensor]] = {}

    def note(name: str, layer: nn.Module, args: Any, output: Tensor) -> None:
        seen.setdefault(name, []).append(output.clone())  # an activation behind it may overwrite it

    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, LAYERS)}
    trainable = [
        name
        for name, layer in layers.items()
        if all(weight.requires_grad for weight in layer.parameters())
    ]
    _run(
        model,
        inputs,
        [layers[name].register_forward_hook(partial(note, name)) for name in trainable],
    )
    return {name: outputs[0] for name, outputs in seen.items() if len(outputs) == 1}


def update_weights(
    smaller: nn.Module,
    kept: Kept,
    channels: Layout,
    before: Outputs,
    inputs: Tensor,
    ridge: float = RIDGE,
    iterations: int = ITERATIONS,
) -> None:
    """Moves the weights of a smaller network, in place, towards the outputs of the unpruned one.

    Args:
        smaller: what surgery left.
        kept: unit -> channels that stayed.
        channels: the layout of the unpruned network.
        before: `layer_outputs` of the unpruned network.
        inputs: the crops that gave them, (N, C, H, W).
        ridge: e, as a share of the mean energy that a weight sees.
        iterations: of conjugate gradients.
    """
    stays = torch.from_numpy(channels.stays(kept))

    def update(name: str, layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        handles[name].remove()  # below, the layer runs on its own
        places = channels.makes[name] if name in channels.makes else channels.follows[name][1]
        rest = stays[places].nonzero()[:, 0].to(inputs.device)
        target = before[name].index_select(channel_axis(layer), rest)
        for weight, step in zip(
            layer.parameters(),
            _solved(layer, args[0], target, ridge, iterations).values(),
            strict=True,
        ):
            weight.add_(step)

    known = [name for name in before if name in channels.makes or name in channels.follows]
    handles = {
        name: smaller.get_submodule(name).register_forward_pre_hook(partial(update, name))
        for name in known
    }
    _run(smaller, inputs, handles.values())


def _solved(
    layer: nn.Module, inputs: Tensor, target: Tensor, ridge: float, iterations: int
) -> Weights:
    """d, by conjugate gradients on the normal equations (A'A + e) d = A' (Y - A W), beginning with d = 0."""

    def product(weights: Weights) -> Tensor:
        output: Tensor = functional_call(layer, weights, inputs)
        return output

    own = {name: weight.detach() for name, weight in layer.named_parameters()}
    made, adjoint = vjp(product, own)[:2]
    energy = ridge * inputs.square().mean() * (target.numel() / target.shape[channel_axis(layer)])
    return _conjugate_gradients(
        product, lambda residual: adjoint(residual)[0], target - made, energy, iterations
    )


def _conjugate_gradients(
    product: Callable[[Weights], Tensor],
    adjoint: Callable[[Tensor], Weights],
    residual: Tensor,
    energy: Tensor,
    iterations: int,
) -> Weights:
    """argmin ||residual - product(d)||^2 + energy ||d||^2."""
    slope = adjoint(residual)
    total, direction = {name: torch.zeros_like(part) for name, part in slope.items()}, slope
    steepness = _square(slope)
    for _ in range(iterations):
        change = product(direction)
        length = steepness / (change.square().sum() + energy * _square(direction)).clamp_min(
            torch.finfo(change.dtype).tiny
        )
        total = {name: part + length * direction[name] for name, part in total.items()}
        residual = residual - length * change
        slope = {name: part - energy * total[name] for name, part in adjoint(residual).items()}
        before, steepness = steepness.clamp_min(torch.finfo(change.dtype).tiny), _square(slope)
        direction = {
            name: part + steepness / before * direction[name] for name, part in slope.items()
        }
    return total


def _square(weights: Weights) -> Tensor:
    return torch.stack([part.square().sum() for part in weights.values()]).sum()


def _run(model: nn.Module, inputs: Tensor, hooks: Iterable[RemovableHandle]) -> None:
    """One pass in eval mode without gradient; the hooks go afterwards."""
    try:
        with evaluating(model), torch.no_grad():
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
